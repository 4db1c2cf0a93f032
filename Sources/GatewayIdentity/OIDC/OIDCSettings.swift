// SPDX-License-Identifier: Apache-2.0

package import GatewayConfig
package import GatewayCore

/// The `oidc` section: the gateway as a relying party (OpenID Connect Core 1.0).
package struct OIDCSettings: Sendable {
    package enum ClientAuthentication: String, Sendable {
        case basic = "client_secret_basic"
        case post = "client_secret_post"
        case privateKey = "private_key_jwt"
    }

    package var issuer: String
    package var clientID: String
    package var clientSecret: Secret
    package var authentication: ClientAuthentication?
    package var allowedEmailDomains: [String] = []
    package var allowedGroups: [String] = []
    package var groupsClaim = "groups"
    package var emailClaims = ["email"]
    package var scopes = ["openid", "profile", "email", "offline_access"]
    package var extraParameters: [(String, String)] = []
    package var usesUserinfo = false
    package var usesPKCE = true
    package var clockSkewSeconds = 0
    package var algorithm = "RS256"
    package var additionalAuthorizedParties: [String] = []
    package var discoveryURL: String?
    package var usesProxy = false
    /// Whether the file says anything about it.
    package var saysWhetherProxied = false
    package var formActionOrigins: [String] = []
    package var trustedCertificates: String?
    /// With `authentication` set to `privateKey`.
    package var assertion: ClientAssertion?
    package var googleGroups: GoogleDirectory.Settings?
    /// Where Microsoft Graph is, when it is asked for groups that a token leaves out.
    package var entraGroups: String?

    package init(issuer: String, clientID: String, clientSecret: Secret) {
        self.issuer = issuer
        self.clientID = clientID
        self.clientSecret = clientSecret
    }

    package init(_ node: ConfigNode) {
        self.init(
            issuer: node["issuer"]?.string ?? "", clientID: node["client_id"]?.string ?? "",
            clientSecret: node["client_secret"]?.secret ?? Secret(""))
        self.authentication = node["token_endpoint_auth_method"]?.string.flatMap(ClientAuthentication.init)
        self.allowedEmailDomains = (node["allowed_email_domains"]?.strings ?? []).map(Self.domain).filter {
            !$0.isEmpty
        }
        self.allowedGroups = (node["allowed_groups"]?.strings ?? []).filter { !$0.trimmingSpaces.isEmpty }
        self.groupsClaim = node["groups_claim"]?.string ?? self.groupsClaim
        if let claim = node["email_claim"] { self.emailClaims = claim.string.map { [$0] } ?? claim.strings }
        if let scopes = node["scopes"] { self.scopes = scopes.strings }
        self.extraParameters = (node["extra_auth_params"]?.members ?? []).map { ($0.key, $0.value.string ?? "") }
        self.usesUserinfo = node["userinfo_fallback"]?.boolean ?? false
        self.usesPKCE = node["use_pkce"]?.boolean ?? true
        self.clockSkewSeconds = node["clock_skew_seconds"]?.integer ?? 0
        self.algorithm = node["id_token_signed_response_alg"]?.string ?? self.algorithm
        self.additionalAuthorizedParties = node["additional_authorized_parties"]?.strings ?? []
        self.discoveryURL = node["discovery_url"]?.string
        self.usesProxy = node["use_proxy"]?.boolean ?? false
        self.saysWhetherProxied = node["use_proxy"] != nil
        self.formActionOrigins = (node["form_action_origins"]?.strings ?? []).compactMap { WebURL($0)?.origin }
        self.trustedCertificates = node["ca_cert_pem"]?.string.flatMap { $0.isEmpty ? nil : $0 }
        if let assertion = node["client_assertion"], let key = assertion["private_key_pem"]?.secret,
            let certificate = assertion["certificate_pem"]?.string
        {
            self.assertion = try? ClientAssertion(privateKeyPEM: key, certificatePEM: certificate)
        }
        self.entraGroups = node["entra_groups"].map { entra in
            let url = entra["graph_url"]?.string ?? "https://graph.microsoft.com"
            return url.hasSuffix("/") ? String(url.dropLast()) : url
        }
        if let google = node["google_groups"] {
            self.googleGroups = GoogleDirectory.Settings(
                keyPath: google["service_account_json_path"]?.string ?? "",
                adminEmail: google["admin_email"]?.string ?? "")
        }
    }

    /// Where the discovery document is (OpenID Connect Discovery 1.0 §4).
    package var discoveryDocument: String {
        if let discoveryURL { return discoveryURL }
        if self.issuer.hasSuffix(Self.wellKnown) { return self.issuer }
        return Self.withoutTrailingSlash(self.issuer) + Self.wellKnown
    }

    static let wellKnown = "/.well-known/openid-configuration"

    static func withoutTrailingSlash(_ text: String) -> String {
        text.hasSuffix("/") ? String(text.dropLast()) : text
    }

    private static func domain(_ text: String) -> String {
        var text = text.trimmingSpaces.lowercased()
        if text.hasPrefix("@") { text.removeFirst() }
        return text
    }
}
