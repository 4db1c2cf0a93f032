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
    /// A bit for each of their names, shared by some: most questions are for fields that are not there.
    private let names: UInt64

    package init() {
        self.init(ByteBuffer(), [], names: 0)
    }

    /// - Parameters:
    ///   - bytes: A whole head, blank line included.
    ///   - start: Where its first field line begins, counted from the first readable byte.
    init(_ bytes: ByteBuffer, from start: Int) throws(HTTPSyntaxError) {
        self.bytes = bytes
        (self.lines, self.names) = try bytes.reading { bytes throws(HTTPSyntaxError) in
            try Self.read(bytes, from: start)
        }
    }

    private init(_ bytes: ByteBuffer, _ lines: [Line], names: UInt64) {
        self.bytes = bytes
        self.lines = lines
        self.names = names
    }

    /// The same for keeping.
    func compacted() -> FieldSection { FieldSection(self.bytes.compacted(), self.lines, names: self.names) }

    /// Fields that came in another way than as lines, such as HTTP/2's.
    ///
    /// - Throws: When a name or a value could not be a line's.
    package init(_ headers: HTTPHeaders) throws(HTTPSyntaxError) {
        var bytes = ByteBuffer()
        var lines: [Line] = []
        var names: UInt64 = 0
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
            names |= cfields_name_bit(name.utf8.first ?? 0, middle - start)
            lines.append(
                Line(
                    name: Int32(start), name_count: Int32(middle - start), value: Int32(middle),
                    value_count: Int32(bytes.writerIndex - middle)))
        }
        self.init(bytes, lines, names: names)
    }

    /// Whoever calls has made sure that the bytes end with a blank line.
    private static func read(
        _ bytes: UnsafeRawBufferPointer, from start: Int,
    ) throws(HTTPSyntaxError) -> ([Line], UInt64) {
        let base = bytes.baseAddress!.assumingMemoryBound(to: UInt8.self)
        var room = self.usualLines
        while true {
            var (found, names) = (0, UInt64(0))
            let lines = withUnsafeTemporaryAllocation(of: Line.self, capacity: room) { lines in
                found = cfields_read(base, bytes.count, start, lines.baseAddress, room, &names)
                return [Line](lines.prefix(max(0, found)))
            }
            if found >= 0 { return (lines, names) }
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

    /// Whether there may be a field of that name.
    @inline(__always)
    private func mayHave(_ name: StaticString) -> Bool {
        self.names & cfields_name_bit(name.utf8Start.pointee, name.utf8CodeUnitCount) != 0
    }

    private func index(_ name: StaticString, after start: Int, _ bytes: UnsafeRawBufferPointer) -> Int? {
        let count = Int32(name.utf8CodeUnitCount)
        return self.lines.withUnsafeBufferPointer { lines in
            var index = start
            while index < lines.count {
                if lines[index].name_count == count, Self.name(lines[index], bytes).matches(name) { return index }
                index += 1
            }
            return nil
        }
    }

    /// Calls with the bytes of the first field of that name. Names are given in lower case.
    func withFirst<Value>(_ name: StaticString, _ body: (UnsafeRawBufferPointer) -> Value) -> Value? {
        guard self.mayHave(name) else { return nil }
        return self.bytes.withUnsafeReadableBytes { bytes in
            self.index(name, after: 0, bytes).map { body(Self.value(self.lines[$0], bytes)) }
        }
    }

    /// What there is of a field that may be there once.
    enum Only<Value> {
        case none
        case one(Value)
        case several
    }

    func only<Value>(_ name: StaticString, _ body: (UnsafeRawBufferPointer) -> Value) -> Only<Value> {
        guard self.mayHave(name) else { return .none }
        return self.bytes.withUnsafeReadableBytes { bytes in
            guard let first = self.index(name, after: 0, bytes) else { return .none }
            guard self.index(name, after: first + 1, bytes) == nil else { return .several }
            return .one(body(Self.value(self.lines[first], bytes)))
        }
    }

    package func first(_ name: StaticString) -> String? {
        self.withFirst(name) { String(decoding: $0, as: UTF8.self) }
    }

    func contains(_ name: StaticString) -> Bool {
        self.withFirst(name) { _ in true } ?? false
    }

    package func values(_ name: StaticString) -> [String] {
        guard self.mayHave(name) else { return [] }
        return self.bytes.withUnsafeReadableBytes { bytes in
            var values: [String] = []
            var next = 0
            while let index = self.index(name, after: next, bytes) {
                values.append(String(decoding: Self.value(self.lines[index], bytes), as: UTF8.self))
                next = index + 1
            }
            return values
        }
    }

    /// Whether a comma-separated list under that name has the word, in lower case, whatever the case of its own.
    func lists(_ word: StaticString, under name: StaticString) -> Bool {
        guard self.mayHave(name) else { return false }
        return self.bytes.withUnsafeReadableBytes { bytes in
            var next = 0
            while let index = self.index(name, after: next, bytes) {
                let value = Self.value(self.lines[index], bytes)
                var at = 0
                while at <= value.count {
                    let comma = ByteSearch.first(0x2C, value, from: at) ?? value.count
                    let part = UnsafeRawBufferPointer(rebasing: value[at..<comma])
                    if FieldSyntax.trimmed(part).matches(word) { return true }
                    at = comma + 1
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
