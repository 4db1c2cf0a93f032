// SPDX-License-Identifier: Apache-2.0

internal import Crypto
internal import CryptoExtras
internal import Foundation
package import GatewayCore
internal import JWTKit

/// An identity provider's public keys (RFC 7517) for one signature algorithm. Keys that do not fit it are ignored.
package struct SigningKeys: Sendable {
    private struct Entry: Sendable {
        let id: String?
        let keys: JWTKeyCollection
    }

    private let entries: [Entry]
    private let algorithm: String

    package init(_ document: JSONValue, algorithm: String) async {
        var entries: [Entry] = []
        for key in document["keys"]?.array ?? [] {
            let use = key["use"] ?? "sig"
            let keyAlgorithm = key["alg"] ?? .string(algorithm)
            let operations = key["key_ops"] ?? ["verify"]
            guard use == "sig", keyAlgorithm == .string(algorithm), operations.array?.contains("verify") == true,
                let keys = await Self.collection(key, algorithm)
            else {
                continue
            }
            entries.append(Entry(id: key["kid"]?.string, keys: keys))
        }
        self.entries = entries
        self.algorithm = algorithm
    }

    package enum Lookup: Error {
        /// No key of that id: it may be newer than what is cached.
        case unknownKey(String)
        /// Not signed by the key it names, or by any if it names none. The provider may have replaced them.
        case notSigned
    }

    /// Verifies a compact JWS (RFC 7515) and returns its payload.
    package func verify(_ token: String) async throws -> JSONObject {
        let parts = token.split(separator: ".", omittingEmptySubsequences: false)
        guard parts.count == 3, token.utf8.count < 1 << 20 else {
            throw SignInFailure.rejected("the id_token is not a signed JWT of three parts")
        }
        guard let header = Self.json(parts[0]), case .object(let claims)? = Self.json(parts[1]) else {
            throw SignInFailure.rejected("the id_token's header or payload is not JSON")
        }
        let algorithm = header["alg"]?.string ?? "none"
        guard algorithm == self.algorithm else {
            let shown = algorithm.printableASCII(limit: 40)
            throw SignInFailure.rejected("unexpected alg in the id_token, expected \(self.algorithm), got \(shown)")
        }
        guard header["crit"] == nil else {
            throw SignInFailure.rejected("the id_token's header has critical extensions that are not understood")
        }
        let known = header["kid"]?.string.map { id in self.entries.filter { $0.id == id } } ?? []
        guard !known.isEmpty else {
            // A provider may publish keys without ids, or sign without naming one.
            let candidates = header["kid"] == nil ? self.entries : self.entries.filter { $0.id == nil }
            for entry in candidates where await Self.hasSigned(entry, token) { return claims }
            throw header["kid"]?.string.map { Lookup.unknownKey($0.printableASCII(limit: 80)) } ?? Lookup.notSigned
        }
        // Some providers give several keys one id.
        for entry in known where await Self.hasSigned(entry, token) { return claims }
        throw Lookup.notSigned
    }

    private static func hasSigned(_ entry: Entry, _ token: String) async -> Bool {
        (try? await entry.keys.verify(token, as: SignedOnly.self, iteratingKeys: true)) != nil
    }

    /// The claims are read and judged elsewhere; the library proves the signature.
    private struct SignedOnly: JWTPayload {
        func verify(using algorithm: some JWTAlgorithm) async throws {}
    }

    /// The header's `kid` would select the key; one collection for each key keeps that choice here.
    private static func collection(_ key: JSONValue, _ algorithm: String) async -> JWTKeyCollection? {
        let keys = JWTKeyCollection()
        let id = key["kid"]?.string.map { JWKIdentifier(string: $0) }
        do {
            switch (key["kty"]?.string, algorithm.prefix(2)) {
            case ("RSA", "RS"):
                await keys.add(rsa: try self.rsa(key), digestAlgorithm: try self.digest(algorithm), kid: id)
            case ("RSA", "PS"):
                await keys.add(pss: try self.rsa(key), digestAlgorithm: try self.digest(algorithm), kid: id)
            case ("EC", "ES"):
                let point = (x: key["x"]?.string ?? "", y: key["y"]?.string ?? "")
                switch (algorithm, key["crv"]?.string) {
                case ("ES256", "P-256"): await keys.add(ecdsa: try ES256PublicKey(parameters: point), kid: id)
                case ("ES384", "P-384"): await keys.add(ecdsa: try ES384PublicKey(parameters: point), kid: id)
                case ("ES512", "P-521"): await keys.add(ecdsa: try ES512PublicKey(parameters: point), kid: id)
                default: return nil
                }
            case ("OKP", "Ed"):
                guard key["crv"]?.string == "Ed25519" else { return nil }
                await keys.add(eddsa: try EdDSA.PublicKey(x: key["x"]?.string ?? "", curve: .ed25519), kid: id)
            default: return nil
            }
        } catch {
            return nil
        }
        return keys
    }

    private static func rsa(_ key: JSONValue) throws -> JWTKit.Insecure.RSA.PublicKey {
        guard let n = key["n"]?.string.flatMap({ Base64URL.decode($0) }),
            let e = key["e"]?.string.flatMap({ Base64URL.decode($0) })
        else { throw SignInFailure.rejected("a key without modulus or exponent") }
        return try JWTKit.Insecure.RSA.PublicKey(backing: _RSA.Signing.PublicKey(n: Data(n), e: Data(e)))
    }

    private static func digest(_ algorithm: String) throws -> DigestAlgorithm {
        switch algorithm.suffix(3) {
        case "256": .sha256
        case "384": .sha384
        case "512": .sha512
        default: throw SignInFailure.rejected("an unknown digest")
        }
    }

    private static func json(_ part: Substring) -> JSONValue? {
        Base64URL.decode(part).flatMap { try? JSONValue(parsing: $0, maximumDepth: 64) }
    }
}
