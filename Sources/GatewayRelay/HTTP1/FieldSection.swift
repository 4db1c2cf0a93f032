// SPDX-License-Identifier: Apache-2.0

internal import GatewayCore
internal import NIOCore
package import NIOHTTP1

/// The field lines of one message as they came: places in its bytes, and no copies of them.
package struct FieldSection {
    private struct Line {
        let name: Int32
        let nameCount: Int32
        let value: Int32
        let valueCount: Int32
    }

    private let bytes: ByteBuffer
    private let lines: [Line]

    package init() {
        self.bytes = ByteBuffer()
        self.lines = []
    }

    /// - Parameters:
    ///   - bytes: A whole head, blank line included.
    ///   - start: Where its first field line begins, counted from the first readable byte.
    init(_ bytes: ByteBuffer, from start: Int) throws(HTTPSyntaxError) {
        self.bytes = bytes
        self.lines = try bytes.reading { bytes throws(HTTPSyntaxError) in try Self.read(bytes, from: start) }
    }

    /// Fields that came in another way than as lines, such as HTTP/2's.
    ///
    /// - Throws: When a name or a value could not be a line's.
    package init(_ headers: HTTPHeaders) throws(HTTPSyntaxError) {
        var bytes = ByteBuffer()
        var lines: [Line] = []
        lines.reserveCapacity(headers.count)
        for (name, value) in headers {
            let start = bytes.writerIndex
            bytes.writeString(name)
            let middle = bytes.writerIndex
            bytes.writeString(value)
            let isSound = bytes.withUnsafeReadableBytes { all in
                FieldSyntax.isToken(UnsafeRawBufferPointer(rebasing: all[start..<middle]))
                    && FieldSyntax.isFieldValue(UnsafeRawBufferPointer(rebasing: all[middle...]))
            }
            guard isSound else { throw .field }
            lines.append(
                Line(
                    name: Int32(start), nameCount: Int32(middle - start), value: Int32(middle),
                    valueCount: Int32(bytes.writerIndex - middle)))
        }
        self.bytes = bytes
        self.lines = lines
    }

    /// Whoever calls has made sure that the bytes end with a blank line and that each line ends with CR LF.
    private static func read(_ bytes: UnsafeRawBufferPointer, from start: Int) throws(HTTPSyntaxError) -> [Line] {
        var lines: [Line] = []
        lines.reserveCapacity(16)
        var at = start
        while at < bytes.count - 2 {
            var colon = at
            while FieldSyntax.isToken(bytes[colon]) { colon += 1 }
            // No name, a space before the colon, or a folded line (RFC 9112 §5.1 and §5.2).
            guard colon > at, bytes[colon] == 0x3A, let feed = ByteSearch.first(0x0A, bytes, from: colon) else {
                throw .field
            }
            var (start, end) = (colon + 1, feed - 1)
            while start < end, bytes[start] == 0x20 || bytes[start] == 0x09 { start += 1 }
            while end > start, bytes[end - 1] == 0x20 || bytes[end - 1] == 0x09 { end -= 1 }
            guard FieldSyntax.isFieldValue(UnsafeRawBufferPointer(rebasing: bytes[start..<end])) else { throw .field }
            lines.append(
                Line(
                    name: Int32(truncatingIfNeeded: at), nameCount: Int32(truncatingIfNeeded: colon - at),
                    value: Int32(truncatingIfNeeded: start), valueCount: Int32(truncatingIfNeeded: end - start)))
            at = feed + 1
        }
        return lines
    }

    // MARK: Reading

    /// Sum over the fields of name, value and four bytes.
    var size: Int { self.lines.reduce(0) { $0 + Int($1.nameCount) + Int($1.valueCount) + 4 } }

    /// Calls with the bytes of each field, in order.
    func visit(_ body: (_ name: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer) -> Void) {
        self.bytes.withUnsafeReadableBytes { bytes in
            for line in self.lines { body(Self.name(line, bytes), Self.value(line, bytes)) }
        }
    }

    private static func name(_ line: Line, _ bytes: UnsafeRawBufferPointer) -> UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(rebasing: bytes[Int(line.name)..<Int(line.name) + Int(line.nameCount)])
    }

    private static func value(_ line: Line, _ bytes: UnsafeRawBufferPointer) -> UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(rebasing: bytes[Int(line.value)..<Int(line.value) + Int(line.valueCount)])
    }

    private func index(_ name: StaticString, after start: Int, _ bytes: UnsafeRawBufferPointer) -> Int? {
        let count = Int32(name.utf8CodeUnitCount)
        var index = start
        while index < self.lines.count {
            if self.lines[index].nameCount == count, Self.name(self.lines[index], bytes).matches(name) {
                return index
            }
            index += 1
        }
        return nil
    }

    /// Calls with the bytes of the first field of that name. Names are given in lower case.
    func withFirst<Value>(_ name: StaticString, _ body: (UnsafeRawBufferPointer) -> Value) -> Value? {
        self.bytes.withUnsafeReadableBytes { bytes in
            self.index(name, after: 0, bytes).map { body(Self.value(self.lines[$0], bytes)) }
        }
    }

    package func first(_ name: StaticString) -> String? {
        self.withFirst(name) { String(decoding: $0, as: UTF8.self) }
    }

    func contains(_ name: StaticString) -> Bool {
        self.withFirst(name) { _ in true } ?? false
    }

    package func values(_ name: StaticString) -> [String] {
        self.bytes.withUnsafeReadableBytes { bytes in
            var values: [String] = []
            var next = 0
            while let index = self.index(name, after: next, bytes) {
                values.append(String(decoding: Self.value(self.lines[index], bytes), as: UTF8.self))
                next = index + 1
            }
            return values
        }
    }

    /// How many fields have that name.
    func count(_ name: StaticString) -> Int {
        self.bytes.withUnsafeReadableBytes { bytes in
            var count = 0
            var next = 0
            while let index = self.index(name, after: next, bytes) {
                count += 1
                next = index + 1
            }
            return count
        }
    }

    /// Whether a comma-separated list under that name has the word, in lower case, whatever the case of its own.
    func lists(_ word: StaticString, under name: StaticString) -> Bool {
        self.bytes.withUnsafeReadableBytes { bytes in
            var next = 0
            while let index = self.index(name, after: next, bytes) {
                let value = Self.value(self.lines[index], bytes)
                if value.matches(word) { return true }
                for part in value.split(separator: 0x2C)
                where FieldSyntax.trimmed(UnsafeRawBufferPointer(rebasing: part)).matches(word) {
                    return true
                }
                next = index + 1
            }
            return false
        }
    }

    /// The fields as the asynchronous routes take them.
    package var headers: HTTPHeaders {
        var headers = HTTPHeaders()
        headers.reserveCapacity(self.lines.count)
        self.visit { name, value in
            headers.add(name: String(decoding: name, as: UTF8.self), value: String(decoding: value, as: UTF8.self))
        }
        return headers
    }
}
