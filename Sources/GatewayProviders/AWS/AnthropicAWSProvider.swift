// SPDX-License-Identifier: Apache-2.0

package import GatewayConfig
internal import GatewayCore

/// Claude Platform on AWS: Anthropic's own API, reached and paid for through an AWS account.
package struct AnthropicAWSProvider: Provider {
    package static let name = "anthropicAws"

    let region: String
    let workspaceID: String
    let apiKey: Secret?
    let authentication: AWSAuthentication

    package init(_ node: ConfigNode) {
        self.region = node["region"]?.string ?? ""
        self.workspaceID = node["workspace_id"]?.string ?? ""
        self.apiKey = node["auth"]?["api_key"]?.secret
        self.authentication = AWSAuthentication(node["auth"])
    }

    package static func baseURL(_ node: ConfigNode) -> String {
        "https://aws-external-anthropic.\(node["region"]?.string ?? "").api.aws"
    }

    package func modelID(of model: BuiltInModel, _ upstream: UpstreamSettings) -> String? {
        model.id
    }

    package var credential: CredentialNeed {
        self.apiKey == nil ? .aws(self.authentication, role: nil, region: self.region) : .none
    }

    package func request(for call: InboundCall, upstreamModel: String, _ upstream: UpstreamSettings)
        throws(ProviderRefusal) -> UpstreamRequest
    {
        var headers = CloudRequest.headers(for: call, upstream, agent: "aws", passesBetas: true, passesTags: true)
        headers.append(("anthropic-workspace-id", self.workspaceID))
        var authorization = UpstreamRequest.Authorization.awsV4(
            service: "aws-external-anthropic", region: self.region)
        if let apiKey {
            headers.append(("x-api-key", apiKey.reveal()))
            authorization = .included
        }
        let editor = CloudRequest.editor(for: call, model: upstreamModel, passesTags: true)
        return UpstreamRequest(
            target: upstream.target(call.endpoint), headers: FieldBlock(headers), edits: editor.edits,
            authorization: authorization)
    }

    package static let keys: [ConfigKey] = [
        AWSKeys.region(),
        ConfigKey(
            "workspace_id", .string(minimum: 1), required: true, "The workspace that requests belong to.",
            check: AWSKeys.headerValue),
        AWSKeys.authentication(takesBearer: false, takesKey: true),
    ]

    package static let rules: [ConfigSection.Rule] = []
}
