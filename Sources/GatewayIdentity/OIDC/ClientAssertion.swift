// SPDX-License-Identifier: Apache-2.0

internal import Crypto
internal import CryptoExtras
internal import Foundation
package import GatewayCore
internal import SwiftASN1
internal import X509

/// Client authentication with a certificate instead of a secret: `private_key_jwt` (RFC 7523 §2.2, OpenID Connect Core
/// 1.0 §9). The certificate is named by its thumbprints (RFC 7515 §4.1.7 and §4.1.8), as Microsoft Entra asks.
package struct ClientAssertion: Sendable {
    package enum Problem: Error {
        case unreadableKey
        case encryptedKey
        case notRSA
        case shortKey(bits: Int)
        case unreadableCertificate
        case mismatch

        package var isAboutKey: Bool {
            switch self {
            case .unreadableKey, .encryptedKey, .notRSA, .shortKey: true
            case .unreadableCertificate, .mismatch: false
            }
        }

        package var sentence: String {
            switch self {
            case .unreadableKey:
                "is not a PEM private key; write one that begins with -----BEGIN PRIVATE KEY----- or -----BEGIN RSA PRIVATE KEY-----."
            case .encryptedKey: "is encrypted; write the key without a passphrase (openssl pkey -in key -out plain)."
            case .notRSA: "is not an RSA key; the identity provider's assertion is signed with RS256."
            case .shortKey(let bits): "has \(bits) bits; use a key of at least 2048."
            case .unreadableCertificate:
                "is not a PEM certificate; write the one that the identity provider knows, -----BEGIN CERTIFICATE-----."
            case .mismatch: "does not belong to private_key_pem; write the certificate of that very key."
            }
        }
    }

    private static let lifetimeSeconds = 300
    private static let warningDays = 30.0

    private let key: _RSA.Signing.PrivateKey
    private let thumbprint: String
    private let thumbprint256: String
    private let validity: ClosedRange<Date>
    /// Common name and SHA-1 thumbprint, as the identity provider's console shows them.
    package let summary: String

    package init(privateKeyPEM: Secret, certificatePEM: String) throws(Problem) {
        let text = privateKeyPEM.reveal()
        if text.contains("ENCRYPTED") { throw .encryptedKey }
        guard text.contains("-----BEGIN PRIVATE KEY-----") || text.contains("-----BEGIN RSA PRIVATE KEY-----") else {
            throw text.contains("PRIVATE KEY-----") ? .notRSA : .unreadableKey
        }
        if let key = try? _RSA.Signing.PrivateKey(pemRepresentation: text) {
            self.key = key
        } else if let small = try? _RSA.Signing.PrivateKey(unsafePEMRepresentation: text) {
            throw .shortKey(bits: small.keySizeInBits)
        } else {
            throw (try? Certificate.PrivateKey(pemEncoded: text)) == nil ? .unreadableKey : .notRSA
        }
        guard self.key.keySizeInBits >= 2048 else { throw .shortKey(bits: self.key.keySizeInBits) }
        guard let certificate = try? Certificate(pemEncoded: certificatePEM),
            let der = PEMCertificates.first(in: certificatePEM)
        else { throw .unreadableCertificate }
        guard certificate.publicKey == Certificate.PublicKey(self.key.publicKey) else { throw .mismatch }
        self.validity =
            certificate.notValidBefore...max(certificate.notValidBefore, certificate.notValidAfter)
        let sha1 = Insecure.SHA1.hash(data: der)
        self.thumbprint = Base64URL.encode(sha1)
        self.thumbprint256 = Base64URL.encode(SHA256.hash(data: der))
        self.summary =
            "\(certificate.subject.description.singleLine), SHA-1 thumbprint \(Hexadecimal.encode(sha1).uppercased())"
    }

    /// What an operator should know about the certificate's validity.
    package func validityWarning(now: Timestamp) -> String? {
        let date = Date(timeIntervalSince1970: Double(now.milliseconds) / 1000)
        guard self.validity.contains(date) else {
            return "is not valid now (\(self.summary)); the identity provider will refuse it. Renew it."
        }
        let days = self.validity.upperBound.timeIntervalSince(date) / 86_400
        return days > Self.warningDays
            ? nil : "expires in \(Int(days)) days (\(self.summary)); renew it before that, or sign-ins stop."
    }

    /// The assertion for one request.
    package func token(clientID: String, audience: String, now: Timestamp) throws -> String {
        let header: JSONValue = [
            "alg": "RS256", "typ": "JWT", "x5t": .string(self.thumbprint), "x5t#S256": .string(self.thumbprint256),
        ]
        let claims: JSONValue = [
            "iss": .string(clientID), "sub": .string(clientID), "aud": .string(audience),
            "jti": .string(UUID().uuidString.lowercased()), "iat": .integer(now.seconds), "nbf": .integer(now.seconds),
            "exp": .integer(now.seconds + Int64(Self.lifetimeSeconds)),
        ]
        return try SignedToken.make(header: header, claims: claims, key: self.key)
    }
}

/// A compact JWS with RS256 (RFC 7515 §7.1), for assertions that the gateway signs with somebody's RSA key.
enum SignedToken {
    static func make(header: JSONValue, claims: JSONValue, key: _RSA.Signing.PrivateKey) throws -> String {
        let input = Base64URL.encode(header.bytes()) + "." + Base64URL.encode(claims.bytes())
        let signature = try key.signature(
            for: SHA256.hash(data: Data(input.utf8)), padding: .insecurePKCS1v1_5)
        return input + "." + Base64URL.encode(signature.rawRepresentation)
    }
}

/// Certificates in PEM that this module's libraries can read.
enum PEMCertificates {
    /// Whether the text holds at least one certificate, and nothing broken.
    static func isUsable(_ text: String) -> Bool {
        PEM.certificates(in: text)?.allSatisfy { (try? Certificate(pemEncoded: $0)) != nil } ?? false
    }

    /// The DER bytes of the first one.
    static func first(in text: String) -> Data? {
        PEM.certificates(in: text)?.first.flatMap(PEM.bytes).map { Data($0) }
    }
}
