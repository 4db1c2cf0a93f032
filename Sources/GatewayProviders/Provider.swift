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

    /// How to try the credential; `nil` where there is no such way.
    func probe(_ upstream: UpstreamSettings) -> UpstreamProbe?
}

extension Provider {
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

/// What a client asked for, as far as providers need to know it.
package struct InboundCall: Sendable {
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
    /// The client's headers in order; names as sent.
    package let headers: [(name: String, value: String)]
    /// The model string as sent, and the places of its JSON text (quotes included) in the body: one, unless the client
    /// repeats the key with an equal value.
    package let model: String
    package let modelRanges: [Range<Int>]
    package let principal: Principal
    package let requestID: RequestID

    package init(
        endpoint: Endpoint, query: String, headers: [(name: String, value: String)], model: String,
        modelRanges: [Range<Int>], principal: Principal, requestID: RequestID,
    ) {
        self.endpoint = endpoint
        self.query = query
        self.headers = headers
        self.model = model
        self.modelRanges = modelRanges
        self.principal = principal
        self.requestID = requestID
    }
}

/// A request to an upstream: the client's body with a few places replaced, never serialised again.
package struct UpstreamRequest: Sendable {
    package var target: String
    package var headers: [(name: String, value: String)]
    /// In ascending order, not overlapping; ranges are offsets in the client's body.
    package var edits: [BodyEdit]

    package init(target: String, headers: [(name: String, value: String)], edits: [BodyEdit] = []) {
        self.target = target
        self.headers = headers
        self.edits = edits
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
