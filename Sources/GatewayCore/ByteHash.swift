// SPDX-License-Identifier: Apache-2.0

/// A number for strings that is made in a few instructions a word, for tables that compare what they find. It is the same
/// in every process, and those who want to can find strings whose numbers are equal: no table may become slow by that.
package struct ByteHash {
    package private(set) var value: UInt64
    /// The golden ratio's first bits: an odd number whose multiples spread well.
    private static let factor: UInt64 = 0x9E37_79B9_7F4A_7C15

    package init(seed: UInt64) {
        self.value = seed &* Self.factor
    }

    package mutating func add(_ text: String) {
        var text = text
        text.withUTF8 { self.add(UnsafeRawBufferPointer($0)) }
    }

    package mutating func add(_ bytes: UnsafeRawBufferPointer) {
        var at = 0
        while bytes.count - at >= 8 {
            self.mix(bytes.loadUnaligned(fromByteOffset: at, as: UInt64.self))
            at += 8
        }
        var rest = UInt64(truncatingIfNeeded: bytes.count)
        while at < bytes.count {
            rest = rest << 8 | UInt64(bytes[at])
            at += 1
        }
        // With the length, texts behind each other are told from the same bytes cut elsewhere.
        self.mix(rest)
    }

    private mutating func mix(_ word: UInt64) {
        let mixed = (self.value ^ word) &* Self.factor
        self.value = mixed ^ mixed >> 32
    }
}
