// SPDX-License-Identifier: Apache-2.0

internal import Crypto

/// SHA-256 in lower-case hexadecimal: names values without holding them, and tells whether they have changed.
package enum Digest {
    package static func hexadecimal(_ text: String) -> String {
        self.hexadecimal(Array(text.utf8))
    }

    package static func hexadecimal(_ bytes: [UInt8]) -> String {
        Hexadecimal.encode(SHA256.hash(data: bytes))
    }
}
