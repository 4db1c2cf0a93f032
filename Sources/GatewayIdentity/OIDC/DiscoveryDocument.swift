// SPDX-License-Identifier: Apache-2.0

package import GatewayCore

/// What the gateway uses of a provider's metadata (OpenID Connect Discovery 1.0 §3).
package struct DiscoveryDocument: Sendable {
    package let issuer: String
    package let authorizationEndpoint: String
    package let tokenEndpoint: String
    package let keysURL: String
    package let userinfoEndpoint: String?
    package let authentication: OIDCSettings.ClientAuthentication
    /// Whether callbacks carry `iss` (RFC 9207), whose absence is then a fault.
    package let namesIssuerInCallback: Bool

    /// - Throws: `SignInFailure.unavailable` naming what is wrong with the document and which key points at it.
    package init(_ json: JSONValue, settings: OIDCSettings, rule: AddressGuard) throws(SignInFailure) {
        guard case .object = json else {
            throw .unavailable("the discovery document is not a JSON object; check oidc.issuer")
        }
        func text(_ name: String) throws(SignInFailure) -> String {
            guard let value = json[name]?.string, !value.isEmpty else {
                throw .unavailable("the discovery document lacks \(name); check oidc.issuer")
            }
            return value
        }
        func endpoint(_ name: String) throws(SignInFailure) -> String {
            let value = try text(name)
            guard let url = WebURL(value) else {
                throw .unavailable("the discovery document's \(name) is not an http or https URL")
            }
            if let refusal = rule.refusal(ofHost: url.host) {
                throw .unavailable(
                    "the discovery document's \(name) points at a \(refusal): \(value.printableASCII(limit: 200))")
            }
            // Codes, secrets and keys would cross the network in the clear.
            if WebURL(settings.issuer)?.isSecure == true, !url.isSecure, !url.isLoopback {
                throw .unavailable(
                    "the discovery document's \(name) is http although the issuer is https: \(value.printableASCII(limit: 200))"
                )
            }
            return value
        }
        self.issuer = try text("issuer")
        // A document that speaks for somebody else would let that somebody sign our users in (§4.3). With an explicit
        // discovery_url the operator has already said where the truth is, but not whose.
        let expected =
            settings.issuer.hasSuffix(OIDCSettings.wellKnown)
            ? String(settings.issuer.dropLast(OIDCSettings.wellKnown.count)) : settings.issuer
        guard OIDCSettings.withoutTrailingSlash(self.issuer) == OIDCSettings.withoutTrailingSlash(expected) else {
            let shown = self.issuer.printableASCII(limit: 200)
            throw .unavailable(
                "the discovery document is of the issuer \(shown), not of \(expected); set oidc.issuer to it if that is right"
            )
        }
        self.authorizationEndpoint = try endpoint("authorization_endpoint")
        self.tokenEndpoint = try endpoint("token_endpoint")
        self.keysURL = try endpoint("jwks_uri")
        self.userinfoEndpoint =
            [nil, .null].contains(json["userinfo_endpoint"]) ? nil : try endpoint("userinfo_endpoint")
        let methods = json["token_endpoint_auth_methods_supported"]?.array?.compactMap(\.string)
        self.authentication =
            settings.authentication ?? (methods?.contains("client_secret_post") == true ? .post : .basic)
        self.namesIssuerInCallback = [true, "true"].contains(json["authorization_response_iss_parameter_supported"])
    }
}
