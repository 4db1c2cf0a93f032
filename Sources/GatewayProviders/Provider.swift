// SPDX-License-Identifier: Apache-2.0

package import GatewayConfig
package import GatewayCore

/// A kind of upstream: how a request in the Messages format is put to it. Providers describe requests as values and
/// never touch a socket.
package protocol Provider: Sendable {
    /// The value of `upstreams[].provider`.
    static var name: String { get }
    /// The keys besides the common ones, `auth` included.
    static var keys: [ConfigKey] { get }
    static var rules: [ConfigSection.Rule] { get }
    /// Where requests go when `base_url` is absent.
    static func baseURL(_ node: ConfigNode) -> String

    init(_ node: ConfigNode)

    /// The id under which this provider has a built-in model; `nil` when it lacks it.
    func modelID(of model: BuiltInModel, _ upstream: UpstreamSettings) -> String?

    /// Puts an inbound request into the upstream's form.
    func request(for call: InboundCall, upstreamModel: String, _ upstream: UpstreamSettings) throws(ProviderRefusal)
        -> UpstreamRequest

    /// What the gateway must hold to sign requests.
    var credential: CredentialNeed { get }

    /// Whether answers go to the client as they come, headers and errors included: the upstream is Anthropic's API or the
    /// operator's own. Otherwise they are a cloud provider's, whose texts stay on the gateway.
    static var passesAnswers: Bool { get }

    /// What this kind of upstream does not have.
    static var lacks: Set<Capability> { get }

    /// How to try the credential; `nil` where there is no such way.
    func probe(_ upstream: UpstreamSettings) -> UpstreamProbe?
}

extension Provider {
    package static var passesAnswers: Bool { false }
    package static var lacks: Set<Capability> { [] }
    package var credential: CredentialNeed { .none }
    package func probe(_ upstream: UpstreamSettings) -> UpstreamProbe? { nil }
}

/// A request that costs nothing and shows whether an upstream takes the gateway's credential.
package struct UpstreamProbe: Sendable {
    package let url: String
    package let headers: [(name: String, value: String)]

    package init(url: String, headers: [(name: String, value: String)]) {
        self.url = url
        self.headers = headers
    }
}

/// Why a request cannot be put to a provider.
package enum ProviderRefusal: Error, Sendable {
    /// The provider has nothing of the kind.
    case unsupported(String)
}

/// A credential that is fetched and renewed while the gateway runs.
package enum CredentialNeed: Sendable {
    /// The configuration holds it.
    case none
    case aws(AWSAuthentication, role: AWSRole?, region: String)
    case google(GoogleAuthentication)
    /// A Microsoft Entra token of the environment's identity.
    case azure
    case federation(AnthropicProvider.Federation)
}

