// SPDX-License-Identifier: Apache-2.0

/// Unguessable values from the system's generator.
package enum RandomToken {
    /// 256 random bits as 43 base64url characters.
    package static func make() -> String {
        Base64URL.encode(bytes(32))
    }

    package static func bytes(_ count: Int) -> [UInt8] {
        var generator = SystemRandomNumberGenerator()
        var bytes: [UInt8] = []
        bytes.reserveCapacity(count)
        while bytes.count < count {
            // One call of the kernel yields eight bytes.
            withUnsafeBytes(of: generator.next() as UInt64) { bytes.append(contentsOf: $0.prefix(count - bytes.count)) }
        }
        return bytes
    }
}
