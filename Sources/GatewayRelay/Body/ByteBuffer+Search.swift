// SPDX-License-Identifier: Apache-2.0

internal import NIOCore

#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Musl)
    internal import Musl
#else
    internal import Darwin
#endif

extension ByteBuffer {
    /// Whether the readable bytes hold that text.
    func contains(_ text: String) -> Bool {
        var text = text
        return self.withUnsafeReadableBytes { bytes in
            text.withUTF8 { needle in
                guard let end = bytes.baseAddress?.advanced(by: bytes.count), let first = needle.first else {
                    return false
                }
                var place = bytes.baseAddress
                while let start = place, end - start >= needle.count,
                    let found = memchr(start, Int32(first), end - start - needle.count + 1)
                {
                    if memcmp(found, needle.baseAddress!, needle.count) == 0 { return true }
                    place = UnsafeRawPointer(found + 1)
                }
                return false
            }
        }
    }
}

extension ByteBuffer {
    /// The same bytes for keeping: in memory of their own size, if they hold much more.
    func compacted() -> ByteBuffer {
        if self.readableBytes == 0 { return ByteBuffer() }
        if self.storageCapacity <= 2 * self.readableBytes + 1024 { return self }
        var copy = ByteBufferAllocator().buffer(capacity: self.readableBytes)
        copy.writeImmutableBuffer(self)
        return copy
    }
}
