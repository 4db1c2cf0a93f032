// SPDX-License-Identifier: Apache-2.0

internal import GatewayCore
package import NIOCore
internal import NIOHTTP1

/// The head of a response.
package struct ResponseHead {
    package let status: Int
    /// The reason phrase as it came, which may be empty.
    package let reason: String
    package let fields: FieldSection
    /// Whether the sender means to go on with the connection.
    package let keepsAlive: Bool

    package init(status: Int, reason: String = "", fields: FieldSection = FieldSection(), keepsAlive: Bool = false) {
        self.status = status
        self.reason = reason
        self.fields = fields
        self.keepsAlive = keepsAlive
    }

    fileprivate init(_ bytes: ByteBuffer) throws(HTTPSyntaxError) {
        let line = bytes.withUnsafeReadableBytes(StatusLine.init)
        guard let line else { throw .startLine }
        let fields = try FieldSection(bytes, from: line.end)
        self.status = line.status
        self.reason = line.reason
        self.keepsAlive =
            line.isOld ? fields.lists("keep-alive", under: "connection") : !fields.lists("close", under: "connection")
        self.fields = fields
    }

    /// The same for keeping: the bytes of a read that it came with are let go.
    func compacted() -> ResponseHead {
        ResponseHead(
            status: self.status, reason: self.reason, fields: self.fields.compacted(), keepsAlive: self.keepsAlive)
    }

    /// `HTTP-version SP status-code SP [ reason-phrase ]`
    private struct StatusLine {
        let status: Int
        let reason: String
        let isOld: Bool
        let end: Int

        init?(_ bytes: UnsafeRawBufferPointer) {
            guard let feed = ByteSearch.first(0x0A, bytes, from: 0), feed >= 13,
                bytes.starts(with: "HTTP/1." as StaticString),
                bytes[7] == 0x30 || bytes[7] == 0x31, bytes[8] == 0x20,
                let status = FieldSyntax.decimal(UnsafeRawBufferPointer(rebasing: bytes[9..<12])),
                (100...999).contains(status)
            else { return nil }
            // The space before an empty reason is often left out.
            guard bytes[12] == 0x20 || feed == 13 else { return nil }
            let text = UnsafeRawBufferPointer(rebasing: bytes[min(13, feed - 1)..<feed - 1])
            guard FieldSyntax.isFieldValue(text) else { return nil }
            self.status = status
            self.reason = String(decoding: text, as: UTF8.self)
            self.isOld = bytes[7] == 0x30
            self.end = feed + 1
        }
    }

    /// Whether the body is a stream of events, in one format or the other.
    var isEventStream: Bool {
        self.fields.withFirst("content-type") { type in
            type.begins(with: "text/event-stream")
                || type.begins(with: "application/vnd.amazon.eventstream")
        } ?? false
    }
}

/// Reads the responses of one connection to requests with bodies (RFC 9112), without I/O.
///
/// A response with two lengths, or in a transfer coding besides `chunked`, is an error: what it says of its end cannot be
/// trusted.
package struct ResponseParser {
    package enum Event {
        case head(ResponseHead)
        /// - Parameter framed: The same bytes as one chunk of the chunked transfer coding, where they came as one.
        case body(ByteBuffer, framed: ByteBuffer?)
        case end
    }

    private enum State {
        case head(HeadSearch)
        case length(remaining: Int)
        case chunked(ChunkedReader)
        case untilClose
        case end
        /// Nothing is expected before the next request.
        case idle
    }

    private var state = State.idle

    package init() {}

    /// A request has been sent: a response is due.
    package mutating func expectResponse() {
        self.state = .head(HeadSearch())
    }

    /// Takes the next part out of what has come; `nil` when more must come.
    package mutating func next(_ input: inout ByteBuffer) throws(HTTPSyntaxError) -> Event? {
        switch self.state {
        case .head(let search): return try self.head(&input, search)
        case .length(let remaining):
            let count = min(remaining, input.readableBytes)
            guard count > 0, let part = input.readSlice(length: count) else { return nil }
            self.state = count == remaining ? .end : .length(remaining: remaining - count)
            return .body(part, framed: nil)
        case .chunked(var reader):
            switch try reader.next(&input) {
            case .data(let bytes, let framed):
                self.state = .chunked(reader)
                return .body(bytes, framed: framed)
            case .end:
                self.state = .idle
                return .end
            case nil:
                self.state = .chunked(reader)
                return nil
            }
        case .untilClose:
            guard input.readableBytes > 0, let part = input.readSlice(length: input.readableBytes) else { return nil }
            return .body(part, framed: nil)
        case .end:
            self.state = .idle
            return .end
        case .idle:
            guard input.readableBytes == 0 else { throw .unasked }
            return nil
        }
    }

    /// The other side has ended the connection.
    ///
    /// - Returns: Whether that is how the response's body was to end.
    package mutating func close() -> Bool {
        guard case .untilClose = self.state else { return false }
        self.state = .idle
        return true
    }

    private mutating func head(_ input: inout ByteBuffer, _ search: HeadSearch) throws(HTTPSyntaxError) -> Event? {
        var search = search
        guard let bytes = try search.take(from: &input) else {
            self.state = .head(search)
            return nil
        }
        let head = try ResponseHead(bytes)
        // 100 Continue and 103 Early Hints announce the real answer, from whoever means to go on; 101 was not asked for.
        if (100..<200).contains(head.status) {
            guard head.status != 101, head.keepsAlive else { throw .unasked }
            self.state = .head(HeadSearch())
            return .head(head)
        }
        self.state = try Self.body(head)
        return .head(head)
    }

    /// How the body ends (RFC 9112 §6.3).
    private static func body(_ head: ResponseHead) throws(HTTPSyntaxError) -> State {
        let length = head.fields.only("content-length", FieldSyntax.decimal)
        let coding = head.fields.only("transfer-encoding") { $0.matches("chunked") }
        let isEmpty = head.status == 204 || head.status == 304
        switch (length, coding) {
        case (.several, _), (_, .several), (.one, .one): throw .framing
        case _ where isEmpty: return .end
        case (.none, .one(let isChunked)):
            guard isChunked else { throw .framing }
            return .chunked(ChunkedReader())
        case (.one(let length?), _): return length > 0 ? .length(remaining: length) : .end
        case (.one(nil), _): throw .framing
        case (.none, .none): return .untilClose
        }
    }
}
