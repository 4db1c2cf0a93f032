// SPDX-License-Identifier: Apache-2.0

internal import Crypto
internal import Foundation
package import GatewayCore

/// The gateway's own bearer: a JWT (RFC 7519) signed with HMAC-SHA-256.
///
/// Header `{"alg":"HS256","typ":"JWT","kid":…}`, where `kid` is the first 16 hexadecimal digits of the secret's SHA-256;
/// claims `sub, email?, name?, groups?, billing_group_tag?, aud, iat, exp, iss, sid?`, in that order; `sid` is the session.
package struct SessionTokens: Sendable {
    package static let audience = "claude-gateway"

    private struct Key: Sendable {
        let id: String
        let key: SymmetricKey
    }

    private let keys: [Key]
    private let issuer: String
    package let lifetimeHours: Double

    /// Told to clients, which then tag their requests with the group that these are for.
    private let billingGroupTag: String?

    package init(settings: SessionSettings, issuer: String, billingGroupTag: String? = nil) {
        self.billingGroupTag = billingGroupTag
        self.keys = settings.secrets.map { secret in
            let bytes = Array(secret.reveal().utf8)
            return Key(id: Self.keyID(bytes), key: SymmetricKey(data: bytes))
        }
        self.issuer = issuer
        self.lifetimeHours = settings.lifetimeHours
    }

    static func keyID(_ secret: [UInt8]) -> String {
        Hexadecimal.encode(SHA256.hash(data: secret).prefix(8))
    }

    /// How long a new token lives, in whole seconds.
    package var lifetimeSeconds: Int64 {
        Int64((self.lifetimeHours * 3600).rounded(.up))
    }

    package func mint(for principal: Principal, session: String? = nil, now: Timestamp) -> String {
        var claims: JSONObject = ["sub": .string(principal.subject)]
        claims["email"] = principal.email.map(JSONValue.string)
        claims["name"] = principal.name.map(JSONValue.string)
        claims["groups"] = principal.groups.map { .array($0.map(JSONValue.string)) }
        claims["billing_group_tag"] = self.billingGroupTag.map(JSONValue.string)
        claims["aud"] = .string(Self.audience)
        claims["iat"] = .integer(now.seconds)
        claims["exp"] = .integer(now.seconds + self.lifetimeSeconds)
        claims["iss"] = .string(self.issuer)
        claims["sid"] = session.map(JSONValue.string)
        let header: JSONValue = ["alg": "HS256", "typ": "JWT", "kid": .string(self.keys[0].id)]
        let signed = Base64URL.encode(header.bytes()) + "." + Base64URL.encode(JSONValue.object(claims).bytes())
        let code = HMAC<SHA256>.authenticationCode(for: Data(signed.utf8), using: self.keys[0].key)
        return signed + "." + Base64URL.encode(code)
    }

    /// What a good token says.
    package struct Verified: Sendable {
        package let principal: Principal
        package let expiresAt: Int64
        /// In seconds; 0 when the token does not say.
        package let issuedAt: Int64
        package let sessionID: String?
    }

    /// The token's principal and expiry, if it is ours and valid at `now`: right algorithm, known key, right signature,
    /// audience and issuer, an `exp` in the future, an `nbf` not in the future, and a `sub` that names someone.
    package func verify(_ token: String, now: Timestamp) -> Verified? {
        let parts = token.split(separator: ".", omittingEmptySubsequences: false)
        guard parts.count == 3, let header = Self.json(parts[0]), header["alg"]?.string == "HS256",
            let signature = Base64URL.decode(parts[2])
        else { return nil }
        let key: Key
        switch header["kid"] {
        case .string(let id)?:
            guard let known = self.keys.first(where: { $0.id == id }) else { return nil }
            key = known
        case nil: key = self.keys[0]
        default: return nil
        }
        let signed = Data(token.utf8.prefix(parts[0].utf8.count + 1 + parts[1].utf8.count))
        guard HMAC<SHA256>.isValidAuthenticationCode(Data(signature), authenticating: signed, using: key.key) else {
            return nil
        }
        guard let claims = Self.json(parts[1]), self.isAudience(claims["aud"]), claims["iss"]?.string == self.issuer,
            let expiry = claims["exp"]?.number, expiry > Double(now.milliseconds) / 1000, expiry < 1e15,
            let subject = claims["sub"]?.string, !subject.isEmpty
        else { return nil }
        if let notBefore = claims["nbf"] {
            guard let time = notBefore.number, time <= Double(now.milliseconds) / 1000 else { return nil }
        }
        let groups = claims["groups"]?.array?.compactMap(\.string)
        let principal = Principal(
            subject: subject, email: claims["email"]?.string, name: claims["name"]?.string, groups: groups)
        let issuedAt = claims["iat"]?.number.flatMap { Int64(exactly: $0.rounded(.down)) } ?? 0
        return Verified(
            principal: principal, expiresAt: Int64(expiry), issuedAt: issuedAt, sessionID: claims["sid"]?.string)
    }

    private func isAudience(_ value: JSONValue?) -> Bool {
        switch value {
        case .string(let one)?: one == Self.audience
        case .array(let many)?: many.contains(.string(Self.audience))
        default: false
        }
    }

    private static func json(_ part: Substring) -> JSONValue? {
        Base64URL.decode(part).flatMap { try? JSONValue(parsing: $0, maximumDepth: 16) }
    }
}
