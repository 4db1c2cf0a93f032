// SPDX-License-Identifier: Apache-2.0

/// Unguessable values from the system's generator.
package enum RandomToken {
    /// 256 random bits as 43 base64url characters.
    package static func make() -> String {
        Base64URL.encode(bytes(32))
    }

    package static func bytes(_ count: Int) -> [UInt8] {
        var generator = SystemRandomNumberGenerator()
        return (0..<count).map { _ in UInt8.random(in: .min ... .max, using: &generator) }
    }
}
