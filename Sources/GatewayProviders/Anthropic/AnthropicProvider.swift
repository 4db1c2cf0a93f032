// SPDX-License-Identifier: Apache-2.0

package import GatewayConfig
package import GatewayCore

/// Anthropic's Messages API, or anything that speaks it: bytes pass as they came, with other credentials.
package struct AnthropicProvider: Provider {
    package static let name = "anthropic"
    /// Anthropic's own API.
    package static let ownAddress = "https://api.anthropic.com"

    package static func baseURL(_ node: ConfigNode) -> String { self.ownAddress }

    package enum Credential: Sendable {
        case apiKey(Secret)
        case oauthToken(Secret)
        case federation(Federation)
    }

    /// Workload identity federation: a token of the machine's own identity is exchanged for one of Anthropic's.
    package struct Federation: Sendable, Equatable {
        package let ruleID: String
        package let organizationID: String
        package let tokenFile: String
        package let workspaceID: String?
        package let serviceAccountID: String?
    }

    private let authentication: Credential
    /// The header that has it, where the configuration does.
    private let credentialFields: FieldBlock
    private let forwardsIdentity: Bool

    package init(credential: Credential, forwardsIdentity: Bool = false) {
        self.authentication = credential
        self.credentialFields = FieldBlock(Self.headers(of: credential))
        self.forwardsIdentity = forwardsIdentity
    }

    package init(_ node: ConfigNode) {
        let auth = node["auth"]
        let credential: Credential
        if let rule = auth?["federation_rule_id"]?.string {
            credential = .federation(
                Federation(
                    ruleID: rule, organizationID: auth?["organization_id"]?.string ?? "",
                    tokenFile: auth?["identity_token_file"]?.string ?? "",
                    workspaceID: auth?["workspace_id"]?.string, serviceAccountID: auth?["service_account_id"]?.string))
        } else {
            credential =
                auth?["oauth_token"]?.secret.map(Credential.oauthToken)
                ?? .apiKey(auth?["api_key"]?.secret ?? Secret(""))
        }
        self.init(
            credential: credential,
            forwardsIdentity: node["forward_user_identity"]?.boolean ?? false)
    }

    package static let passesAnswers = true

    package var credential: CredentialNeed {
        if case .federation(let federation) = self.authentication { .federation(federation) } else { .none }
    }

    package func modelID(of model: BuiltInModel, _ upstream: UpstreamSettings) -> String? {
        model.id
    }

    package func request(for call: InboundCall, upstreamModel: String, _ upstream: UpstreamSettings)
        throws(ProviderRefusal) -> UpstreamRequest
    {
        let request = UpstreamRequest(
            target: call.query.isEmpty
                ? upstream.target(call.endpoint) : upstream.target(call.endpoint) + call.query,
            headers: self.headers(for: call, upstream))
        if case .federation = self.authentication { request.authorization = .bearer }
        if upstreamModel != call.model {
            let replacement = JSONValue.string(upstreamModel).bytes()
            request.edits = call.modelRanges.map { BodyEdit(range: $0, replacement: replacement) }
        }
        return request
    }

    /// Lists one model.
    package func probe(_ upstream: UpstreamSettings) -> UpstreamProbe? {
        var headers = [(name: "anthropic-version", value: "2023-06-01")] + Self.headers(of: self.authentication)
        switch self.authentication {
        case .apiKey: break
        case .oauthToken: headers.append(("anthropic-beta", Self.tokenBeta))
        case .federation: return nil
        }
        return UpstreamProbe(
            url: upstream.baseURL.origin + upstream.basePath + "/v1/models?limit=1", headers: headers + upstream.headers
        )
    }

    private func headers(for call: InboundCall, _ upstream: UpstreamSettings) -> FieldBlock {
        var lines = FieldLines()
        lines.add(upstream.ownFields)
        var betas: [String] = []
        var (hasAgent, hasCoding) = (false, false)
        call.visitHeaders { disposition, name, value in
            switch disposition {
            case .withheld: break
            case .beta: betas.append(String(decoding: value, as: UTF8.self))
            case .userAgent where hasAgent: break
            case .userAgent:
                hasAgent = true
                lines.add(name, value, and: Self.agentSuffix)
            case .acceptEncoding:
                hasCoding = true
                lines.add("accept-encoding", ForwardedHeaders.decodable(value))
            case .passed: if !upstream.sets(name) { lines.add(name, value) }
            }
        }
        lines.add(self.credentialFields)
        switch self.authentication {
        case .apiKey: break
        case .oauthToken, .federation: betas.append(Self.tokenBeta)
        }
        if !hasCoding { lines.add(lines: "accept-encoding: identity\r\n") }
        if !betas.isEmpty { lines.add("anthropic-beta", betas.joined(separator: ", ")) }
        if !hasAgent { lines.add(Self.agentField) }
        if self.forwardsIdentity { Self.addIdentity(of: call.principal, to: &lines) }
        return FieldBlock(lines)
    }

    private static let tokenBeta = "oauth-2025-04-20"

    private static func headers(of credential: Credential) -> [(name: String, value: String)] {
        switch credential {
        case .apiKey(let key): [("x-api-key", key.reveal())]
        case .oauthToken(let token): [("authorization", "Bearer " + token.reveal())]
        case .federation: []
        }
    }
    private static let product = "cc-gateway/\(GatewayVersion.contract)"
    private static let agentSuffix = " " + product
    private static let agentField = FieldBlock([("user-agent", product)])

    private static func addIdentity(of principal: Principal, to lines: inout FieldLines) {
        lines.add("x-claude-gateway-user-id", self.headerText(principal.subject))
        guard let email = principal.email, !email.isEmpty else { return }
        lines.add("x-claude-gateway-user-email", self.headerText(email))
        lines.add("x-litellm-end-user-id", self.headerText(email))
    }

    /// Printable ASCII as it is, everything else percent-encoded, so that a name cannot break out of its header.
    private static func headerText(_ text: String) -> String {
        var out = ""
        for byte in text.utf8 {
            if (0x21...0x7E).contains(byte) {
                out.unicodeScalars.append(.init(byte))
            } else {
                out += "%" + (byte < 16 ? "0" : "") + String(byte, radix: 16, uppercase: true)
            }
        }
        return out
    }
}

