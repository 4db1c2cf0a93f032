// SPDX-License-Identifier: Apache-2.0

package import GatewayConfig
internal import GatewayCore

/// Amazon Bedrock's `InvokeModel` API.
///
/// Source: <https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-anthropic-claude-messages.html>.
package struct BedrockProvider: Provider {
    package static let name = "bedrock"

    package struct Guardrail: Sendable, Equatable {
        package let id: String
        package let version: String
    }

    let region: String
    let authentication: AWSAuthentication
    let role: AWSRole?
    let guardrail: Guardrail?
    let tracesGuardrail: Bool

    package init(_ node: ConfigNode) {
        self.region = node["region"]?.string ?? ""
        self.authentication = AWSAuthentication(node["auth"])
        self.role = AWSRole(node["assume_role"])
        self.guardrail = node["guardrail"].map {
            Guardrail(id: $0["id"]?.string ?? "", version: $0["version"]?.string ?? "")
        }
        self.tracesGuardrail = node["guardrail_trace"]?.boolean ?? false
    }

    package static func baseURL(_ node: ConfigNode) -> String {
        "https://bedrock-runtime.\(node["region"]?.string ?? "").amazonaws.com"
    }

    package func modelID(of model: BuiltInModel, _ upstream: UpstreamSettings) -> String? {
        "us." + model.bedrock
    }

    package func request(for call: InboundCall, upstreamModel: String, _ upstream: UpstreamSettings)
        throws(ProviderRefusal) -> UpstreamRequest
    {
        throw .unsupported("\(Self.name) is not built in yet")
    }

    package static let keys: [ConfigKey] = [
        AWSKeys.region(),
        AWSKeys.authentication(takesBearer: true, takesKey: false),
        AWSKeys.role,
        ConfigKey(
            "guardrail",
            .section(
                ConfigSection([
                    ConfigKey(
                        "id", .string(minimum: 1), required: true, "The guardrail's id or ARN.",
                        check: AWSKeys.headerValue),
                    ConfigKey(
                        "version", .string(minimum: 1), required: true, "Its version, in quotes, or DRAFT.",
                        check: AWSKeys.headerValue),
                ])),
            "An Amazon Bedrock guardrail for every message."),
        ConfigKey(
            "guardrail_trace", .boolean, default: "false", "Whether the guardrail's trace is asked for."),
    ]

    package static let rules: [ConfigSection.Rule] = [AWSKeys.roleRule]
}
