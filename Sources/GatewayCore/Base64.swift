// SPDX-License-Identifier: Apache-2.0

internal import CByteScan

/// Base64 with the standard alphabet and padding (RFC 4648 §4).
package enum Base64 {
    package static func encode(_ bytes: [UInt8]) -> String {
        let plain = Base64URL.encode(bytes).map { character -> Character in
            switch character {
            case "-": "+"
            case "_": "/"
            default: character
            }
        }
        return String(plain) + String(repeating: "=", count: (4 - plain.count % 4) % 4)
    }

    /// The bytes, or `nil` when a character is outside the alphabet or the length is impossible.
    package static func decode(_ text: String) -> [UInt8]? {
        var text = text
        return text.withUTF8 { text in
            var isValid = true
            let bytes = [UInt8](unsafeUninitializedCapacity: text.count / 4 * 3 + 3) { out, count in
                let decoded = self.decode(UnsafeRawBufferPointer(text), into: UnsafeMutableRawBufferPointer(out))
                isValid = decoded != nil
                count = decoded ?? 0
            }
            return isValid ? bytes : nil
        }
    }

    /// What two ASCII characters stand for, at `second << 7 | first`; the top bit is set where one is outside the alphabet.
    private static let pairs: [UInt16] = {
        let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)
        var pairs = [UInt16](repeating: .max, count: 1 << 14)
        for (high, first) in alphabet.enumerated() {
            for (low, second) in alphabet.enumerated() {
                pairs[Int(second) << 7 | Int(first)] = UInt16(high << 6 | low)
            }
        }
        return pairs
    }()

    /// - Parameter out: Where the bytes go: three for every four characters, and three more.
    /// - Returns: How many bytes there are; `nil` when a character is outside the alphabet or the length is impossible.
    package static func decode(_ text: UnsafeRawBufferPointer, into out: UnsafeMutableRawBufferPointer) -> Int? {
        self.decode(text, into: out, begin: cbase64_decode)
    }

    /// - Parameter begin: Decodes as much of the begin as it can, by four characters, and says how many.
    @inline(__always)
    static func decode(
        _ text: UnsafeRawBufferPointer, into out: UnsafeMutableRawBufferPointer,
        begin: (UnsafePointer<UInt8>, Int, UnsafeMutablePointer<UInt8>) -> Int,
    ) -> Int? {
        var end = text.count
        while end > 0, end > text.count - 2, text[end - 1] == 0x3D { end -= 1 }
        guard end % 4 != 1 else { return nil }
        precondition(out.count >= end / 4 * 3 + 3)
        guard end > 0, let from = text.baseAddress?.assumingMemoryBound(to: UInt8.self),
            let to = out.baseAddress?.assumingMemoryBound(to: UInt8.self)
        else { return 0 }
        return self.pairs.withUnsafeBufferPointer { pairs in
            let pairs = pairs.baseAddress!
            /// - Parameter two: The characters' bytes as a little-endian number, and more above them.
            func pair(_ two: UInt32) -> UInt16 { pairs[Int(two & 0x7F | two >> 1 & 0x3F80)] }
            var at = begin(from, end, to)
            var count = at / 4 * 3
            var problem: UInt16 = 0
            var beyondASCII: UInt32 = 0
            while at + 4 <= end {
                let four = UInt32(littleEndian: text.loadUnaligned(fromByteOffset: at, as: UInt32.self))
                let (high, low) = (pair(four), pair(four >> 16))
                problem |= high | low
                beyondASCII |= four
                let three = UInt32(high) << 12 | UInt32(low)
                to[count] = UInt8(truncatingIfNeeded: three >> 16)
                to[count + 1] = UInt8(truncatingIfNeeded: three >> 8)
                to[count + 2] = UInt8(truncatingIfNeeded: three)
                at += 4
                count += 3
            }
            if at < end {
                // "A" stands for zero.
                let third = end - at == 3 ? from[at + 2] : 0x41
                let rest = UInt32(from[at]) | UInt32(from[at + 1]) << 8 | UInt32(third) << 16 | 0x41 << 24
                let (high, low) = (pair(rest), pair(rest >> 16))
                problem |= high | low
                beyondASCII |= rest
                to[count] = UInt8(truncatingIfNeeded: high >> 4)
                count += 1
                if end - at == 3 {
                    to[count] = UInt8(truncatingIfNeeded: high << 4 | low >> 8)
                    count += 1
                }
            }
            return problem & 0x8000 == 0 && beyondASCII & 0x8080_8080 == 0 ? count : nil
        }
    }
}
