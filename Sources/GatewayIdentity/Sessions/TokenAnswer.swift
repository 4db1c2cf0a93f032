// SPDX-License-Identifier: Apache-2.0

package import GatewayCore

/// What the token endpoint gives a client (RFC 6749 §5.1).
package struct TokenAnswer: Sendable {
    package let accessToken: String
    package let refreshToken: String?
    /// The bearer's `exp`, in seconds since the epoch.
    package let expiresAt: Int64

    package init(accessToken: String, refreshToken: String?, expiresAt: Int64) {
        self.accessToken = accessToken
        self.refreshToken = refreshToken
        self.expiresAt = expiresAt
    }

    /// The body. `expires_in` is what is left, rounded down.
    package func body(now: Timestamp) -> JSONValue {
        var object: JSONObject = ["access_token": .string(self.accessToken)]
        object["refresh_token"] = self.refreshToken.map(JSONValue.string)
        object["token_type"] = "Bearer"
        object["expires_in"] = .integer(max(0, self.expiresAt - now.seconds))
        return .object(object)
    }

    package var json: JSONValue {
        var object: JSONObject = ["access": .string(self.accessToken), "until": .integer(self.expiresAt)]
        object["refresh"] = self.refreshToken.map(JSONValue.string)
        return .object(object)
    }

    package init?(_ json: JSONValue) {
        guard let access = json["access"]?.string, let until = json["until"]?.integer else { return nil }
        self.init(accessToken: access, refreshToken: json["refresh"]?.string, expiresAt: Int64(until))
    }
}
