// SPDX-License-Identifier: Apache-2.0

internal import NIOCore
internal import NIOHTTP1

/// Field lines on their way out. A value never breaks out of its line: control bytes become spaces.
struct FieldLines {
    private(set) var bytes: ByteBuffer

    init(capacity: Int = 512) {
        self.bytes = ByteBufferAllocator().buffer(capacity: capacity)
    }

    init(_ headers: HTTPHeaders) {
        self.init()
        for (name, value) in headers { self.add(name, value) }
    }

    mutating func addRequestLine(prefix: String, target: String) {
        self.bytes.writeStaticString("POST ")
        if !prefix.isEmpty { self.bytes.writeString(prefix) }
        self.bytes.writeString(target)
        self.bytes.writeStaticString(" HTTP/1.1\r\n")
    }

    mutating func addStatusLine(_ status: HTTPResponseStatus, isOld: Bool) {
        if status == .ok, !isOld {
            self.bytes.writeStaticString("HTTP/1.1 200 OK\r\n")
            return
        }
        self.bytes.writeStaticString(isOld ? "HTTP/1.0 " : "HTTP/1.1 ")
        self.bytes.writeDecimal(Int(status.code))
        self.bytes.writeStaticString(" ")
        let start = self.bytes.writerIndex
        self.bytes.writeString(status.reasonPhrase)
        self.bytes.clean(from: start)
        self.bytes.writeStaticString("\r\n")
    }

    mutating func add(_ name: String, _ value: String) {
        self.bytes.writeString(name)
        self.addValue(value)
    }

    mutating func add(_ name: StaticString, _ value: String) {
        self.bytes.writeStaticString(name)
        self.addValue(value)
    }

    private mutating func addValue(_ value: String) {
        self.bytes.writeStaticString(": ")
        let start = self.bytes.writerIndex
        self.bytes.writeString(value)
        self.bytes.clean(from: start)
        self.bytes.writeStaticString("\r\n")
    }

    mutating func add(_ name: StaticString, _ value: Int) {
        self.bytes.writeStaticString(name)
        self.bytes.writeStaticString(": ")
        self.bytes.writeDecimal(value)
        self.bytes.writeStaticString("\r\n")
    }

    /// A field whose bytes are known to be sound.
    mutating func add(_ name: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer) {
        self.bytes.writeBytes(name)
        self.bytes.writeStaticString(": ")
        self.bytes.writeBytes(value)
        self.bytes.writeStaticString("\r\n")
    }

    /// Whole lines of the gateway's own.
    mutating func add(lines: StaticString) {
        self.bytes.writeStaticString(lines)
    }

    /// The same as HTTP/2 takes them.
    var headers: HTTPHeaders {
        var headers = HTTPHeaders()
        self.bytes.withUnsafeReadableBytes { all in
            var at = 0
            while let feed = ByteSearch.first(0x0A, all, from: at),
                let colon = ByteSearch.first(0x3A, all, from: at), colon < feed
            {
                let name = UnsafeRawBufferPointer(rebasing: all[at..<colon])
                let value = FieldSyntax.trimmed(UnsafeRawBufferPointer(rebasing: all[colon + 1..<feed - 1]))
                headers.add(name: String(decoding: name, as: UTF8.self), value: String(decoding: value, as: UTF8.self))
                at = feed + 1
            }
        }
        return headers
    }
}

extension ByteBuffer {
    /// Turns what may not stand in a field's value into spaces.
    fileprivate mutating func clean(from start: Int) {
        let isSound = self.withUnsafeReadableBytes { bytes in
            FieldSyntax.isFieldValue(UnsafeRawBufferPointer(rebasing: bytes[(start - self.readerIndex)...]))
        }
        if isSound { return }
        for index in start..<self.writerIndex {
            guard let byte = self.getInteger(at: index, as: UInt8.self) else { return }
            if byte < 0x20 && byte != 0x09 || byte == 0x7F { self.setInteger(0x20 as UInt8, at: index) }
        }
    }

    mutating func writeDecimal(_ value: Int) {
        if (0...9).contains(value) {
            self.writeInteger(UInt8(0x30 + value))
        } else {
            self.writeString(String(value))
        }
    }

    mutating func writeHexadecimal(_ value: Int) {
        var shift = (max(1, Int.bitWidth - value.leadingZeroBitCount) - 1) / 4 * 4
        while shift >= 0 {
            let digit = UInt8(value >> shift & 15)
            self.writeInteger(digit < 10 ? 0x30 + digit : 0x57 + digit)
            shift -= 4
        }
    }
}
