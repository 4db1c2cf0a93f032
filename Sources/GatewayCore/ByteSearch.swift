// SPDX-License-Identifier: Apache-2.0

#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Musl)
    internal import Musl
#else
    internal import Darwin
#endif

/// Looks at bytes in memory, by the C library's vector instructions where it has some.
package enum ByteSearch {
    package static func areEqual(_ one: UnsafeRawBufferPointer, _ other: UnsafeRawBufferPointer) -> Bool {
        guard one.count == other.count, let left = one.baseAddress, let right = other.baseAddress else {
            return one.count == other.count
        }
        return memcmp(left, right, one.count) == 0
    }

    /// The first place of a byte at or behind `start`.
    package static func first(_ byte: UInt8, _ bytes: UnsafeRawBufferPointer, from start: Int) -> Int? {
        guard start < bytes.count, let base = bytes.baseAddress else { return nil }
        return memchr(base + start, Int32(byte), bytes.count - start).map { UnsafeRawPointer($0) - base }
    }
}

/// Texts that are compared byte by byte.
extension UnsafeRawBufferPointer {
    package func equals(_ text: StaticString) -> Bool {
        self.count == text.utf8CodeUnitCount && self.starts(with: text)
    }

    package func starts(with text: StaticString) -> Bool {
        self.count >= text.utf8CodeUnitCount && memcmp(self.baseAddress!, text.utf8Start, text.utf8CodeUnitCount) == 0
    }
}

/// Names and words of HTTP, whose case does not count.
extension UnsafeRawBufferPointer {
    /// Whether the bytes are that word. The word is in lower case and has letters, digits, hyphens and slashes.
    @inlinable
    package func matches(_ word: StaticString) -> Bool {
        self.count == word.utf8CodeUnitCount && self.begins(with: word)
    }

    /// Whether the bytes begin with that word, of the same kind.
    @inlinable
    package func begins(with word: StaticString) -> Bool {
        guard self.count >= word.utf8CodeUnitCount else { return false }
        let other = word.utf8Start
        for index in 0..<word.utf8CodeUnitCount where self[index] | 0x20 != other[index] { return false }
        return true
    }
}
