// SPDX-License-Identifier: Apache-2.0

/// UUIDs of version 7 (RFC 9562 §5.7): later ones sort behind earlier ones, so that a table keyed by them grows at its
/// end.
package enum TimeOrderedID {
    package static func make(now: Timestamp = .now) -> String {
        var bytes = RandomToken.bytes(16)
        let time = UInt64(max(0, now.milliseconds))
        for index in 0..<6 { bytes[index] = UInt8(truncatingIfNeeded: time >> UInt64(40 - index * 8)) }
        bytes[6] = 0x70 | bytes[6] & 0x0F
        bytes[8] = 0x80 | bytes[8] & 0x3F
        let text = Hexadecimal.encode(bytes)
        var parts: [Substring] = []
        var rest = text[...]
        for length in [8, 4, 4, 4, 12] {
            parts.append(rest.prefix(length))
            rest = rest.dropFirst(length)
        }
        return parts.joined(separator: "-")
    }
}
