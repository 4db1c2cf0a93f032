// SPDX-License-Identifier: Apache-2.0

package import GatewayConfig
package import GatewayCore

/// Anthropic's Messages API, or anything that speaks it: bytes pass as they came, with other credentials.
package struct AnthropicProvider: Provider {
    package static let name = "anthropic"
    package static let defaultBaseURL = "https://api.anthropic.com"

    package enum Credential: Sendable {
        case apiKey(Secret)
        case oauthToken(Secret)
    }

    private let credential: Credential
    private let forwardsIdentity: Bool

    package init(credential: Credential, forwardsIdentity: Bool = false) {
        self.credential = credential
        self.forwardsIdentity = forwardsIdentity
    }

    package init(_ node: ConfigNode) {
        let auth = node["auth"]
        self.init(
            credential: auth?["oauth_token"]?.secret.map(Credential.oauthToken)
                ?? .apiKey(auth?["api_key"]?.secret ?? Secret("")),
            forwardsIdentity: node["forward_user_identity"]?.boolean ?? false)
    }

    package func modelID(of model: BuiltInModel, _ upstream: UpstreamSettings) -> String? {
        model.id
    }

    package func request(for call: InboundCall, upstreamModel: String, _ upstream: UpstreamSettings) -> UpstreamRequest
    {
        var request = UpstreamRequest(
            target: upstream.basePath + call.endpoint.path + call.query,
            headers: self.headers(for: call, upstream))
        if upstreamModel != call.model {
            let replacement = JSONValue.string(upstreamModel).bytes()
            request.edits = call.modelRanges.map { BodyEdit(range: $0, replacement: replacement) }
        }
        return request
    }

    private func headers(for call: InboundCall, _ upstream: UpstreamSettings) -> [(name: String, value: String)] {
        var out: [(name: String, value: String)] = []
        out.reserveCapacity(call.headers.count + upstream.headers.count + 4)
        out.append(("host", upstream.baseURL.authority))
        var beta: [String] = []
        var userAgent: String?
        for header in call.headers {
            switch ForwardedHeaders.disposition(of: header.name) {
            case .withheld: continue
            case .beta: beta.append(header.value)
            case .userAgent: userAgent = header.value
            case .acceptEncoding: out.append((header.name, ForwardedHeaders.decodable(header.value)))
            case .passed: out.append(header)
            }
        }
        switch self.credential {
        case .apiKey(let key): out.append(("x-api-key", key.reveal()))
        case .oauthToken(let token):
            out.append(("authorization", "Bearer " + token.reveal()))
            beta.append("oauth-2025-04-20")
        }
        if !out.contains(where: { $0.name.lowercased() == "accept-encoding" }) {
            out.append(("accept-encoding", "identity"))
        }
        if !beta.isEmpty { out.append(("anthropic-beta", beta.joined(separator: ", "))) }
        let product = "cc-gateway/\(GatewayVersion.contract)"
        out.append(("user-agent", userAgent.map { "\($0) \(product)" } ?? product))
        if self.forwardsIdentity { out += Self.identity(of: call.principal) }
        for header in upstream.headers {
            out.removeAll { $0.name.lowercased() == header.name.lowercased() }
            out.append(header)
        }
        return out
    }

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
                    ],
                    rules: [
                        { node, report in
                            switch (node["api_key"], node["oauth_token"]) {
                            case (nil, nil): report.error(node, "needs api_key or oauth_token.")
                            case (_?, let token?): report.error(token, "cannot stand beside api_key; keep one of them.")
                            default: break
                            }
                        }
                    ])),
            required: true, "The gateway's credential at this upstream: api_key or oauth_token."),
        ConfigKey(
            "forward_user_identity", .boolean, default: "false",
            "Adds the developer's subject and e-mail address as headers, for a proxy that you run at base_url."),
    ]

    package static let rules: [ConfigSection.Rule] = [
        { node, report in
            guard let key = node["forward_user_identity"], key.boolean == true else { return }
            let host = WebURL(node["base_url"]?.string ?? defaultBaseURL)?.host ?? ""
            if host == "api.anthropic.com" || host.hasSuffix(".anthropic.com") {
                report.error(
                    key,
                    "is for a proxy that you run at base_url; it is refused for api.anthropic.com, so that developers' addresses are not sent there."
                )
            }
        }
    ]
}
