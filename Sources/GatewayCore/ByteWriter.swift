// SPDX-License-Identifier: Apache-2.0

#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Musl)
    internal import Musl
#else
    internal import Darwin
#endif

/// Gathers bytes in memory of its own: for what each request writes, piece by small piece.
package struct ByteWriter: ~Copyable {
    @usableFromInline package var start: UnsafeMutablePointer<UInt8>
    /// How many bytes have been gathered.
    @usableFromInline package var used = 0
    @usableFromInline package var capacity: Int

    package init(capacity: Int) {
        self.start = .allocate(capacity: capacity)
        self.capacity = capacity
    }

    deinit {
        self.start.deallocate()
    }

    /// Makes room for so many more bytes.
    @inlinable @inline(__always)
    package mutating func reserve(_ more: Int) {
        if self.used + more > self.capacity { self.grow(more) }
    }

    @usableFromInline
    package mutating func grow(_ more: Int) {
        self.capacity = max(self.capacity * 2, self.used + more)
        let larger = UnsafeMutablePointer<UInt8>.allocate(capacity: self.capacity)
        larger.update(from: self.start, count: self.used)
        self.start.deallocate()
        self.start = larger
    }

    @inlinable @inline(__always)
    package mutating func put(_ byte: UInt8) {
        self.reserve(1)
        self.start[self.used] = byte
        self.used &+= 1
    }

    @inlinable @inline(__always)
    package mutating func put(_ text: StaticString) {
        let count = text.utf8CodeUnitCount
        self.reserve(count)
        (self.start + self.used).update(from: text.utf8Start, count: count)
        self.used &+= count
    }

    package mutating func put(_ bytes: UnsafeRawBufferPointer) {
        guard let base = bytes.baseAddress else { return }
        self.reserve(bytes.count)
        memcpy(self.start + self.used, base, bytes.count)
        self.used += bytes.count
    }

    package mutating func put(_ text: String) {
        var text = text
        text.withUTF8 { self.put(UnsafeRawBufferPointer($0)) }
    }

    package mutating func put(_ bytes: [UInt8]) {
        bytes.withUnsafeBytes { self.put($0) }
    }

    package mutating func putDecimal(_ value: Int) {
        if (0...9).contains(value) {
            self.put(0x30 + UInt8(value))
            return
        }
        self.reserve(20)
        if value < 0 { self.put(0x2D) }
        let from = self.used
        var rest = value.magnitude
        while rest > 0 {
            self.start[self.used] = 0x30 + UInt8(truncatingIfNeeded: rest % 10)
            self.used += 1
            rest /= 10
        }
        var (left, right) = (from, self.used - 1)
        while left < right {
            (self.start[left], self.start[right]) = (self.start[right], self.start[left])
            left += 1
            right -= 1
        }
    }

    /// Calls with what has been gathered, which may be changed in place.
    package mutating func withBytes<Value>(_ body: (UnsafeMutableRawBufferPointer) -> Value) -> Value {
        body(UnsafeMutableRawBufferPointer(start: self.start, count: self.used))
    }

    package var bytes: [UInt8] {
        Array(UnsafeBufferPointer(start: self.start, count: self.used))
    }
}
