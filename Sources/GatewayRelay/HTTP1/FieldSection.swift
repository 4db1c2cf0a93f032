// SPDX-License-Identifier: Apache-2.0

internal import CByteScan
internal import GatewayCore
internal import NIOCore
package import NIOHTTP1

/// The field lines of one message as they came: places in its bytes, and no copies of them.
package struct FieldSection {
    private typealias Line = cfields_line

    /// So many lines are usual.
    private static let usualLines = 24

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

    private init(_ bytes: ByteBuffer, _ lines: [Line]) {
        self.bytes = bytes
        self.lines = lines
    }

    /// The same for keeping.
    func compacted() -> FieldSection { FieldSection(self.bytes.compacted(), self.lines) }

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
                    name: Int32(start), name_count: Int32(middle - start), value: Int32(middle),
                    value_count: Int32(bytes.writerIndex - middle)))
        }
        self.bytes = bytes
        self.lines = lines
    }

    /// Whoever calls has made sure that the bytes end with a blank line.
    private static func read(_ bytes: UnsafeRawBufferPointer, from start: Int) throws(HTTPSyntaxError) -> [Line] {
        let base = bytes.baseAddress!.assumingMemoryBound(to: UInt8.self)
        var room = self.usualLines
        while true {
            var found = 0
            let lines = [Line](unsafeUninitializedCapacity: room) { lines, count in
                found = cfields_read(base, bytes.count, start, lines.baseAddress, room)
                count = max(0, found)
            }
            if found >= 0 { return lines }
            guard found == cfields_too_many else { throw .field }
            room = bytes.count / 4
        }
    }

    // MARK: Reading

    /// Sum over the fields of name, value and four bytes.
    var size: Int { self.lines.reduce(0) { $0 + Int($1.name_count) + Int($1.value_count) + 4 } }

    /// Calls with the bytes of each field, in order.
    func visit(_ body: (_ name: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer) -> Void) {
        self.bytes.withUnsafeReadableBytes { bytes in
            for line in self.lines { body(Self.name(line, bytes), Self.value(line, bytes)) }
        }
    }

    private static func name(_ line: Line, _ bytes: UnsafeRawBufferPointer) -> UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(rebasing: bytes[Int(line.name)..<Int(line.name) + Int(line.name_count)])
    }

    private static func value(_ line: Line, _ bytes: UnsafeRawBufferPointer) -> UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(rebasing: bytes[Int(line.value)..<Int(line.value) + Int(line.value_count)])
    }

    private func index(_ name: StaticString, after start: Int, _ bytes: UnsafeRawBufferPointer) -> Int? {
        let count = Int32(name.utf8CodeUnitCount)
        var index = start
        while index < self.lines.count {
            if self.lines[index].name_count == count, Self.name(self.lines[index], bytes).matches(name) {
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
