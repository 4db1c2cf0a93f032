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

    private static let keys: [ConfigKey] = [
        ConfigKey(
            "issuer", .outboundURL, required: true, "The identity provider's issuer URL.",
            example: "https://login.example.com"),
        ConfigKey(
            "client_id", .string(minimum: 1), required: true,
            "The client id that the identity provider gave the gateway.",
            example: "claude-gateway"),
        ConfigKey(
            "client_secret", .string(minimum: 1),
            "The client's secret. Required, except with token_endpoint_auth_method: private_key_jwt.",
            example: "${OIDC_CLIENT_SECRET}"),
        ConfigKey(
            "token_endpoint_auth_method", .choice(["client_secret_basic", "client_secret_post", "private_key_jwt"]),
            default: "what discovery offers",
            "How the gateway signs in at the token endpoint; private_key_jwt uses a certificate instead of a secret."),
        ConfigKey(
            "client_assertion",
            .section(
                ConfigSection([
                    ConfigKey(
                        "private_key_pem", .string(minimum: 1), required: true,
                        "The unencrypted RSA key, of at least 2048 bits, in PEM.",
                        example: "${file:/run/secrets/idp.key}"),
                    ConfigKey(
                        "certificate_pem", .string(minimum: 1), required: true,
                        "Its certificate, which the identity provider knows, in PEM.",
                        example: "${file:/run/secrets/idp.crt}"),
                ])),
            "The certificate for private_key_jwt (RFC 7523)."),
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
            "discovery_url", .outboundURL, "Where the discovery document is, when not under the issuer.",
            check: { node in
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
            inspect: { node, report in
                for entry in node.list where !entry.isUnresolved {
                    if let complaint = OutboundURL.check(entry) { report.error(entry, complaint) }
                }
            }),
        ConfigKey(
            "ca_cert_pem", .string(), "PEM certificates that vouch for the identity provider, instead of the system's.",
            check: { node in
                let text = node.string ?? ""
                return text.isEmpty || PEMCertificates.isUsable(text)
                    ? nil
                    : "holds no usable PEM certificates; write the certificates themselves, or ${file:/path} to read them."
            }),
        ConfigKey(
            "entra_groups",
            .section(
                ConfigSection([
                    ConfigKey(
                        "graph_url", .outboundURL, default: "https://graph.microsoft.com",
                        "Microsoft Graph, where a national cloud has its own.")
                ])),
            "Asks Microsoft Graph for a developer's groups when Entra's token says that they are too many for it. oidc.scopes needs GroupMember.Read.All. Without this such a sign-in is refused."
        ),
        ConfigKey(
            "google_groups",
            .section(
                ConfigSection([
                    ConfigKey(
                        "service_account_json_path", .string(minimum: 1), required: true,
                        "Path of the key file of a service account with domain-wide delegation.",
                        inspect: { node, report in
                            guard report.readsFiles, let path = node.string else { return }
                            do throws(GoogleDirectory.KeyProblem) {
                                _ = try GoogleDirectory.Key(path: path)
                            } catch {
                                report.error(node, error.sentence)
                            }
                        }),
                    ConfigKey(
                        "admin_email", .string(), required: true,
                        "The administrator whose rights the lookups use.",
                        check: { node in
                            let parts = (node.string ?? "").split(separator: "@", omittingEmptySubsequences: false)
                            let isAddress =
                                parts.count == 2 && !parts[0].isEmpty && parts[1].contains(".")
                                && !parts[1].hasPrefix(".") && !parts[1].hasSuffix(".")
                                && !(node.string ?? "").contains(where: \.isWhitespace)
                            return isAddress ? nil : "is not an e-mail address; write it like admin@example.com."
                        }),
                ])),
            "Looks groups up in the Google Workspace directory, whose id_tokens carry none."),
    ]

    package static let section = ConfigSection(keys, rules: [clientAuthenticationRule, googleRule])

    /// A secret or a certificate, never both.
    private static let clientAuthenticationRule: ConfigSection.Rule = { node, report in
        func missing(_ name: String, _ message: String) {
            report.add(ConfigFault(.error, at: node.position, node.path.appending(name), message))
        }
        guard node["token_endpoint_auth_method"]?.string == ClientAuthentication.privateKey.rawValue else {
            if node["client_secret"] == nil {
                missing(
                    "client_secret",
                    "is required; or set token_endpoint_auth_method: private_key_jwt with a client_assertion, if the identity provider issues certificates instead of secrets."
                )
            }
            if let assertion = node["client_assertion"] {
                report.error(
                    assertion,
                    "is only used with token_endpoint_auth_method: private_key_jwt; set that and remove client_secret, or remove this."
                )
            }
            return
        }
        if let secret = node["client_secret"] {
            report.error(secret, "must go when token_endpoint_auth_method is private_key_jwt; remove it.")
        }
        guard let assertion = node["client_assertion"] else {
            missing(
                "client_assertion",
                "is required with token_endpoint_auth_method: private_key_jwt: private_key_pem and certificate_pem.")
            return
        }
        guard let key = assertion["private_key_pem"], let certificate = assertion["certificate_pem"],
            !key.isUnresolved, !certificate.isUnresolved
        else { return }
        do throws(ClientAssertion.Problem) {
            let made = try ClientAssertion(
                privateKeyPEM: key.secret ?? Secret(""), certificatePEM: certificate.string ?? "")
            if let warning = made.validityWarning(now: .now) { report.warning(certificate, warning) }
        } catch {
            report.error(error.isAboutKey ? key : certificate, error.sentence)
        }
    }

    private static let googleRule: ConfigSection.Rule = { node, report in
        guard let google = node["google_groups"], let issuer = node["issuer"]?.string else { return }
        if WebURL(issuer)?.host != "accounts.google.com" {
            report.warning(
                google, "looks groups up at Google, but issuer is not https://accounts.google.com; is that meant?")
        }
    }
}
