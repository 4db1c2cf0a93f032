// SPDX-License-Identifier: Apache-2.0

/// Field lines of HTTP/1.1 (RFC 9112 §5) on their way out. A value never breaks out of its line: control bytes become
/// spaces.
package struct FieldLines: ~Copyable {
    package var writer: ByteWriter

    /// - Parameter capacity: So many bytes are usual. The C library has pieces of memory up to a kilobyte at hand.
    package init(capacity: Int = 1024) {
        self.writer = ByteWriter(capacity: capacity)
    }

    package mutating func add(name: String, _ value: String) {
        self.writer.put(name)
        self.finish(value)
    }

    package mutating func add(_ name: StaticString, _ value: String) {
        self.writer.put(literal: name)
        self.finish(value)
    }

    package mutating func add(_ name: StaticString, _ value: Int) {
        self.writer.put(literal: name)
        self.writer.put(0x3A, 0x20)
        self.writer.putDecimal(value)
        self.writer.put(0x0D, 0x0A)
    }

    /// A field whose bytes are known to be sound.
    package mutating func add(_ name: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer) {
        self.writer.reserve(name.count + value.count + 4)
        self.writer.put(name)
        self.writer.put(0x3A, 0x20)
        self.writer.put(value)
        self.writer.put(0x0D, 0x0A)
    }

    /// A field whose value is known to be sound.
    package mutating func add(_ name: StaticString, sound value: String) {
        self.writer.put(literal: name)
        self.writer.put(0x3A, 0x20)
        self.writer.put(value)
        self.writer.put(0x0D, 0x0A)
    }

    /// - Parameter more: Behind a value whose bytes are known to be sound.
    package mutating func add(_ name: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer, and more: String) {
        self.writer.put(name)
        self.writer.put(0x3A, 0x20)
        self.writer.put(value)
        self.putClean(more)
        self.writer.put(0x0D, 0x0A)
    }

    /// Whole lines of the gateway's own.
    package mutating func add(lines: StaticString) {
        self.writer.put(literal: lines)
    }

    package mutating func add(_ block: FieldBlock) {
        self.writer.put(block.bytes)
    }

    private mutating func finish(_ value: String) {
        self.writer.put(0x3A, 0x20)
        self.putClean(value)
        self.writer.put(0x0D, 0x0A)
    }

    package mutating func putClean(_ value: String) {
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

    /// The bytes as they are.
    package consuming func finish() -> ByteWriter { self.writer }

    /// Calls with the name and the value of each line. There must be no start line before them.
    package mutating func visit(_ body: (_ name: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer) -> Void) {
        self.writer.withBytes { FieldBlock.visit(UnsafeRawBufferPointer($0), body) }
    }
}

/// Field lines that stand ready to be sent, each with its CR LF.
package struct FieldBlock: Sendable, Equatable, CustomStringConvertible, CustomReflectable {
    package let bytes: [UInt8]

    /// Nothing.
    package init() {
        self.bytes = []
    }

    package init(_ lines: consuming FieldLines) {
        self.bytes = lines.writer.bytes
    }

    package init(_ pairs: [(name: String, value: String)]) {
        var lines = FieldLines()
        for (name, value) in pairs { lines.add(name: name, value) }
        self.init(lines)
    }

    /// Calls with the name and the value of each line.
    package func visit(_ body: (_ name: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer) -> Void) {
        self.bytes.withUnsafeBytes { Self.visit($0, body) }
    }

    /// The same as texts.
    package var pairs: [(name: String, value: String)] {
        var pairs: [(name: String, value: String)] = []
        self.visit { name, value in
            pairs.append((String(decoding: name, as: UTF8.self), String(decoding: value, as: UTF8.self)))
        }
        return pairs
    }

    /// The same with one more field, instead of all that have its name.
    package func replacing(_ name: String, with value: String) -> FieldBlock {
        FieldBlock(self.pairs.filter { $0.name.lowercased() != name } + [(name, value)])
    }

    /// Lines may hold credentials, which appear nowhere else.
    package var description: String { "(\(self.bytes.count) bytes of field lines)" }
    package var customMirror: Mirror { Mirror(self, children: []) }

    fileprivate static func visit(
        _ bytes: UnsafeRawBufferPointer, _ body: (UnsafeRawBufferPointer, UnsafeRawBufferPointer) -> Void,
    ) {
        var at = 0
        while let feed = ByteSearch.first(0x0A, bytes, from: at), let colon = ByteSearch.first(0x3A, bytes, from: at),
            colon < feed
        {
            body(
                UnsafeRawBufferPointer(rebasing: bytes[at..<colon]),
                FieldSyntax.trimmed(UnsafeRawBufferPointer(rebasing: bytes[colon + 1..<feed - 1])))
            at = feed + 1
        }
    }
}
