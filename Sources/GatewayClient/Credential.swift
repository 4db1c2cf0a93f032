// SPDX-License-Identifier: Apache-2.0

package import GatewayCore

/// What a signed-in machine keeps.
package struct Credential: Sendable, Equatable {
    package var url: String
    package var accessToken: Secret
    package var expiresAt: Timestamp
    package var refreshToken: Secret?
    package var tokenEndpoint: String
    package var revocationEndpoint: String?
    /// SHA-256 of the gateway's leaf certificate, in hexadecimal; `nil` over plain HTTP.
    package var fingerprint: String?

    package init(
        url: String, accessToken: Secret, expiresAt: Timestamp, refreshToken: Secret?, tokenEndpoint: String,
        revocationEndpoint: String?, fingerprint: String?,
    ) {
        self.url = url
        self.accessToken = accessToken
        self.expiresAt = expiresAt
        self.refreshToken = refreshToken
        self.tokenEndpoint = tokenEndpoint
        self.revocationEndpoint = revocationEndpoint
        self.fingerprint = fingerprint
    }

    /// The bearer's claims, unverified: only the gateway can vouch for them.
    package var claims: JSONObject {
        let parts = self.accessToken.reveal().split(separator: ".", omittingEmptySubsequences: false)
        guard parts.count == 3, let bytes = Base64URL.decode(parts[1]),
            case .object(let claims)? = try? JSONValue(parsing: bytes)
        else { return [:] }
        return claims
    }

    /// Who is signed in, as people call them.
    package var displayName: String {
        self.claims["email"]?.string ?? self.claims["sub"]?.string ?? "unknown"
    }

    var json: JSONValue {
        var object: JSONObject = [
            "version": 1, "url": .string(self.url), "access_token": .string(self.accessToken.reveal()),
            "expires_at": .integer(self.expiresAt.seconds), "token_endpoint": .string(self.tokenEndpoint),
        ]
        object["refresh_token"] = self.refreshToken.map { .string($0.reveal()) }
        object["revocation_endpoint"] = self.revocationEndpoint.map(JSONValue.string)
        object["fingerprint"] = self.fingerprint.map(JSONValue.string)
        return .object(object)
    }

    init?(_ json: JSONValue) {
        guard let url = json["url"]?.string, let access = json["access_token"]?.string,
            let expiry = json["expires_at"]?.integer, let endpoint = json["token_endpoint"]?.string
        else { return nil }
        self.init(
            url: url, accessToken: Secret(access), expiresAt: Timestamp(seconds: Int64(expiry)),
            refreshToken: json["refresh_token"]?.string.map(Secret.init), tokenEndpoint: endpoint,
            revocationEndpoint: json["revocation_endpoint"]?.string, fingerprint: json["fingerprint"]?.string)
    }
}
