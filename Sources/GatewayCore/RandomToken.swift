// SPDX-License-Identifier: Apache-2.0

#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Musl)
    internal import Musl
#else
    internal import Darwin
#endif

/// Unguessable values from the system's generator.
package enum RandomToken {
    /// As many bytes as the kernel gives in one call.
    static let atOnce = 256

    /// 256 random bits as 43 base64url characters.
    package static func make() -> String {
        Base64URL.encode(bytes(32))
    }

    package static func bytes(_ count: Int) -> [UInt8] {
        [UInt8](unsafeUninitializedCapacity: count) { buffer, filled in
            while filled < count {
                let piece = min(self.atOnce, count - filled)
                guard getentropy(buffer.baseAddress! + filled, piece) == 0 else {
                    fatalError("the system has no random numbers")
                }
                filled += piece
            }
        }
    }
}
