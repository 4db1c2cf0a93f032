// SPDX-License-Identifier: Apache-2.0

package import GatewayConfig
internal import GatewayCore

/// Claude Platform on Google Cloud: Anthropic's own API, reached and paid for through a Google Cloud project.
package struct AnthropicGoogleCloudProvider: Provider {
    package static let name = "anthropicGoogleCloud"

    let authentication: GoogleAuthentication

    package init(_ node: ConfigNode) {
        self.authentication = GoogleAuthentication(node["auth"])
    }

    package static func baseURL(_ node: ConfigNode) -> String {
        func part(_ key: String) -> String { node[key]?.string ?? "" }
        let location = node["location"]?.string ?? "global"
        return
            "https://claude.googleapis.com/v1/projects/\(part("project_id"))/locations/\(location)/workspaces/\(part("workspace_id"))/invoke"
    }

    package func modelID(of model: BuiltInModel, _ upstream: UpstreamSettings) -> String? {
        model.isOnGoogleCloud ? model.id : nil
    }

    package var credential: CredentialNeed { .google(self.authentication) }

    package func request(for call: InboundCall, upstreamModel: String, _ upstream: UpstreamSettings)
        throws(ProviderRefusal) -> UpstreamRequest
    {
        let headers = CloudRequest.headers(
            for: call, upstream, agent: "google-cloud", passesBetas: true, passesTags: true)
        let editor = CloudRequest.editor(for: call, model: upstreamModel, passesTags: true)
        return UpstreamRequest(
            target: upstream.target(call.endpoint), headers: FieldBlock(headers), edits: editor.edits,
            authorization: .bearer)
    }

    package static let keys: [ConfigKey] = [
        GoogleKeys.project,
        ConfigKey("workspace_id", .string(minimum: 1), required: true, "The workspace that requests belong to."),
        ConfigKey(
            "location", .string(), default: "global", "The Google Cloud location.",
            check: { node in
                GoogleKeys.isLocation(node.string ?? "")
                    ? nil : "is not a Google Cloud location; write it like us-east5 or global."
            }),
        GoogleKeys.authentication,
    ]

    package static let rules: [ConfigSection.Rule] = []
}
