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

    /// Whether strings are equal byte for byte. Swift takes some for equal that are not.
    package static func areEqual(_ one: String, _ other: String) -> Bool {
        let areEqual = one.utf8.withContiguousStorageIfAvailable { one in
            other.utf8.withContiguousStorageIfAvailable { other in
                self.areEqual(UnsafeRawBufferPointer(one), UnsafeRawBufferPointer(other))
            }
        }
        return areEqual.flatMap(\.self) ?? one.utf8.elementsEqual(other.utf8)
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

    package func starts(with other: UnsafeRawBufferPointer) -> Bool {
        guard let own = self.baseAddress, let start = other.baseAddress else { return other.isEmpty }
        return self.count >= other.count && memcmp(own, start, other.count) == 0
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
        let count = word.utf8CodeUnitCount
        guard self.count >= count, let own = self.baseAddress else { return count == 0 }
        let other = UnsafeRawPointer(word.utf8Start)
        guard count >= 8 else {
            for index in 0..<count where self[index] | 0x20 != other.load(fromByteOffset: index, as: UInt8.self) {
                return false
            }
            return true
        }
        // Eight at a time; the last ones overlap those before them.
        @inline(__always) func differs(_ at: Int) -> Bool {
            own.loadUnaligned(fromByteOffset: at, as: UInt64.self) | 0x2020_2020_2020_2020
                != other.loadUnaligned(fromByteOffset: at, as: UInt64.self)
        }
        for at in stride(from: 0, to: count - 8, by: 8) where differs(at) { return false }
        return !differs(count - 8)
    }
}
