// SPDX-License-Identifier: Apache-2.0

package import GatewayConfig
internal import GatewayCore

extension OIDCSettings {
    package static let algorithms = [
        "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA",
    ]

    /// Parameters of the authorization request that the gateway sets itself.
    private static let ownParameters: Set<String> = [
        "client_id", "code_challenge", "code_challenge_method", "nonce", "redirect_uri", "response_mode",
        "response_type", "scope", "state",
    ]

    package static let section = ConfigSection([
        ConfigKey(
            "issuer", .string(minimum: 1), required: true, "The identity provider's issuer URL.",
            example: "https://login.example.com", check: OutboundURL.check),
        ConfigKey(
            "client_id", .string(minimum: 1), required: true,
            "The client id that the identity provider gave the gateway.",
            example: "claude-gateway"),
        ConfigKey(
            "client_secret", .string(minimum: 1), required: true, "The client's secret.",
            example: "${OIDC_CLIENT_SECRET}"),
        ConfigKey(
            "token_endpoint_auth_method", .choice(["client_secret_basic", "client_secret_post"]),
            default: "what discovery offers", "How the secret is presented."),
        ConfigKey(
            "allowed_email_domains", .list(of: .string()),
            "Only e-mail addresses of these domains may sign in. Exact domains; sub-domains are others.",
            example: "[example.com]",
            check: { node in
                let entries = node.strings
                let isBlank = !entries.isEmpty && entries.allSatisfy { ["", "@"].contains($0.trimmingSpaces) }
                return isBlank ? "has only empty entries; write domains such as example.com, or remove the key." : nil
            }),
        ConfigKey(
            "allowed_groups", .list(of: .string()), "Only members of one of these groups may sign in.",
            check: { node in
                let entries = node.strings
                let isBlank = !entries.isEmpty && entries.allSatisfy { $0.trimmingSpaces.isEmpty }
                return isBlank ? "has only empty entries; write group names, or remove the key." : nil
            }),
        ConfigKey(
            "groups_claim", .string(minimum: 1), default: "groups",
            "The claim that holds the groups: a name, or a JSON Pointer such as /realm_access/roles."),
        ConfigKey(
            "email_claim", .either([.string(minimum: 1), .list(of: .string(minimum: 1), minimum: 1)]), default: "email",
            "The claim that holds the e-mail address, or several to try in order."),
        ConfigKey(
            "scopes", .list(of: .string(minimum: 1)), default: "[openid, profile, email, offline_access]",
            "What the gateway asks for. offline_access is what makes refresh work.",
            check: { node in
                if node.strings.contains(where: { $0.contains(where: \.isWhitespace) }) {
                    return "has an entry with a space; write each scope as an entry of its own."
                }
                return node.strings.contains("openid") ? nil : "must include openid, or there is no id_token."
            }),
        ConfigKey(
            "extra_auth_params", .map(of: .string()), "More parameters for the authorization request.",
            check: { node in
                guard let own = node.members.map(\.key).first(where: ownParameters.contains) else { return nil }
                return
                    "must not set \(own), which the gateway manages; remove it\(own == "scope" ? " and use oidc.scopes" : "")."
            }),
        ConfigKey(
            "userinfo_fallback", .boolean, default: "false",
            "Whether to ask the userinfo endpoint when the id_token lacks the e-mail address or the groups."),
        ConfigKey("use_pkce", .boolean, default: "true", "Whether to use PKCE (RFC 7636)."),
        ConfigKey(
            "clock_skew_seconds", .integer(minimum: 0), default: "0",
            "How far the identity provider's clock may differ."),
        ConfigKey(
            "id_token_signed_response_alg", .choice(algorithms), default: "RS256",
            "The one algorithm that id_tokens must be signed with."),
        ConfigKey(
            "additional_authorized_parties", .list(of: .string()), "Values of azp to accept besides client_id."),
        ConfigKey(
            "discovery_url", .string(minimum: 1), "Where the discovery document is, when not under the issuer.",
            check: { node in
                if let complaint = OutboundURL.check(node) { return complaint }
                let path = node.string.flatMap(WebURL.init)?.path ?? ""
                return path.range(of: "/.well-known/") != nil
                    ? nil : "must be the discovery document itself, with /.well-known/ in its path."
            }),
        ConfigKey(
            "use_proxy", .boolean, default: "false",
            "Whether requests to the identity provider go through HTTPS_PROXY."),
        ConfigKey(
            "form_action_origins", .list(of: .string()),
            "More origins that the sign-in page may lead to, for providers that redirect between hosts.",
            check: { node in
                for entry in node.list where !entry.isUnresolved {
                    if let complaint = OutboundURL.check(entry) { return "has an entry that \(complaint)" }
                }
                return nil
            }),
        ConfigKey(
            "ca_cert_pem", .string(), "PEM certificates that vouch for the identity provider, instead of the system's."),
    ])
}
