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
            /// The eight digits of 32 bits, the first of them in the lowest byte.
            func digits(_ value: UInt64) -> UInt64 {
                var spread = value
                spread = (spread << 16 | spread) & 0x0000_FFFF_0000_FFFF
                spread = (spread << 8 | spread) & 0x00FF_00FF_00FF_00FF
                spread = (spread << 4 | spread) & 0x0F0F_0F0F_0F0F_0F0F
                let isLetter = (spread &+ 0x0606_0606_0606_0606) >> 4 & 0x0101_0101_0101_0101
                return (spread &+ 0x3030_3030_3030_3030 &+ isLetter &* 0x27).byteSwapped
            }
            let bytes = UnsafeMutableRawPointer(buffer.baseAddress!)
            let middle = (digits(high & 0xFFFF_FFFF), digits(low >> 32))
            bytes.storeBytes(of: digits(high >> 32), toByteOffset: 0, as: UInt64.self)
            bytes.storeBytes(of: UInt32(truncatingIfNeeded: middle.0), toByteOffset: 9, as: UInt32.self)
            bytes.storeBytes(of: UInt32(truncatingIfNeeded: middle.0 >> 32), toByteOffset: 14, as: UInt32.self)
            bytes.storeBytes(of: UInt32(truncatingIfNeeded: middle.1), toByteOffset: 19, as: UInt32.self)
            bytes.storeBytes(of: UInt32(truncatingIfNeeded: middle.1 >> 32), toByteOffset: 24, as: UInt32.self)
            bytes.storeBytes(of: digits(low & 0xFFFF_FFFF), toByteOffset: 28, as: UInt64.self)
            (buffer[8], buffer[13], buffer[18], buffer[23]) = (0x2D, 0x2D, 0x2D, 0x2D)
            return 36
        }
    }
}
