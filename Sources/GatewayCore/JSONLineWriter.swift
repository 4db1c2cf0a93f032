// SPDX-License-Identifier: Apache-2.0

/// Writes JSON text without values in between: for lines that each request writes.
package struct JSONLineWriter: ~Copyable {
    @usableFromInline package var out: ByteWriter

    package init(capacity: Int = 512) {
        self.out = ByteWriter(capacity: capacity)
    }

    /// Writes into somebody else's memory, as long as that is enough.
    package init(in memory: UnsafeMutableBufferPointer<UInt8>) {
        self.out = ByteWriter(in: memory)
    }

    package var bytes: [UInt8] { self.out.bytes }

    /// `,"name":`. The name needs no escapes.
    @inlinable @inline(__always)
    package mutating func key(_ name: StaticString) {
        let count = name.utf8CodeUnitCount
        self.out.reserve(count + 4)
        let start = self.out.start + self.out.used
        start[0] = 0x2C
        start[1] = 0x22
        (start + 2).update(from: name.utf8Start, count: count)
        start[count + 2] = 0x22
        start[count + 3] = 0x3A
        self.out.used &+= count + 4
    }

    /// Text that is JSON already.
    @inlinable @inline(__always)
    package mutating func raw(_ text: StaticString) {
        self.out.put(literal: text)
    }

    package mutating func raw(word text: String) {
        self.out.put(text)
    }

    package mutating func raw(_ bytes: [UInt8]) {
        self.out.put(bytes)
    }

    package mutating func string(_ value: String) {
        value.withBytes { self.string($0) }
    }

    private mutating func string(_ bytes: UnsafeRawBufferPointer) {
        self.out.reserve(bytes.count + 2)
        self.out.put(0x22)
        if Self.isPlain(bytes) { self.out.put(bytes) } else { self.escape(bytes) }
        self.out.put(0x22)
    }

    package mutating func integer(_ value: Int) {
        self.out.putDecimal(value)
    }

    /// ISO 8601 in UTC with milliseconds, without quotes.
    package mutating func time(_ time: Timestamp) {
        self.out.reserve(24)
        time.write(to: self.out.start + self.out.used)
        self.out.used += 24
    }

    private mutating func escape(_ bytes: UnsafeRawBufferPointer) {
        for byte in bytes {
            switch byte {
            case 0x22: self.raw("\\\"")
            case 0x5C: self.raw("\\\\")
            case 0x08: self.raw("\\b")
            case 0x0C: self.raw("\\f")
            case 0x0A: self.raw("\\n")
            case 0x0D: self.raw("\\r")
            case 0x09: self.raw("\\t")
            case 0..<0x20:
                self.raw("\\u00")
                self.out.put(byte < 0x10 ? 0x30 : 0x31)
                let low = byte & 0xF
                self.out.put(low < 10 ? 0x30 + low : 0x57 + low)
            default: self.out.put(byte)
            }
        }
    }

    /// Whether nothing needs a backslash. Eight bytes at a time.
    private static func isPlain(_ bytes: UnsafeRawBufferPointer) -> Bool {
        let (ones, highs): (UInt64, UInt64) = (0x0101_0101_0101_0101, 0x8080_8080_8080_8080)
        // Some bit of each byte that is a quote, a backslash or below 0x20; a false alarm only costs the slow way.
        @inline(__always) func special(_ at: Int) -> UInt64 {
            let word = bytes.loadUnaligned(fromByteOffset: at, as: UInt64.self)
            let (quotes, slashes) = (word ^ (ones &* 0x22), word ^ (ones &* 0x5C))
            return ((quotes &- ones) & ~quotes) | ((slashes &- ones) & ~slashes) | ((word &- (ones &* 0x20)) & ~word)
        }
        guard bytes.count >= 8 else {
            for byte in bytes where byte < 0x20 || byte == 0x22 || byte == 0x5C { return false }
            return true
        }
        // The last word overlaps the one before it.
        var found = special(bytes.count - 8)
        for at in stride(from: 0, to: bytes.count - 8, by: 8) { found |= special(at) }
        return found & highs == 0
    }
}
