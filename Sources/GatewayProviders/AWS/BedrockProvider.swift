// SPDX-License-Identifier: Apache-2.0

package import GatewayConfig
internal import GatewayCore

/// Amazon Bedrock's `InvokeModel` API.
///
/// Source: <https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-anthropic-claude-messages.html>.
package struct BedrockProvider: Provider {
    package static let name = "bedrock"
    package static let lacks = Capability.serverTools

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
        BedrockProfiles.prefix(ofRegion: self.region) + model.bedrock
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
        var headers = CloudRequest.headers(
            for: call, upstream, agent: "bedrock", passesBetas: false, passesTags: false)
        var authorization = UpstreamRequest.Authorization.awsV4(service: "bedrock", region: self.region)
        if case .bearer(let token) = self.authentication {
            headers.append(("authorization", "Bearer " + token.reveal()))
            authorization = .included
        }
        if call.endpoint == .countTokens {
            return try self.count(call, upstreamModel, upstream, headers, authorization)
        }
        if let guardrail {
            headers.append(("x-amzn-bedrock-guardrailidentifier", guardrail.id))
            headers.append(("x-amzn-bedrock-guardrailversion", guardrail.version))
            if self.tracesGuardrail { headers.append(("x-amzn-bedrock-trace", "ENABLED")) }
        }
        var editor = CloudRequest.editor(for: call, model: nil, passesTags: false)
        editor.remove(.stream)
        let betas = self.betas(call)
        editor.remove(.anthropicBeta)
        if !betas.isEmpty { editor.append("\"anthropic_beta\":" + JSONValue.array(betas.map(JSONValue.string)).text()) }
        CloudRequest.appendVersion(to: &editor, call, original: Self.bodyVersion)
        let action = call.streams ? "invoke-with-response-stream" : "invoke"
        return UpstreamRequest(
            target: "\(upstream.basePath)/model/\(PathSegment.encode(upstreamModel, also: ":"))/\(action)",
            headers: FieldBlock(headers), edits: editor.edits, authorization: authorization,
            answer: call.streams ? .eventStream : .messages)
    }

    static let bodyVersion = "bedrock-2023-05-31"

    /// The body's own list first, then the header's.
    private func betas(_ call: InboundCall) -> [String] {
        let own = (call.value(.anthropicBeta)?.array ?? []).compactMap(\.string)
        return CloudRequest.unique(
            CloudRequest.withoutTags(own) + CloudRequest.betas(call, passesTags: false))
    }

    /// CountTokens takes the body that InvokeModel would get, in base64, for a foundation model.
    private func count(
        _ call: InboundCall, _ model: String, _ upstream: UpstreamSettings, _ headers: [(name: String, value: String)],
        _ authorization: UpstreamRequest.Authorization,
    ) throws(ProviderRefusal) -> UpstreamRequest {
        guard let foundation = BedrockProfiles.foundationModel(model) else {
            throw .unsupported("\(upstream.name) cannot count for that model")
        }
        var editor = CloudRequest.editor(for: call, model: nil, passesTags: false)
        editor.remove(.anthropicBeta)
        if call.value(.tools)?.array?.isEmpty == true { editor.remove(.tools) }
        let betas = CloudRequest.betas(call, passesTags: false).filter(Self.countBetas.contains)
        if !betas.isEmpty { editor.append("\"anthropic_beta\":" + JSONValue.array(betas.map(JSONValue.string)).text()) }
        CloudRequest.appendVersion(to: &editor, call, original: Self.bodyVersion)
        if editor.member(.maximumTokens) == nil {
            let budget = call.value(.thinking)?["budget_tokens"]?.integer ?? 0
            editor.append("\"max_tokens\":\(budget + 1)")
        }
        let inner = BodyEditor.apply(editor.edits, to: AnyBody(call.body))
        let body = "{\"input\":{\"invokeModel\":{\"body\":\"\(Base64.encode(inner))\"}}}"
        return UpstreamRequest(
            target: "\(upstream.basePath)/model/\(PathSegment.encode(foundation, also: ":"))/count-tokens",
            headers: FieldBlock(headers), body: Array(body.utf8), authorization: authorization, answer: .bedrockCount)
    }

    /// The betas that counting takes.
    private static let countBetas: Set<String> = [
        "claude-code-20250219", "oauth-2025-04-20", "context-management-2025-06-27",
    ]

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

/// A body behind a concrete type, for generic code.
struct AnyBody: BodyReading {
    private let body: any BodyReading

    init(_ body: any BodyReading) {
        self.body = body
    }

    var count: Int { self.body.count }
    func bytes(_ range: Range<Int>) -> [UInt8] { self.body.bytes(range) }
}

/// Bedrock's geographic inference profiles: an id that spreads requests over the regions of a geography.
///
/// Source: <https://docs.aws.amazon.com/bedrock/latest/userguide/inference-profiles-support.html>.
package enum BedrockProfiles {
    /// What stands before a foundation model's id in requests from that region; empty where there is no profile.
    package static func prefix(ofRegion region: String) -> String {
        let region = region.lowercased()
        if region.hasPrefix("us-gov-") { return "us-gov." }
        switch region.prefix(3) {
        case "us-", "ca-": return "us."
        case "eu-": return "eu."
        case "ap-":
            switch region {
            case "ap-northeast-1", "ap-northeast-3": return "jp."
            case "ap-southeast-2", "ap-southeast-4": return "au."
            default: return "apac."
            }
        default: return ["sa-", "me-", "af-", "il-", "mx-"].contains(region.prefix(3)) ? "global." : ""
        }
    }

    private static let geographies: Set<String> = ["us", "eu", "apac", "jp", "au", "global", "us-gov"]

    /// The bare foundation model of an id or of an inference profile's ARN; `nil` for what only AWS can resolve.
    package static func foundationModel(_ id: String) -> String? {
        var id = id
        if id.hasPrefix("arn:") {
            guard let mark = id.range(of: ":inference-profile/") else { return nil }
            id = String(id[mark.upperBound...])
            guard let dot = id.firstIndex(of: "."), self.geographies.contains(String(id[..<dot])) else { return nil }
        }
        if let dot = id.firstIndex(of: "."), self.geographies.contains(String(id[..<dot])) {
            return String(id[id.index(after: dot)...])
        }
        return id
    }
}
