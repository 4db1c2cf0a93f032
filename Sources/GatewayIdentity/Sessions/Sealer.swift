// SPDX-License-Identifier: Apache-2.0

internal import Crypto
internal import Foundation
package import GatewayCore

/// Encrypts what leaves the process but must stay the gateway's own: AES-256-GCM under a key derived from the session
/// secret (HKDF-SHA-256, RFC 5869), one derived key for each purpose. Replicas with the same secret open each other's.
package struct Sealer: Sendable {
    /// What a sealed text is for. A text sealed for one purpose does not open for another.
    package enum Purpose: String, Sendable {
        case state = "authorization state"
        case refreshToken = "refresh token"
        case refreshAnswer = "refresh answer"
        case grant = "device grant"
    }

    private let secrets: [[UInt8]]

    package init(settings: SessionSettings) {
        self.secrets = settings.secrets.map { Array($0.reveal().utf8) }
    }

    private static func key(_ secret: [UInt8], _ purpose: Purpose) -> SymmetricKey {
        HKDF<SHA256>.deriveKey(
            inputKeyMaterial: SymmetricKey(data: secret), info: Data("claude-gateway \(purpose.rawValue)".utf8),
            outputByteCount: 32)
    }

    private static func keyID(_ secret: [UInt8]) -> [UInt8] {
        Array(SHA256.hash(data: Data("claude-gateway key id".utf8) + Data(secret)).prefix(4))
    }

    /// - Parameter place: Where the sealed text is kept, such as a row's key: it does not open anywhere else.
    package func seal(_ value: JSONValue, for purpose: Purpose, at place: String = "") -> String {
        let secret = self.secrets[0]
        let key = Self.key(secret, purpose)
        guard
            let box = try? AES.GCM.seal(
                Data(value.bytes()), using: key, authenticating: Data(place.utf8)), let combined = box.combined
        else {
            preconditionFailure("AES-GCM seals any text under a 256-bit key")
        }
        return Base64URL.encode(Self.keyID(secret) + Array(combined))
    }

    /// The sealed value; `nil` for anything that was not sealed here, for this purpose and place, under a known secret.
    package func open(_ text: String, for purpose: Purpose, at place: String = "") -> JSONValue? {
        guard text.utf8.count < 1 << 20, let bytes = Base64URL.decode(text), bytes.count > 32,
            let secret = self.secrets.first(where: { Self.keyID($0) == Array(bytes.prefix(4)) }),
            let box = try? AES.GCM.SealedBox(combined: Data(bytes.dropFirst(4))),
            let plain = try? AES.GCM.open(
                box, using: Self.key(secret, purpose), authenticating: Data(place.utf8))
        else { return nil }
        return try? JSONValue(parsing: plain)
    }
}
