// SPDX-License-Identifier: Apache-2.0

internal import GatewayCore

/// Takes `application/vnd.amazon.eventstream` apart as it arrives, in pieces of any size.
///
/// Source: <https://docs.aws.amazon.com/transcribe/latest/dg/streaming-setting-up.html> (the format), and
/// <https://smithy.io/2.0/aws/amazon-eventstream.html>: 4 bytes total length, 4 bytes header length, 4 bytes CRC of these
/// eight, headers, payload, 4 bytes CRC of everything before.
package struct EventStreamDecoder: Sendable {
    /// One message.
    package struct Message: Sendable, Equatable {
        package let headers: [String: String]
        package let payload: [UInt8]

        package init(headers: [String: String], payload: [UInt8]) {
            self.headers = headers
            self.payload = payload
        }
    }

    /// Why a stream cannot be read on.
    package enum Failure: Error, Equatable {
        case lengths
        case checksum
        case headers
        case truncated
    }

    private static let preludeLength = 12
    private static let trailerLength = 4
    /// A message of the format holds 16 MiB of payload and 128 KiB of headers at most.
    private static let maximumLength = 17 << 20

    private var buffer: [UInt8] = []
    private var start = 0

    package init() {}

    /// Whether everything that arrived has been given out.
    package var isAtBoundary: Bool { self.start == self.buffer.count }

    package mutating func receive(_ bytes: some Sequence<UInt8>) {
        if self.start > 1 << 16 {
            self.buffer.removeFirst(self.start)
            self.start = 0
        }
        self.buffer += bytes
    }

    /// The next whole message, or `nil` when more bytes are needed.
    package mutating func next() throws(Failure) -> Message? {
        let available = self.buffer.count - self.start
        guard available >= Self.preludeLength else { return nil }
        let total = Int(self.number(at: 0))
        let headerLength = Int(self.number(at: 4))
        guard CRC32.checksum(self.buffer[self.start..<self.start + 8]) == self.number(at: 8) else { throw .checksum }
        guard total >= Self.preludeLength + Self.trailerLength, total <= Self.maximumLength,
            headerLength <= total - Self.preludeLength - Self.trailerLength
        else { throw .lengths }
        guard available >= total else { return nil }
        let end = self.start + total
        guard CRC32.checksum(self.buffer[self.start..<end - 4]) == self.number(at: total - 4) else { throw .checksum }
        let headersEnd = self.start + Self.preludeLength + headerLength
        let headers = try Self.headers(self.buffer[self.start + Self.preludeLength..<headersEnd])
        let payload = Array(self.buffer[headersEnd..<end - 4])
        self.start = end
        if self.start == self.buffer.count {
            self.buffer.removeAll(keepingCapacity: true)
            self.start = 0
        }
        return Message(headers: headers, payload: payload)
    }

    private func number(at offset: Int) -> UInt32 {
        let at = self.start + offset
        return UInt32(self.buffer[at]) << 24 | UInt32(self.buffer[at + 1]) << 16 | UInt32(self.buffer[at + 2]) << 8
            | UInt32(self.buffer[at + 3])
    }

    /// Name length, name, type, value. Only texts are kept; values of other types are skipped.
    private static func headers(_ bytes: ArraySlice<UInt8>) throws(Failure) -> [String: String] {
        var headers: [String: String] = [:]
        var rest = bytes
        func take(_ count: Int) throws(Failure) -> ArraySlice<UInt8> {
            guard count >= 0, rest.count >= count else { throw .headers }
            let taken = rest.prefix(count)
            rest = rest.dropFirst(count)
            return taken
        }
        while !rest.isEmpty {
            let nameLength = Int(try take(1).first!)
            let name = String(decoding: try take(nameLength), as: UTF8.self)
            switch try take(1).first! {
            case 0, 1: continue
            case 2: _ = try take(1)
            case 3: _ = try take(2)
            case 4: _ = try take(4)
            case 5, 8: _ = try take(8)
            case 9: _ = try take(16)
            case 6, 7:
                let isText = bytes[rest.startIndex - 1] == 7
                let size = try take(2)
                let value = try take(Int(size.first!) << 8 | Int(size.last!))
                if isText { headers[name] = String(decoding: value, as: UTF8.self) }
            default: throw .headers
            }
        }
        return headers
    }
}

/// CRC-32 as in ISO 3309 and gzip.
package enum CRC32 {
    private static let table: [UInt32] = (0..<256).map { index in
        (0..<8).reduce(UInt32(index)) { value, _ in value & 1 == 1 ? 0xEDB8_8320 ^ (value >> 1) : value >> 1 }
    }

    package static func checksum(_ bytes: some Sequence<UInt8>) -> UInt32 {
        var value = UInt32.max
        for byte in bytes { value = self.table[Int((value ^ UInt32(byte)) & 0xFF)] ^ (value >> 8) }
        return ~value
    }
}
