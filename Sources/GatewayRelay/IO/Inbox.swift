// SPDX-License-Identifier: Apache-2.0

internal import NIOCore

/// Bytes that have come on a connection and were not read yet.
///
/// Where there are none there is no buffer: NIO's empty one is one object for all threads, and each copy of it takes it from
/// another processor's cache.
struct Inbox {
    private var bytes: ByteBuffer?

    var count: Int { self.bytes?.readableBytes ?? 0 }

    mutating func add(_ more: ByteBuffer) {
        if self.count == 0 { self.bytes = more } else { self.bytes?.writeImmutableBuffer(more) }
    }

    /// Has the bytes read from; there may be none.
    @inline(__always)
    mutating func read<Result, Failure: Error>(
        _ next: (inout ByteBuffer) throws(Failure) -> Result,
    ) throws(Failure) -> Result {
        if self.bytes != nil { return try next(&self.bytes!) }
        var none = ByteBuffer()
        return try next(&none)
    }

    /// What is left waits in no more memory than it needs.
    mutating func compact() {
        self.bytes = self.count == 0 ? nil : self.bytes?.compacted()
    }

    mutating func clear() {
        self.bytes = nil
    }
}
