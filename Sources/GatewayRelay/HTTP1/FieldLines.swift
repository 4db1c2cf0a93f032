// SPDX-License-Identifier: Apache-2.0

internal import GatewayCore
internal import NIOCore
internal import NIOHTTP1

/// Field lines on their way out, behind a start line or none. A value never breaks out of its line: control bytes become
/// spaces.
struct FieldLines: ~Copyable {
    private var writer: ByteWriter

    init(capacity: Int = 1024) {
        self.writer = ByteWriter(capacity: capacity)
    }

    // MARK: Start lines

    mutating func addRequestLine(prefix: String, target: String) {
        self.writer.put("POST ")
        if !prefix.isEmpty { self.writer.put(prefix) }
        self.writer.put(target)
        self.writer.put(" HTTP/1.1\r\n")
    }

    mutating func addStatusLine(_ status: HTTPResponseStatus, isOld: Bool) {
        if status == .ok, !isOld {
            self.writer.put("HTTP/1.1 200 OK\r\n")
            return
        }
        self.writer.put(isOld ? "HTTP/1.0 " : "HTTP/1.1 ")
        self.writer.putDecimal(Int(status.code))
        self.writer.put(0x20)
        self.putClean(status.reasonPhrase)
        self.writer.put("\r\n")
    }

    // MARK: Fields

    mutating func add(_ name: String, _ value: String) {
        self.writer.put(name)
        self.writer.put(": ")
        self.putClean(value)
        self.writer.put("\r\n")
    }

    mutating func add(_ name: StaticString, _ value: String) {
        self.writer.put(name)
        self.writer.put(": ")
        self.putClean(value)
        self.writer.put("\r\n")
    }

    mutating func add(_ name: StaticString, _ value: Int) {
        self.writer.put(name)
        self.writer.put(": ")
        self.writer.putDecimal(value)
        self.writer.put("\r\n")
    }

    /// A field whose bytes are known to be sound.
    mutating func add(_ name: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer) {
        self.writer.reserve(name.count + value.count + 4)
        self.writer.put(name)
        self.writer.put(": ")
        self.writer.put(value)
        self.writer.put("\r\n")
    }

    /// Whole lines of the gateway's own.
    mutating func add(lines: StaticString) {
        self.writer.put(lines)
    }

    /// What follows the head.
    mutating func add(body: ByteBuffer) {
        body.withUnsafeReadableBytes { self.writer.put($0) }
    }

    private mutating func putClean(_ value: String) {
        let start = self.writer.used
        self.writer.put(value)
        self.writer.withBytes { all in
            let bytes = UnsafeMutableRawBufferPointer(rebasing: all[start...])
            if FieldSyntax.isFieldValue(UnsafeRawBufferPointer(bytes)) { return }
            for index in bytes.indices where bytes[index] < 0x20 && bytes[index] != 0x09 || bytes[index] == 0x7F {
                bytes[index] = 0x20
            }
        }
    }

    // MARK: What was added

    /// - Parameter room: So many more bytes can be written without another allocation.
    mutating func buffer(room: Int = 0) -> ByteBuffer {
        var buffer = ByteBufferAllocator().buffer(capacity: self.writer.used + room)
        self.writer.withBytes { _ = buffer.writeBytes($0) }
        return buffer
    }

    /// The same as HTTP/2 takes them; there is no start line then.
    mutating func headers() -> HTTPHeaders {
        self.writer.withBytes { bytes in
            let all = UnsafeRawBufferPointer(bytes)
            var headers = HTTPHeaders()
            var at = 0
            while let feed = ByteSearch.first(0x0A, all, from: at),
                let colon = ByteSearch.first(0x3A, all, from: at), colon < feed
            {
                let name = UnsafeRawBufferPointer(rebasing: all[at..<colon])
                let value = FieldSyntax.trimmed(UnsafeRawBufferPointer(rebasing: all[colon + 1..<feed - 1]))
                headers.add(name: String(decoding: name, as: UTF8.self), value: String(decoding: value, as: UTF8.self))
                at = feed + 1
            }
            return headers
        }
    }
}
