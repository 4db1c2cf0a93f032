// SPDX-License-Identifier: Apache-2.0

package import GatewayConfig
internal import GatewayCore

/// Amazon Bedrock's Messages API ("Mantle").
package struct MantleProvider: Provider {
    package static let name = "mantle"
    package static let lacks = Capability.serverTools

    let region: String
    let authentication: AWSAuthentication
    let role: AWSRole?

    package init(_ node: ConfigNode) {
        self.region = node["region"]?.string ?? ""
        self.authentication = AWSAuthentication(node["auth"])
        self.role = AWSRole(node["assume_role"])
    }

    package static func baseURL(_ node: ConfigNode) -> String {
        "https://bedrock-mantle.\(node["region"]?.string ?? "").api.aws/anthropic"
    }

    package func modelID(of model: BuiltInModel, _ upstream: UpstreamSettings) -> String? {
        model.mantle
    }

    package var credential: CredentialNeed {
        if case .bearer = self.authentication {
            .none
        } else {
            .aws(self.authentication, role: self.role, region: self.region)
        }
    }

    package func request(for call: InboundCall, upstreamModel: String, _ upstream: UpstreamSettings)
        throws(ProviderRefusal) -> UpstreamRequest
    {
        var headers = CloudRequest.headers(for: call, upstream, agent: "mantle", passesBetas: true, passesTags: false)
        var authorization = UpstreamRequest.Authorization.awsV4(service: "bedrock-mantle", region: self.region)
        if case .bearer(let token) = self.authentication {
            headers.append(("authorization", "Bearer " + token.reveal()))
            authorization = .included
        }
        let editor = CloudRequest.editor(for: call, model: upstreamModel, passesTags: false)
        return UpstreamRequest(
            target: upstream.target(call.endpoint), headers: FieldBlock(headers), edits: editor.edits,
            authorization: authorization)
    }

    package static let keys: [ConfigKey] = [
        AWSKeys.region(), AWSKeys.authentication(takesBearer: true, takesKey: false), AWSKeys.role,
    ]

    package static let rules: [ConfigSection.Rule] = [
        AWSKeys.roleRule,
        { node, report in
            if node["models"] == nil {
                report.add(
                    ConfigFault(
                        .error, at: node.position, node.path.appending("models"),
                        "is required: list the models that the AWS account has there, named as clients send them, such as [claude-opus-4-8]."
                    ))
            }
        },
    ]
}