/// What a client asked for, as far as providers need to know it. Confined to the request's event loop.
package final class InboundCall {
    /// The paths that model requests come in on.
    package enum Endpoint: Sendable {
        case messages
        case countTokens

        package var path: String {
            switch self {
            case .messages: "/v1/messages"
            case .countTokens: "/v1/messages/count_tokens"
            }
        }
    }

    package let endpoint: Endpoint
    /// The query with its `?`, as the client wrote it; empty without one.
    package let query: String
    /// The client's headers.
    private var fields: any ForwardableHeaders
    /// The values that stand instead of the client's own `anthropic-beta`.
    private let betas: [String]?
    /// The model string as sent, and the places of its JSON text (quotes included) in the body: one, unless the client
    /// repeats the key with an equal value.
    package let model: String
    package let modelRanges: [Range<Int>]
    /// Whether the body has `"stream": true`.
    package let streams: Bool
    /// The body's top level, where some upstream needs it.
    package private(set) var members: [BodyMember]
    package private(set) var body: any BodyReading
    package let principal: Principal
    package let requestID: RequestID

    package init(
        endpoint: Endpoint, query: String, headers: any ForwardableHeaders, betas: [String]? = nil, model: String,
        modelRanges: [Range<Int>], streams: Bool = false, members: [BodyMember] = [],
        body: any BodyReading = EmptyBody(), principal: Principal, requestID: RequestID,
    ) {
        self.endpoint = endpoint
        self.query = query
        self.fields = headers
        self.betas = betas
        self.model = model
        self.modelRanges = modelRanges
        self.streams = streams
        self.members = members
        self.body = body
        self.principal = principal
        self.requestID = requestID
    }

    /// The same prompt as a question about its length.
    ///
    /// - Parameter body: What counts of the client's body.
    package func counting(
        _ body: any BodyReading, modelRanges: [Range<Int>], members: [BodyMember],
    ) -> InboundCall {
        InboundCall(
            endpoint: .countTokens, query: self.query, headers: self.fields, betas: self.betas, model: self.model,
            modelRanges: modelRanges, members: members, body: body, principal: self.principal,
            requestID: self.requestID)
    }

    /// Calls with each header that some upstream may want to know of, in order, and with what becomes of it at one that
    /// speaks the Messages API.
    package func visitHeaders(
        _ body: (ForwardedHeaders.Disposition, _ name: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer) -> Void,
    ) {
        guard let betas else {
            self.fields.visitForwardable(body)
            return
        }
        self.fields.visitForwardable { disposition, name, value in
            if disposition != .beta { body(disposition, name, value) }
        }
        FieldBlock(betas.map { ("anthropic-beta", $0) }).visitForwardable(body)
    }

    /// Lets go of the body, when nothing will be sent again.
    package func dropBody(keepingHeaders: Bool) {
        if !keepingHeaders { self.fields = FieldBlock() }
        self.members = []
        self.body = EmptyBody()
    }

    package var editor: BodyEditor {
        // The object ends at the last brace; only white space follows it.
        var end = self.body.count
        while end > 0, self.body.bytes(end - 1..<end) != [0x7D] { end -= 1 }
        return BodyEditor(members: self.members, end: max(0, end - 1))
    }

    /// The value of a top-level member, parsed. Only for small ones.
    package func value(_ key: BodyMember.Key) -> JSONValue? {
        guard let member = self.members.last(where: { $0.key == key }) else { return nil }
        return try? JSONValue(parsing: self.body.bytes(member.value))
    }

    /// The values of all headers of that name, compared without case.
    package func headerValues(_ name: StaticString) -> [String] {
        var values: [String] = []
        self.visitHeaders { _, found, value in
            if found.matches(name) { values.append(String(decoding: value, as: UTF8.self)) }
        }
        return values
    }
}

package struct EmptyBody: BodyReading {
    package init() {}
    package var count: Int { 0 }
    package func bytes(_ range: Range<Int>) -> [UInt8] { [] }
}

/// A request to an upstream: the client's body with a few places replaced, never serialised again. Confined to the
/// event loop that it is made on.
package final class UpstreamRequest {
    /// What is still missing for the upstream to know the gateway.
    package enum Authorization: Sendable, Equatable {
        /// The headers have it already.
        case included
        /// AWS Signature Version 4 over the whole request.
        case awsV4(service: String, region: String)
        /// `authorization: Bearer` with a fetched token.
        case bearer
    }

    /// How a good answer is read.
    package enum Answer: Sendable, Equatable {
        /// As the client is to get it.
        case messages
        /// Frames of `application/vnd.amazon.eventstream`, when it streams.
        case eventStream
        /// `{"inputTokens": N}`.
        case bedrockCount
    }

    package var target: String
    /// Its headers, `host` among them, without those that say how long the body is.
    package var headers: FieldBlock
    /// In ascending order, not overlapping; ranges are offsets in the client's body.
    package var edits: [BodyEdit]
    /// Sent instead of the client's body.
    package var body: [UInt8]?
    package var authorization: Authorization
    package var answer: Answer

    package init(
        target: String, headers: FieldBlock, edits: [BodyEdit] = [], body: [UInt8]? = nil,
        authorization: Authorization = .included, answer: Answer = .messages,
    ) {
        self.target = target
        self.headers = headers
        self.edits = edits
        self.body = body
        self.authorization = authorization
        self.answer = answer
    }
}

package struct BodyEdit: Sendable, Equatable {
    package let range: Range<Int>
    package let replacement: [UInt8]

    package init(range: Range<Int>, replacement: [UInt8]) {
        self.range = range
        self.replacement = replacement
    }
}

/// Every upstream kind that the gateway can talk to. A new provider adds its line here.
package enum ProviderRegistry {
    package static let standard: [any Provider.Type] = [
        AnthropicProvider.self, BedrockProvider.self, MantleProvider.self, AnthropicAWSProvider.self,
        AnthropicGoogleCloudProvider.self, VertexProvider.self, FoundryProvider.self,
    ]
}
