// SPDX-License-Identifier: Apache-2.0

/// UUIDs of version 7 (RFC 9562 §5.7): later ones sort behind earlier ones, so that a table keyed by them grows at its
/// end.
package enum TimeOrderedID {
    package static func make(now: Timestamp = .now) -> String {
        let random = RandomNumbers.pair()
        let time = UInt64(max(0, now.milliseconds))
        let high = time << 16 | 0x7000 | random.0 & 0x0FFF
        let low = random.1 & 0x3FFF_FFFF_FFFF_FFFF | 0x8000_0000_0000_0000
        return UUIDText.make(high, low)
    }
}

/// The 36 characters of a UUID (RFC 9562 §4).
enum UUIDText {
    static func make(_ high: UInt64, _ low: UInt64) -> String {
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
}
