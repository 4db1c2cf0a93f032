// SPDX-License-Identifier: Apache-2.0

/// Walks the fields of a Protocol Buffers message without a schema, so that a few can be read or replaced while the rest
/// stays as it is, unknown fields included. (A generated codec would write the whole message anew.)
///
/// Source: <https://protobuf.dev/programming-guides/encoding/>.
struct ProtobufFields: Sequence, IteratorProtocol {
    struct Malformed: Error {}

    struct Field {
        let number: Int
        /// The bytes of a length-delimited field; `nil` for other types.
        let value: ArraySlice<UInt8>?
        /// The field with its tag.
        let whole: ArraySlice<UInt8>
    }

    private var rest: ArraySlice<UInt8>
    private(set) var isMalformed = false

    init(_ bytes: ArraySlice<UInt8>) {
        self.rest = bytes
    }

    /// Calls `body` for each field, in order.
    static func forEach(_ bytes: ArraySlice<UInt8>, _ body: (Field) throws -> Void) throws {
        var fields = ProtobufFields(bytes)
        while let field = fields.next() { try body(field) }
        if fields.isMalformed { throw Malformed() }
    }

    mutating func next() -> Field? {
        guard !self.rest.isEmpty, !self.isMalformed else { return nil }
        let start = self.rest
        guard let tag = self.varint(), tag >> 3 != 0, tag >> 3 < 1 << 29 else { return self.fail() }
        var value: ArraySlice<UInt8>?
        switch tag & 7 {
        case 0: guard self.varint() != nil else { return self.fail() }
        case 1: guard self.take(8) != nil else { return self.fail() }
        case 2:
            guard let length = self.varint(), length <= UInt64(self.rest.count), let bytes = self.take(Int(length))
            else { return self.fail() }
            value = bytes
        case 5: guard self.take(4) != nil else { return self.fail() }
        // Groups are not part of OTLP.
        default: return self.fail()
        }
        return Field(number: Int(tag >> 3), value: value, whole: start[start.startIndex..<self.rest.startIndex])
    }

    private mutating func fail() -> Field? {
        self.isMalformed = true
        return nil
    }

    private mutating func take(_ count: Int) -> ArraySlice<UInt8>? {
        guard self.rest.count >= count else { return nil }
        let taken = self.rest.prefix(count)
        self.rest = self.rest.dropFirst(count)
        return taken
    }

    private mutating func varint() -> UInt64? {
        var value: UInt64 = 0
        for shift in stride(from: 0, through: 63, by: 7) {
            guard let byte = self.rest.popFirst() else { return nil }
            if shift == 63, byte > 1 { return nil }
            value |= UInt64(byte & 0x7F) << UInt64(shift)
            if byte & 0x80 == 0 { return value }
        }
        return nil
    }

    /// A length-delimited field.
    static func field(_ number: Int, _ value: some Collection<UInt8>) -> [UInt8] {
        self.varint(UInt64(number) << 3 | 2) + self.varint(UInt64(value.count)) + value
    }

    private static func varint(_ value: UInt64) -> [UInt8] {
        var out: [UInt8] = []
        var rest = value
        while rest >= 0x80 {
            out.append(UInt8(rest & 0x7F) | 0x80)
            rest >>= 7
        }
        out.append(UInt8(rest))
        return out
    }
}
