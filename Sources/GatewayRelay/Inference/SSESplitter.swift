// SPDX-License-Identifier: Apache-2.0

internal import GatewayCore
package import NIOCore

/// Takes a stream of server-sent events apart at its blank lines, in pieces of any size, without changing a byte.
///
/// Source: <https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream>: lines end with LF,
/// CRLF or CR.
package struct SSESplitter {
    /// One event with the blank line that ends it.
    package struct Event {
        package let raw: ByteBuffer
        /// The last `event` field, empty without one.
        package let name: String
        /// Whether there is a `data` field: other blocks are comments and settings.
        package let hasData: Bool

        /// The `data` fields, joined by line feeds.
        package var data: [UInt8] {
            var lines: [[UInt8]] = []
            for (field, value) in SSESplitter.fields(self.raw) where field == "data" { lines.append(value) }
            return Array(lines.joined(separator: [0x0A]))
        }

        /// The type of the error that this event tells, if it is one.
        package var errorType: String? {
            guard self.name == "error" || self.name.isEmpty, self.hasData else { return nil }
            let json = try? JSONValue(parsing: self.data)
            if self.name == "error" { return json?["error"]?["type"]?.string ?? "api_error" }
            return json?["type"] == "error" ? json?["error"]?["type"]?.string ?? "api_error" : nil
        }

        /// Whether a client learns anything from it.
        package var isContent: Bool { self.hasData && self.name != "ping" }
    }

    private var buffer = ByteBuffer()
    /// How much of the buffer has been searched for a blank line.
    private var searched = 0

    package init() {}

    /// What has arrived and is not a whole event yet.
    package var rest: ByteBuffer { self.buffer }

    package mutating func receive(_ bytes: ByteBuffer) {
        self.buffer.writeImmutableBuffer(bytes)
    }

    /// The next whole event.
    package mutating func next() -> Event? {
        let end = self.buffer.withUnsafeReadableBytes { bytes in Self.endOfEvent(bytes, from: &self.searched) }
        guard let end, let raw = self.buffer.readSlice(length: end) else { return nil }
        self.searched = 0
        if self.buffer.readableBytes == 0 { self.buffer.clear() } else { self.buffer.discardReadBytes() }
        var name = ""
        var hasData = false
        for (field, value) in Self.fields(raw) {
            if field == "event" { name = String(decoding: value, as: UTF8.self) }
            if field == "data" { hasData = true }
        }
        return Event(raw: raw, name: name, hasData: hasData)
    }

    /// Behind the blank line. A lone CR at the end may be half of a CRLF, so more is awaited.
    private static func endOfEvent(_ bytes: UnsafeRawBufferPointer, from searched: inout Int) -> Int? {
        var at = max(0, searched - 3)
        func lineEnd(_ at: Int) -> Int? {
            guard at < bytes.count else { return nil }
            switch bytes[at] {
            case 0x0A: return at + 1
            case 0x0D:
                guard at + 1 < bytes.count else { return nil }
                return bytes[at + 1] == 0x0A ? at + 2 : at + 1
            default: return nil
            }
        }
        while at < bytes.count {
            if bytes[at] == 0x0A || bytes[at] == 0x0D, let first = lineEnd(at) {
                if let second = lineEnd(first) { return second }
                at = first
            } else {
                at += 1
            }
        }
        searched = bytes.count
        return nil
    }

    fileprivate static func fields(_ raw: ByteBuffer) -> [(String, [UInt8])] {
        var fields: [(String, [UInt8])] = []
        for line in raw.readableBytesView.split(whereSeparator: { $0 == 0x0A || $0 == 0x0D }) {
            guard let colon = line.firstIndex(of: 0x3A) else { continue }
            let name = String(decoding: line[..<colon], as: UTF8.self)
            var value = line[line.index(after: colon)...]
            if value.first == 0x20 { value = value.dropFirst() }
            fields.append((name, Array(value)))
        }
        return fields
    }
}
