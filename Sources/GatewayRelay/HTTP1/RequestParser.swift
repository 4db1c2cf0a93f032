// SPDX-License-Identifier: Apache-2.0

internal import GatewayCore
package import GatewayProviders
package import NIOCore
package import NIOHTTP1

/// The head of a request, confined to its event loop.
package final class RequestHead {
    package let method: HTTPMethod
    /// The method, where it makes a difference here.
    let verb: Verb
    /// The request target as it was sent (RFC 9112 §3.2).
    package let target: String
    /// Of HTTP/1.0: its clients know no chunks.
    package let isOld: Bool
    package let fields: FieldSection
    /// What `Content-Length` says; 0 without one.
    package let contentLength: Int
    /// Whether the body has a transfer coding, of which this gateway knows none in requests.
    package let hasTransferCoding: Bool
    /// Whether the client means to go on with the connection.
    package let keepsAlive: Bool

    /// A request that came in another way than as HTTP/1.1.
    ///
    /// - Throws: When its fields could not be HTTP/1.1's.
    package init(_ head: HTTPRequestHead) throws(HTTPSyntaxError) {
        let fields = try FieldSection(head.headers)
        self.method = head.method
        self.verb = head.method == .POST ? .post : head.method == .HEAD ? .head : .other
        self.target = head.uri
        self.isOld = false
        self.contentLength = try Self.contentLength(fields)
        // How the HTTP/2 codec writes that no length was declared.
        self.hasTransferCoding = fields.contains("transfer-encoding")
        self.keepsAlive = true
        self.fields = fields
    }

    fileprivate init(_ bytes: ByteBuffer) throws(HTTPSyntaxError) {
        let line = try bytes.reading { bytes throws(HTTPSyntaxError) in try StartLine(bytes) }
        let fields = try FieldSection(bytes, from: line.end)
        self.method = line.method
        self.verb = line.verb
        self.target = line.target
        self.isOld = line.isOld
        self.hasTransferCoding = fields.contains("transfer-encoding")
        self.contentLength = try Self.contentLength(fields)
        // Both lengths, or a coding that the version does not know: two servers could read two messages (RFC 9112 §6.1).
        if self.hasTransferCoding, self.isOld || fields.contains("content-length") { throw .framing }
        self.keepsAlive = !self.isOld && !fields.lists("close", under: "connection") && line.verb != .connect
        self.fields = fields
    }

    enum Verb {
        case post, head, connect, other
    }

    private static func contentLength(_ fields: FieldSection) throws(HTTPSyntaxError) -> Int {
        switch fields.only("content-length", FieldSyntax.decimal) {
        case .none: return 0
        case .one(let length?): return length
        default: throw .framing
        }
    }

    /// `method SP request-target SP HTTP-version`
    private struct StartLine {
        let method: HTTPMethod
        let verb: Verb
        let target: String
        let isOld: Bool
        /// Where the field lines begin.
        let end: Int

        init(_ bytes: UnsafeRawBufferPointer) throws(HTTPSyntaxError) {
            guard let feed = ByteSearch.first(0x0A, bytes, from: 0),
                let first = ByteSearch.first(0x20, bytes, from: 0), first < feed,
                let second = ByteSearch.first(0x20, bytes, from: first + 1), second < feed
            else { throw .startLine }
            let version = UnsafeRawBufferPointer(rebasing: bytes[second + 1..<feed - 1])
            guard version.count == 8, version.starts(with: "HTTP/" as StaticString), version[6] == 0x2E,
                (0x30...0x39).contains(version[5]), (0x30...0x39).contains(version[7])
            else { throw .startLine }
            switch (version[5], version[7]) {
            case (0x31, 0x31): self.isOld = false
            case (0x31, 0x30): self.isOld = true
            case (0x32..., _): throw .version
            default: throw .startLine
            }
            (self.method, self.verb) = try Self.method(UnsafeRawBufferPointer(rebasing: bytes[..<first]))
            let target = UnsafeRawBufferPointer(rebasing: bytes[first + 1..<second])
            guard Self.isTarget(target, self.verb) else { throw .startLine }
            self.target = String(decoding: target, as: UTF8.self)
            self.end = feed + 1
        }

        private static func method(_ bytes: UnsafeRawBufferPointer) throws(HTTPSyntaxError) -> (HTTPMethod, Verb) {
            if bytes.equals("POST") { return (.POST, .post) }
            if bytes.equals("GET") { return (.GET, .other) }
            if bytes.equals("HEAD") { return (.HEAD, .head) }
            guard bytes.count <= 24, FieldSyntax.isToken(bytes) else { throw .startLine }
            let verb: Verb = bytes.equals("CONNECT") ? .connect : .other
            return (HTTPMethod(rawValue: String(decoding: bytes, as: UTF8.self)), verb)
        }

        /// Origin form, absolute form, and what `OPTIONS` and `CONNECT` have: visible ASCII all of them.
        private static func isTarget(_ bytes: UnsafeRawBufferPointer, _ verb: Verb) -> Bool {
            guard let first = bytes.first, bytes.allSatisfy({ (0x21...0x7E).contains($0) }) else { return false }
            if first == 0x2F || verb == .connect { return true }
            if first == 0x2A { return bytes.count == 1 }
            let start = bytes.begins(with: "http://") ? 7 : bytes.begins(with: "https://") ? 8 : 0
            guard start > 0 else { return false }
            let authority = bytes[start...].prefix { $0 != 0x2F && $0 != 0x3F }
            return !authority.isEmpty && HostSyntax.isValid(UnsafeRawBufferPointer(rebasing: authority))
        }
    }
}

