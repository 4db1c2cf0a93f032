// SPDX-License-Identifier: Apache-2.0

package import GatewayConfig
internal import GatewayCore

/// Claude in Microsoft Foundry.
///
/// Source: <https://learn.microsoft.com/azure/ai-foundry/foundry-models/how-to/use-foundry-models-claude>.
package struct FoundryProvider: Provider {
    package static let name = "foundry"

    /// `nil` asks for a Microsoft Entra token of the environment's identity.
    let apiKey: Secret?

    package init(_ node: ConfigNode) {
        self.apiKey = node["auth"]?["api_key"]?.secret
    }

    package static func baseURL(_ node: ConfigNode) -> String {
        "https://\(node["resource"]?.string ?? "").services.ai.azure.com/anthropic"
    }

    package func modelID(of model: BuiltInModel, _ upstream: UpstreamSettings) -> String? {
        model.foundry
    }

    package var credential: CredentialNeed { self.apiKey == nil ? .azure : .none }

    package func request(for call: InboundCall, upstreamModel: String, _ upstream: UpstreamSettings)
        throws(ProviderRefusal) -> UpstreamRequest
    {
        var headers = CloudRequest.headers(for: call, upstream, agent: "foundry", passesBetas: true, passesTags: true)
        if let apiKey { headers.append(("x-api-key", apiKey.reveal())) }
        let editor = CloudRequest.editor(for: call, model: upstreamModel, passesTags: true)
        return UpstreamRequest(
            target: upstream.target(call.endpoint), headers: FieldBlock(headers), edits: editor.edits,
            authorization: self.apiKey == nil ? .bearer : .included)
    }

    package static let keys: [ConfigKey] = [
        ConfigKey(
            "resource", .string(), required: true, "The Foundry resource's name.", example: "my-resource",
            check: { node in
                let bytes = Array((node.string ?? "").utf8)
                let isName =
                    (2...64).contains(bytes.count) && bytes.first != 0x2D && bytes.last != 0x2D
                    && bytes.allSatisfy { byte in
                        switch byte {
                        case 0x30...0x39, 0x41...0x5A, 0x61...0x7A, 0x2D: true
                        default: false
                        }
                    }
                return isName
                    ? nil : "must have 2 to 64 letters, digits or hyphens, and neither begin nor end with a hyphen."
            }),
        ConfigKey(
            "auth",
            .section(
                ConfigSection(
                    [
                        ConfigKey("api_key", .string(minimum: 1), "A key, sent as x-api-key."),
                        ConfigKey(
                            "use_azure_ad", .boolean,
                            "true takes a Microsoft Entra token of the environment's identity.",
                            check: { $0.boolean == true ? nil : "can only be true; write api_key instead." }),
                    ],
                    rules: [
                        { node, report in
                            switch (node["api_key"], node["use_azure_ad"]) {
                            case (nil, nil): report.error(node, "needs api_key, or use_azure_ad: true.")
                            case (_?, let other?):
                                report.error(other, "cannot stand beside api_key; keep one of them.")
                            default: break
                            }
                        }
                    ])),
            required: true, "The gateway's credential: api_key, or use_azure_ad: true."),
    ]

    package static let rules: [ConfigSection.Rule] = []
}
