// SPDX-License-Identifier: Apache-2.0

package import GatewayConfig
internal import GatewayCore

/// Claude on Google Cloud's Vertex AI.
///
/// Source: <https://docs.cloud.google.com/vertex-ai/generative-ai/docs/partner-models/claude/use-claude>.
package struct VertexProvider: Provider {
    package static let name = "vertex"
    package static let lacks: Set<Capability> = [.webFetch, .codeExecution]

    let region: String
    let projectID: String
    let authentication: GoogleAuthentication

    package init(_ node: ConfigNode) {
        self.region = node["region"]?.string ?? ""
        self.projectID = node["project_id"]?.string ?? ""
        self.authentication = GoogleAuthentication(node["auth"])
    }

    package static func baseURL(_ node: ConfigNode) -> String {
        let region = node["region"]?.string ?? ""
        return switch region {
        case "global": "https://aiplatform.googleapis.com/v1"
        case "us", "eu": "https://aiplatform.\(region).rep.googleapis.com/v1"
        default: "https://\(region)-aiplatform.googleapis.com/v1"
        }
    }

    package func modelID(of model: BuiltInModel, _ upstream: UpstreamSettings) -> String? {
        model.vertex
    }

    package var credential: CredentialNeed { .google(self.authentication) }

    package func request(for call: InboundCall, upstreamModel: String, _ upstream: UpstreamSettings)
        throws(ProviderRefusal) -> UpstreamRequest
    {
        let headers = CloudRequest.headers(for: call, upstream, agent: "vertex", passesBetas: true, passesTags: false)
        let isCount = call.endpoint == .countTokens
        var editor = CloudRequest.editor(for: call, model: isCount ? upstreamModel : nil, passesTags: false)
        CloudRequest.appendVersion(to: &editor, call, original: Self.bodyVersion)
        let action =
            isCount
            ? "count-tokens:rawPredict"
            : PathSegment.encode(upstreamModel, also: "@") + (call.streams ? ":streamRawPredict" : ":rawPredict")
        let path =
            "/projects/\(PathSegment.encode(self.projectID))/locations/\(self.region)/publishers/anthropic/models/"
        return UpstreamRequest(
            target: upstream.basePath + path + action, headers: FieldBlock(headers), edits: editor.edits,
            authorization: .bearer)
    }

    private static let bodyVersion = "vertex-2023-10-16"

    package static let keys: [ConfigKey] = [
        ConfigKey(
            "region", .string(minimum: 1), required: true,
            "A region such as us-east5, or global, or the multi-regions us and eu.", example: "global",
            check: { node in
                GoogleKeys.isLocation(node.string ?? "")
                    ? nil : "is not a Google Cloud region; write it like us-east5 or global."
            }),
        GoogleKeys.project, GoogleKeys.authentication,
    ]

    package static let rules: [ConfigSection.Rule] = []
}