extension RequestHead: ForwardableHeaders {
    package func visitForwardable(
        _ body: (ForwardedHeaders.Disposition, _ name: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer) -> Void,
    ) {
        self.fields.visit { name, value in ForwardedHeaders.pass(name, value, to: body) }
    }
}

/// Reads the requests of one connection (RFC 9112), without I/O.
///
/// Stricter than RFC 9112 lets a server be: lines end with CR LF and nothing else, fields are not folded, a length is
/// given once. A body with a transfer coding is not read: the request is handed out with its head alone, for a refusal,
/// and nothing behind it is looked at.
package struct RequestParser {
    package enum Event {
        case head(RequestHead)
        case body(ByteBuffer)
        case end
    }

    private enum State {
        case head(HeadSearch)
        case body(remaining: Int)
        case end
        case stopped
    }

    private var state = State.head(HeadSearch())

    package init() {}

    /// How many bytes of a body are to come; 0 elsewhere.
    package var remaining: Int {
        if case .body(let remaining) = self.state { remaining } else { 0 }
    }

    /// Whether the next part cannot be told without further bytes.
    package var needsBytes: Bool {
        if case .end = self.state { false } else { true }
    }

    /// So many bytes of the body have come another way.
    package mutating func pass(_ count: Int) {
        guard case .body(let remaining) = self.state else { return }
        self.state = count == remaining ? .end : .body(remaining: remaining - count)
    }

    /// Takes the next part out of what has come.
    ///
    /// - Returns: `nil` when more must come; what has come so far stays in `input`.
    package mutating func next(_ input: inout ByteBuffer) throws(HTTPSyntaxError) -> Event? {
        switch self.state {
        case .head(let search): return try self.head(&input, search)
        case .body(let remaining):
            let count = min(remaining, input.readableBytes)
            guard count > 0, let part = input.readSlice(length: count) else { return nil }
            self.state = count == remaining ? .end : .body(remaining: remaining - count)
            return .body(part)
        case .end:
            self.state = .head(HeadSearch())
            return .end
        case .stopped:
            input.moveReaderIndex(to: input.writerIndex)
            return nil
        }
    }

    private mutating func head(_ input: inout ByteBuffer, _ search: HeadSearch) throws(HTTPSyntaxError) -> Event? {
        var search = search
        // An empty line before a request is from clients that put one behind their bodies (RFC 9112 §2.2).
        while input.readableBytes >= 2, input.getInteger(at: input.readerIndex, as: UInt16.self) == 0x0D0A {
            input.moveReaderIndex(forwardBy: 2)
            search = HeadSearch()
        }
        // Whatever begins otherwise never becomes a request, such as a TLS handshake.
        let first = input.getInteger(at: input.readerIndex, as: UInt8.self) ?? 0x0D
        guard (0x41...0x5A).contains(first) || (0x61...0x7A).contains(first) || first == 0x0D && input.readableBytes < 2
        else {
            self.state = .stopped
            throw .startLine
        }
        do throws(HTTPSyntaxError) {
            guard let bytes = try search.take(from: &input) else {
                self.state = .head(search)
                return nil
            }
            let head = try RequestHead(bytes)
            if head.hasTransferCoding {
                self.state = .stopped
            } else {
                self.state = head.contentLength > 0 ? .body(remaining: head.contentLength) : .end
            }
            return .head(head)
        } catch {
            self.state = .stopped
            throw error
        }
    }
}
