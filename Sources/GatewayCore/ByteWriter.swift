// SPDX-License-Identifier: Apache-2.0

/// Gathers bytes in memory of its own: for what each request writes, piece by small piece.
package struct ByteWriter: ~Copyable {
    @usableFromInline package var start: UnsafeMutablePointer<UInt8>
    /// How many bytes have been gathered.
    @usableFromInline package var used = 0
    @usableFromInline package var capacity: Int
    /// Whether the memory is its own.
    private var isOwner: Bool

    /// Without memory, until something is written.
    package init() {
        self.start = UnsafeMutablePointer(bitPattern: MemoryLayout<UInt8>.alignment)!
        self.capacity = 0
        self.isOwner = false
    }

    package init(capacity: Int) {
        self.start = .allocate(capacity: capacity)
        self.capacity = capacity
        self.isOwner = true
    }

    /// Gathers in somebody else's memory, as long as that is enough.
    package init(in memory: UnsafeMutableBufferPointer<UInt8>) {
        self.start = memory.baseAddress!
        self.capacity = memory.count
        self.isOwner = false
    }

    deinit {
        if self.isOwner { self.start.deallocate() }
    }

    /// Makes room for so many more bytes.
    @inlinable @inline(__always)
    package mutating func reserve(_ more: Int) {
        if self.used + more > self.capacity { self.grow(more) }
    }

    @usableFromInline
    package mutating func grow(_ more: Int) {
        self.capacity = max(self.capacity * 2, self.used + more, 64)
        let larger = UnsafeMutablePointer<UInt8>.allocate(capacity: self.capacity)
        larger.update(from: self.start, count: self.used)
        if self.isOwner { self.start.deallocate() }
        self.start = larger
        self.isOwner = true
    }

    @inlinable @inline(__always)
    package mutating func put(_ byte: UInt8) {
        self.reserve(1)
        self.start[self.used] = byte
        self.used &+= 1
    }

    @inlinable @inline(__always)
    package mutating func put(_ first: UInt8, _ second: UInt8) {
        self.reserve(2)
        self.start[self.used] = first
        self.start[self.used &+ 1] = second
        self.used &+= 2
    }

    @inlinable @inline(__always)
    package mutating func put(literal text: StaticString) {
        let count = text.utf8CodeUnitCount
        self.reserve(count)
        (self.start + self.used).update(from: text.utf8Start, count: count)
        self.used &+= count
    }

    @inlinable @inline(__always)
    package mutating func put(_ bytes: UnsafeRawBufferPointer) {
        guard let base = bytes.baseAddress else { return }
        self.reserve(bytes.count)
        UnsafeMutableRawPointer(self.start + self.used).copyMemory(from: base, byteCount: bytes.count)
        self.used &+= bytes.count
    }

    package mutating func put(_ text: String) {
        text.withBytes { self.put($0) }
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
        var rest = value.magnitude
        var (digits, bound) = (1, UInt(10))
        while digits < 20, rest >= bound {
            digits &+= 1
            bound = bound &* 10
        }
        self.used &+= digits
        var at = self.used
        repeat {
            at &-= 1
            self.start[at] = 0x30 &+ UInt8(truncatingIfNeeded: rest % 10)
            rest /= 10
        } while rest > 0
    }

    /// Calls with what has been gathered, which may be changed in place.
    package mutating func withBytes<Value>(_ body: (UnsafeMutableRawBufferPointer) -> Value) -> Value {
        body(UnsafeMutableRawBufferPointer(start: self.start, count: self.used))
    }

    package var bytes: [UInt8] {
        Array(UnsafeBufferPointer(start: self.start, count: self.used))
    }
}

extension String {
    /// Calls with the text's bytes in UTF-8: in place, where that is possible. What copies them stands elsewhere, because
    /// the text would be held for it, and counted, in either case.
    @inline(__always)
    func withBytes(_ body: (UnsafeRawBufferPointer) -> Void) {
        let isDone: Void? = self.utf8.withContiguousStorageIfAvailable { body(UnsafeRawBufferPointer($0)) }
        if isDone == nil { self.withCopiedBytes(body) }
    }

    @inline(never)
    private func withCopiedBytes(_ body: (UnsafeRawBufferPointer) -> Void) {
        Array(self.utf8).withUnsafeBytes(body)
    }
}
