// SPDX-License-Identifier: Apache-2.0

/// The id under which one exchange is found in answers, audit lines and logs.
///
/// A client may choose it with `x-client-request-id`: 1 to 64 letters, digits, `-`, `_` or `.`. Anything else is
/// ignored and a random UUID (RFC 9562, version 4) is made, so an id never carries markup or line breaks.
package struct RequestID: Sendable, Hashable, CustomStringConvertible {
    package let description: String

    package init(chosenByClient candidate: String?) {
        if let candidate, Self.isPlain(candidate) {
            self.description = candidate
        } else {
            self.description = Self.makeUUID()
        }
    }

    package init() {
        self.description = Self.makeUUID()
    }

    private static func makeUUID() -> String {
        var generator = SystemRandomNumberGenerator()
        var high = generator.next()
        var low = generator.next()
        high = (high & 0xFFFF_FFFF_FFFF_0FFF) | 0x4000
        low = (low & 0x3FFF_FFFF_FFFF_FFFF) | 0x8000_0000_0000_0000
        return String(unsafeUninitializedCapacity: 36) { buffer in
            var at = 0
            func put(_ value: UInt64, _ digits: Int, _ shift: Int) {
                for digit in 0..<digits {
                    let nibble = UInt8((value >> UInt64(shift - digit * 4)) & 0xF)
                    buffer[at] = nibble < 10 ? 0x30 + nibble : 0x57 + nibble
                    at += 1
                }
            }
            func hyphen() {
                buffer[at] = 0x2D
                at += 1
            }
            put(high, 8, 60)
            hyphen()
            put(high, 4, 28)
            hyphen()
            put(high, 4, 12)
            hyphen()
            put(low, 4, 60)
            hyphen()
            put(low, 12, 44)
            return at
        }
    }

    private static func isPlain(_ text: String) -> Bool {
        guard (1...64).contains(text.utf8.count) else { return false }
        return text.utf8.allSatisfy { byte in
            switch byte {
            case 0x30...0x39, 0x41...0x5A, 0x61...0x7A, 0x2D, 0x2E, 0x5F: true
            default: false
            }
        }
    }
}
