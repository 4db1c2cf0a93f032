// SPDX-License-Identifier: Apache-2.0

/// The bytes that HTTP messages are made of (RFC 9110 §5.5 and §5.6.2, RFC 9112 §2 to §5).
package enum FieldSyntax {
    /// `tchar` as a set of bits: letters, digits and !#$%&'*+-.^_`|~
    private static let lowTokens: UInt64 = 0x03FF_6CFA_0000_0000
    private static let highTokens: UInt64 = 0x57FF_FFFF_C7FF_FFFE

    /// Whether all bytes are `tchar`s, and there are some.
    package static func isToken(_ bytes: UnsafeRawBufferPointer) -> Bool {
        for byte in bytes where !self.isToken(byte) { return false }
        return !bytes.isEmpty
    }

    @inline(__always)
    static func isToken(_ byte: UInt8) -> Bool {
        let set = byte < 64 ? self.lowTokens : self.highTokens
        return byte < 128 && (set >> UInt64(byte & 63)) & 1 == 1
    }

    /// Whether all bytes may stand in a field's value: visible characters, spaces, tabs, and bytes beyond ASCII.
    package static func isFieldValue(_ bytes: UnsafeRawBufferPointer) -> Bool {
        let (ones, highs): (UInt64, UInt64) = (0x0101_0101_0101_0101, 0x8080_8080_8080_8080)
        var at = 0
        // Eight at a time: no byte below 0x20 and none that is 0x7F. Tabs are rare and looked at one by one.
        while at + 8 <= bytes.count {
            let word = bytes.loadUnaligned(fromByteOffset: at, as: UInt64.self)
            let deletes = word ^ (ones &* 0x7F)
            let special = ((word &- (ones &* 0x20)) & ~word) | ((deletes &- ones) & ~deletes)
            if special & highs != 0, !bytes[at..<at + 8].allSatisfy(self.isFieldByte) { return false }
            at += 8
        }
        while at < bytes.count {
            guard self.isFieldByte(bytes[at]) else { return false }
            at += 1
        }
        return true
    }

    @inline(__always)
    private static func isFieldByte(_ byte: UInt8) -> Bool {
        byte >= 0x20 && byte != 0x7F || byte == 0x09
    }

    /// Without the spaces and tabs around it.
    package static func trimmed(_ bytes: UnsafeRawBufferPointer) -> UnsafeRawBufferPointer {
        var (start, end) = (0, bytes.count)
        while start < end, bytes[start] == 0x20 || bytes[start] == 0x09 { start += 1 }
        while end > start, bytes[end - 1] == 0x20 || bytes[end - 1] == 0x09 { end -= 1 }
        return UnsafeRawBufferPointer(rebasing: bytes[start..<end])
    }

    /// A decimal number without a sign, as `Content-Length` has it; `nil` for anything else.
    package static func decimal(_ bytes: UnsafeRawBufferPointer) -> Int? {
        guard (1...18).contains(bytes.count) else { return nil }
        var value = 0
        for byte in bytes {
            guard (0x30...0x39).contains(byte) else { return nil }
            value = value &* 10 &+ Int(byte &- 0x30)
        }
        return value
    }
}
