// SPDX-License-Identifier: Apache-2.0

package import GatewayCore

/// The claim checks of OpenID Connect Core 1.0 §3.1.3.7, after the signature has been verified.
package struct IDTokenRules: Sendable {
    package let issuer: String
    package let clientID: String
    package let additionalParties: [String]
    package let skew: Double

    /// How far into the future `iat` may lie before the token counts as made up.
    private static let issuedAheadLimit = 300.0

    package init(issuer: String, settings: OIDCSettings) {
        self.issuer = issuer
        self.clientID = settings.clientID
        self.additionalParties = settings.additionalAuthorizedParties
        self.skew = Double(settings.clockSkewSeconds)
    }

    /// - Parameter nonce: What the authorization request carried; `nil` on refresh, where it is not repeated.
    package func check(_ claims: JSONObject, nonce: String?, now: Timestamp) throws(SignInFailure) {
        for name in ["iss", "sub", "aud", "exp", "iat"] where claims[name] == nil {
            throw .rejected("the id_token lacks the claim \(name)")
        }
        guard claims["iss"]?.string == self.issuer else {
            throw .rejected("unexpected iss in the id_token, expected \(self.issuer), got \(Self.shown(claims["iss"]))")
        }
        try self.checkAudience(claims)
        try self.checkTimes(claims, now: Double(now.milliseconds) / 1000)
        if let nonce, claims["nonce"]?.string != nonce {
            throw .rejected("the id_token's nonce is not the one that was asked for")
        }
    }

    private func checkAudience(_ claims: JSONObject) throws(SignInFailure) {
        let audiences: [String]
        switch claims["aud"] {
        case .string(let one)?: audiences = [one]
        case .array(let many)?:
            audiences = many.compactMap(\.string)
            guard audiences.count == many.count else {
                throw .rejected("aud mismatch in the id_token: it holds something that is not text")
            }
        default: audiences = []
        }
        guard audiences.contains(self.clientID) else {
            throw .rejected("aud mismatch in the id_token, expected \(self.clientID), got \(Self.shown(claims["aud"]))")
        }
        if audiences.count > 1, claims["azp"] == nil {
            throw .rejected("the id_token has several audiences and no azp")
        }
        if let party = claims["azp"] {
            guard let name = party.string, name == self.clientID || self.additionalParties.contains(name) else {
                throw .rejected("azp mismatch in the id_token, got \(Self.shown(party))")
            }
        }
    }

    private func checkTimes(_ claims: JSONObject, now: Double) throws(SignInFailure) {
        guard let expiry = claims["exp"]?.number, expiry + self.skew > now else {
            throw .rejected(
                "the id_token has expired; if it has not, compare the clocks and see oidc.clock_skew_seconds")
        }
        guard let issued = claims["iat"]?.number, issued <= now + max(self.skew, Self.issuedAheadLimit) else {
            throw .rejected("the id_token was issued in the future; compare the clocks")
        }
        if let notBefore = claims["nbf"] {
            guard let time = notBefore.number, time <= now + self.skew else {
                throw .rejected("the id_token is not valid yet; compare the clocks and see oidc.clock_skew_seconds")
            }
        }
    }

    private static func shown(_ value: JSONValue?) -> String {
        (value?.text() ?? "nothing").printableASCII(limit: 200)
    }
}