extension AnthropicProvider {
    package static let keys: [ConfigKey] = [
        ConfigKey(
            "auth",
            .section(
                ConfigSection(
                    [
                        ConfigKey(
                            "api_key", .string(minimum: 1), "A key, sent as x-api-key.", example: "${ANTHROPIC_API_KEY}"
                        ),
                        ConfigKey("oauth_token", .string(minimum: 1), "A bearer token instead of a key."),
                        ConfigKey(
                            "federation_rule_id", .string(minimum: 1),
                            "A federation rule: the machine's own identity token is exchanged for a short-lived one."),
                        ConfigKey(
                            "organization_id", .string(minimum: 1), "With federation_rule_id, the organization."),
                        ConfigKey(
                            "identity_token_file", .string(minimum: 1),
                            "With federation_rule_id, the path of the identity token; read anew for each exchange."),
                        ConfigKey("workspace_id", .string(minimum: 1), "With federation_rule_id, the workspace."),
                        ConfigKey(
                            "service_account_id", .string(minimum: 1), "With federation_rule_id, the service account."
                        ),
                    ],
                    rules: [authenticationRule])),
            required: true,
            "The gateway's credential at this upstream: api_key, oauth_token, or the keys of a federation."),
        ConfigKey(
            "forward_user_identity", .boolean, default: "false",
            "Adds the developer's subject and e-mail address as headers, for a proxy that you run at base_url."),
    ]

    /// Exactly one of the three forms.
    private static let authenticationRule: ConfigSection.Rule = { node, report in
        let forms = ["api_key", "oauth_token", "federation_rule_id"].compactMap { node[$0] }
        if forms.isEmpty { report.error(node, "needs api_key, oauth_token, or federation_rule_id.") }
        for extra in forms.dropFirst() {
            report.error(extra, "cannot stand beside another form of credential; keep one of them.")
        }
        let isFederated = node["federation_rule_id"] != nil
        for name in ["organization_id", "identity_token_file", "workspace_id", "service_account_id"] {
            switch (isFederated, node[name]) {
            case (false, let key?): report.error(key, "belongs to federation_rule_id, which is not set; remove it.")
            case (true, nil) where name == "organization_id" || name == "identity_token_file":
                report.add(
                    ConfigFault(
                        .error, at: node.position, node.path.appending(name),
                        "is required beside federation_rule_id."))
            default: break
            }
        }
    }

    package static let rules: [ConfigSection.Rule] = [
        { node, report in
            guard let key = node["forward_user_identity"], key.boolean == true else { return }
            let host = WebURL(node["base_url"]?.string ?? ownAddress)?.host ?? ""
            if host == "api.anthropic.com" || host.hasSuffix(".anthropic.com") {
                report.error(
                    key,
                    "is for a proxy that you run at base_url; it is refused for api.anthropic.com, so that developers' addresses are not sent there."
                )
            }
        }
    ]
}
