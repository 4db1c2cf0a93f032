// SPDX-License-Identifier: Apache-2.0

/// Writes JSON text without values in between: for lines that each request writes.
package struct JSONLineWriter: ~Copyable {
    @usableFromInline package var out: ByteWriter

    package init(capacity: Int = 512) {
        self.out = ByteWriter(capacity: capacity)
    }

    package var bytes: [UInt8] { self.out.bytes }

    /// Text that is JSON already.
    @inlinable @inline(__always)
    package mutating func raw(_ text: StaticString) {
        self.out.put(text)
    }

    package mutating func raw(_ bytes: [UInt8]) {
        self.out.put(bytes)
    }

    package mutating func string(_ value: String) {
        var value = value
        value.withUTF8 { bytes in
            self.out.reserve(bytes.count + 2)
            self.out.put(0x22)
            self.escaped(UnsafeRawBufferPointer(bytes))
            self.out.put(0x22)
        }
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

    private mutating func escaped(_ bytes: UnsafeRawBufferPointer) {
        if Self.isPlain(bytes) {
            self.out.put(bytes)
            return
        }
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
    private static func isPlain(_ raw: UnsafeRawBufferPointer) -> Bool {
        let (ones, highs): (UInt64, UInt64) = (0x0101_0101_0101_0101, 0x8080_8080_8080_8080)
        var at = 0
        while at + 8 <= raw.count {
            let word = raw.loadUnaligned(fromByteOffset: at, as: UInt64.self)
            let (quotes, slashes) = (word ^ (ones &* 0x22), word ^ (ones &* 0x5C))
            // "Has a zero byte" and "has a byte below 0x20"; a false alarm only costs the slow way.
            let special =
                ((quotes &- ones) & ~quotes) | ((slashes &- ones) & ~slashes) | ((word &- (ones &* 0x20)) & ~word)
            if special & highs != 0 { return false }
            at += 8
        }
        while at < raw.count {
            if raw[at] < 0x20 || raw[at] == 0x22 || raw[at] == 0x5C { return false }
            at += 1
        }
        return true
    }
}
