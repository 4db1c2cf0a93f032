// SPDX-License-Identifier: Apache-2.0

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

    /// What a character stands for; 0xFF for one outside the alphabet.
    private static let values: [UInt8] = {
        var values = [UInt8](repeating: 0xFF, count: 256)
        for (value, character) in "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8.enumerated() {
            values[Int(character)] = UInt8(value)
        }
        return values
    }()

    /// - Parameter out: Where the bytes go: three for every four characters, and three more.
    /// - Returns: How many bytes there are; `nil` when a character is outside the alphabet or the length is impossible.
    package static func decode(_ text: UnsafeRawBufferPointer, into out: UnsafeMutableRawBufferPointer) -> Int? {
        var end = text.count
        while end > 0, end > text.count - 2, text[end - 1] == 0x3D { end -= 1 }
        guard end % 4 != 1 else { return nil }
        precondition(out.count >= end / 4 * 3 + 3)
        guard end > 0, let from = text.baseAddress?.assumingMemoryBound(to: UInt8.self),
            let to = out.baseAddress?.assumingMemoryBound(to: UInt8.self)
        else { return 0 }
        return self.values.withUnsafeBufferPointer { values in
            let values = values.baseAddress!
            var (at, count) = (0, 0)
            // A value outside the alphabet has its top bit set, and so has a sum of such.
            var problem: UInt8 = 0
            while at + 4 <= end {
                let (a, b) = (values[Int(from[at])], values[Int(from[at + 1])])
                let (c, d) = (values[Int(from[at + 2])], values[Int(from[at + 3])])
                problem |= a | b | c | d
                to[count] = a << 2 | b >> 4
                to[count + 1] = b << 4 | c >> 2
                to[count + 2] = c << 6 | d
                at += 4
                count += 3
            }
            if end - at >= 2 {
                let (a, b) = (values[Int(from[at])], values[Int(from[at + 1])])
                problem |= a | b
                to[count] = a << 2 | b >> 4
                count += 1
                if end - at == 3 {
                    let c = values[Int(from[at + 2])]
                    problem |= c
                    to[count] = b << 4 | c >> 2
                    count += 1
                }
            }
            return problem & 0x80 == 0 ? count : nil
        }
    }
}
