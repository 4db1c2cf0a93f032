// SPDX-License-Identifier: Apache-2.0

#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Musl)
    internal import Musl
#else
    internal import Darwin
#endif

/// Writes JSON text without values in between: for lines that each request writes.
package struct JSONLineWriter: ~Copyable {
    private var start: UnsafeMutablePointer<UInt8>
    private var count = 0
    private var capacity: Int

    package init(capacity: Int = 512) {
        self.start = .allocate(capacity: capacity)
        self.capacity = capacity
    }

    deinit {
        self.start.deallocate()
    }

    package consuming func finish() -> [UInt8] {
        Array(UnsafeBufferPointer(start: self.start, count: self.count))
    }

    private mutating func makeRoom(_ more: Int) {
        guard self.count + more > self.capacity else { return }
        self.capacity = max(self.capacity * 2, self.count + more)
        let larger = UnsafeMutablePointer<UInt8>.allocate(capacity: self.capacity)
        larger.update(from: self.start, count: self.count)
        self.start.deallocate()
        self.start = larger
    }

    private mutating func put(_ byte: UInt8) {
        self.makeRoom(1)
        self.start[self.count] = byte
        self.count += 1
    }

    private mutating func put(_ bytes: UnsafeBufferPointer<UInt8>) {
        guard let base = bytes.baseAddress else { return }
        self.makeRoom(bytes.count)
        memcpy(self.start + self.count, base, bytes.count)
        self.count += bytes.count
    }

    /// Text that is JSON already.
    package mutating func raw(_ text: StaticString) {
        self.put(UnsafeBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount))
    }

    package mutating func raw(_ bytes: [UInt8]) {
        bytes.withUnsafeBufferPointer { self.put($0) }
    }

    package mutating func raw(_ text: String) {
        var text = text
        text.withUTF8 { self.put($0) }
    }

    package mutating func string(_ value: String) {
        self.put(0x22)
        var value = value
        value.withUTF8 { self.escaped($0) }
        self.put(0x22)
    }

    package mutating func integer(_ value: Int) {
        if (0...9).contains(value) {
            self.put(0x30 + UInt8(value))
            return
        }
        if value < 0 { self.put(0x2D) }
        var rest = value.magnitude
        var digits: (UInt64, UInt64, UInt64) = (0, 0, 0)
        withUnsafeMutableBytes(of: &digits) { digits in
            var at = digits.count
            while rest > 0 {
                at -= 1
                digits[at] = 0x30 + UInt8(truncatingIfNeeded: rest % 10)
                rest /= 10
            }
            self.put(UnsafeBufferPointer(rebasing: digits.bindMemory(to: UInt8.self)[at...]))
        }
    }

    /// ISO 8601 in UTC with milliseconds, without quotes.
    package mutating func time(_ time: Timestamp) {
        self.makeRoom(24)
        time.write(to: self.start + self.count)
        self.count += 24
    }

    private mutating func escaped(_ bytes: UnsafeBufferPointer<UInt8>) {
        if Self.isPlain(bytes) {
            self.put(bytes)
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
                self.put(byte < 0x10 ? 0x30 : 0x31)
                let low = byte & 0xF
                self.put(low < 10 ? 0x30 + low : 0x57 + low)
            default: self.put(byte)
            }
        }
    }

    /// Whether nothing needs a backslash. Eight bytes at a time.
    private static func isPlain(_ bytes: UnsafeBufferPointer<UInt8>) -> Bool {
        let (ones, highs): (UInt64, UInt64) = (0x0101_0101_0101_0101, 0x8080_8080_8080_8080)
        let raw = UnsafeRawBufferPointer(bytes)
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
