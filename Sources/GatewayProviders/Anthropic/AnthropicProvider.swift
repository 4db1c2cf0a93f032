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
    private let forwardsIdentity: Bool

    package init(credential: Credential, forwardsIdentity: Bool = false) {
        self.authentication = credential
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
        var request = UpstreamRequest(
            target: upstream.basePath + call.endpoint.path + call.query,
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
        var headers: [(name: String, value: String)] = [("anthropic-version", "2023-06-01")]
        switch self.authentication {
        case .apiKey(let key): headers.append(("x-api-key", key.reveal()))
        case .oauthToken(let token):
            headers += [("authorization", "Bearer " + token.reveal()), ("anthropic-beta", "oauth-2025-04-20")]
        case .federation: return nil
        }
        return UpstreamProbe(
            url: upstream.baseURL.origin + upstream.basePath + "/v1/models?limit=1", headers: headers + upstream.headers
        )
    }

    private func headers(for call: InboundCall, _ upstream: UpstreamSettings) -> [(name: String, value: String)] {
        var out: [(name: String, value: String)] = []
        out.reserveCapacity(call.headers.count + upstream.headers.count + 4)
        out.append(("host", upstream.authority))
        var beta: [String] = []
        var userAgent: String?
        var hasCoding = false
        for header in call.headers {
            switch ForwardedHeaders.disposition(of: header.name) {
            case .withheld: continue
            case .beta: beta.append(header.value)
            case .userAgent: userAgent = header.value
            case .acceptEncoding:
                hasCoding = true
                out.append((header.name, ForwardedHeaders.decodable(header.value)))
            case .passed: out.append(header)
            }
        }
        switch self.authentication {
        case .apiKey(let key): out.append(("x-api-key", key.reveal()))
        case .oauthToken(let token):
            out.append(("authorization", "Bearer " + token.reveal()))
            beta.append("oauth-2025-04-20")
        case .federation: beta.append("oauth-2025-04-20")
        }
        if !hasCoding { out.append(("accept-encoding", "identity")) }
        if !beta.isEmpty { out.append(("anthropic-beta", beta.joined(separator: ", "))) }
        out.append(("user-agent", userAgent.map { $0 + " " + Self.product } ?? Self.product))
        if self.forwardsIdentity { out += Self.identity(of: call.principal) }
        for header in upstream.headers {
            out.removeAll { $0.name.lowercased() == header.name.lowercased() }
            out.append(header)
        }
        return out
    }

    private static let product = "cc-gateway/\(GatewayVersion.contract)"

    private static func identity(of principal: Principal) -> [(name: String, value: String)] {
        var out = [(name: "x-claude-gateway-user-id", value: self.headerText(principal.subject))]
        if let email = principal.email, !email.isEmpty {
            out.append(("x-claude-gateway-user-email", self.headerText(email)))
            out.append(("x-litellm-end-user-id", self.headerText(email)))
        }
        return out
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
