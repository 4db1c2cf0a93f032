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
        var (high, low) = RandomNumbers.pair()
        high = (high & 0xFFFF_FFFF_FFFF_0FFF) | 0x4000
        low = (low & 0x3FFF_FFFF_FFFF_FFFF) | 0x8000_0000_0000_0000
        return UUIDText.make(high, low)
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
