// SPDX-License-Identifier: Apache-2.0

package import GatewayConfig
package import GatewayCore

/// One entry of `upstreams`.
/// A class, because it is looked at with each request and never changes.
package final class UpstreamSettings: Sendable {
    package let name: String
    package let provider: any Provider
    /// What its kind does with answers.
    package let passesAnswers: Bool
    package let baseURL: WebURL
    /// The path of `base_url` without a trailing slash; requests' own paths follow it.
    package let basePath: String
    /// What a request's `Host` says.
    package let authority: String
    /// The targets of requests in the Messages format, without a query.
    private let messagesTarget: String
    private let countTarget: String
    /// `host`, and what is in `headers`: never a name that the provider adds itself, for those are reserved
    /// (`UpstreamHeaders`).
    package let ownFields: FieldBlock
    /// Only these models go to this upstream; `nil` means all.
    package let models: [String]?
    /// Only members of one of these groups are sent to this upstream; `nil` means everyone.
    package let groups: [String]?
    /// Added to every request to this upstream, each name once.
    package let headers: [(name: String, value: String)]
    /// Their names in lower case.
    private let headerNames: Set<String>
    /// Statuses after which another upstream is tried; `nil` for the usual ones.
    package let failsOverOn: Set<Int>?
    /// What requests may need and this upstream does not have.
    package let lacks: Set<Capability>
    /// How its host is reached.
    package let transport: Transport
    /// Its share among neighbours that have a weight too; `nil` for a fixed place in the order.
    package let weight: Double?

    /// How an upstream's host is reached.
    package struct Transport: Sendable, Equatable {
        package enum Proxying: Sendable, Equatable {
            /// As `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY` say.
            case environment
            case direct
            case through(ForwardProxy)
        }

        package var proxying = Proxying.environment
        /// PEM certificates to trust besides the system's.
        package var trustedCertificates: String?

        package init() {}

        init(_ node: ConfigNode) {
            switch node["proxy"]?.string {
            case nil: break
            case "none": self.proxying = .direct
            case .some(let text): self.proxying = ForwardProxy(text).map(Proxying.through) ?? .environment
            }
            self.trustedCertificates = node["ca_cert_pem"]?.string.flatMap { $0.isEmpty ? nil : $0 }
        }
    }

    package init(
        name: String, provider: any Provider, baseURL: WebURL, models: [String]? = nil, groups: [String]? = nil,
        headers: [(name: String, value: String)] = [], failsOverOn: Set<Int>? = nil, weight: Double? = nil,
        transport: Transport = Transport(), lacks: Set<Capability>? = nil,
    ) {
        self.lacks = lacks ?? type(of: provider).lacks
        self.transport = transport
        self.failsOverOn = failsOverOn
        self.weight = weight
        self.name = name
        self.provider = provider
        self.passesAnswers = type(of: provider).passesAnswers
        self.baseURL = baseURL
        var path = baseURL.path
        while path.hasSuffix("/") { path.removeLast() }
        self.basePath = path
        self.authority = baseURL.authority
        self.models = models
        self.groups = groups
        self.headers = headers.enumerated().filter { index, header in
            !headers[(index + 1)...].contains { $0.name.lowercased() == header.name.lowercased() }
        }.map(\.element)
        self.messagesTarget = path + InboundCall.Endpoint.messages.path
        self.countTarget = path + InboundCall.Endpoint.countTokens.path
        self.ownFields = FieldBlock([("host", baseURL.authority)] + self.headers)
        self.headerNames = Set(self.headers.map { $0.name.lowercased() })
    }

    /// The target of a request in the Messages format.
    package func target(_ endpoint: InboundCall.Endpoint) -> String {
        switch endpoint {
        case .messages: self.messagesTarget
        case .countTokens: self.countTarget
        }
    }

    /// Whether the operator has a header of that name, in any case.
    package func sets(_ name: UnsafeRawBufferPointer) -> Bool {
        !self.headerNames.isEmpty
            && self.headerNames.contains(String(decoding: name, as: UTF8.self).lowercased())
    }

    package convenience init?(_ node: ConfigNode, registry: [any Provider.Type] = ProviderRegistry.standard) {
        guard let kind = registry.first(where: { $0.name == node["provider"]?.string }),
            let url = WebURL(node["base_url"]?.string ?? kind.baseURL(node))
        else { return nil }
        self.init(
            name: node["name"]?.string ?? kind.name, provider: kind.init(node), baseURL: url,
            models: node["models"].map(\.strings), groups: node["groups"].map(\.strings),
            headers: (node["headers"]?.members ?? []).map { ($0.key, $0.value.string ?? "") },
            failsOverOn: (node["failover"]?["on"]?.list).map { Set($0.compactMap(\.integer)) },
            weight: node["weight"]?.number, transport: Transport(node), lacks: Self.lacks(node["capabilities"], kind))
    }

    /// What the kind lacks, corrected by what the file says of this one.
    private static func lacks(_ node: ConfigNode?, _ kind: any Provider.Type) -> Set<Capability> {
        Capability.allCases.reduce(into: kind.lacks) { lacks, capability in
            switch node?[capability.rawValue]?.boolean {
            case true?: lacks.remove(capability)
            case false?: lacks.insert(capability)
            case nil: break
            }
        }
    }

    package func serves(_ principal: Principal) -> Bool {
        self.groups.map { principal.isMember(ofAny: $0) } ?? true
    }

    /// The keys of every kind.
    private static let commonKeys: [ConfigKey] = [
        ConfigKey("provider", .string(minimum: 1), required: true, "The kind of upstream.", example: "anthropic"),
        ConfigKey("name", .string(), default: "the provider", "A name of its own; needed when a kind is used twice."),
        ConfigKey(
            "base_url", .outboundURL, "Where requests go, when not to the provider's own address."),
        ConfigKey(
            "models", .list(of: .string(minimum: 1), minimum: 1),
            "Only these models go to this upstream, named as clients send them. Leave it out for every model."),
        ConfigKey(
            "groups", .list(of: .string(minimum: 1), minimum: 1),
            "Only developers in one of these IdP groups are sent to this upstream. Leave it out for everyone."),
        ConfigKey(
            "headers", .map(of: .string()), "Headers added to every request to this upstream.",
            inspect: UpstreamHeaders.inspection),
        ConfigKey(
            "failover",
            .section(
                ConfigSection([
                    ConfigKey(
                        "on", .list(of: .integer(minimum: 400, maximum: 599)), required: true,
                        "The statuses after which the next upstream is tried, instead of 401, 403, 404, 429 and 500 to 599.",
                        example: "[429, 500, 502, 503, 529]")
                ])),
            "When another upstream is tried after this one's answer. Connection failures always are such a case."),
        ConfigKey(
            "capabilities",
            .section(
                ConfigSection(
                    Capability.allCases.map { capability in
                        ConfigKey(
                            capability.rawValue, .boolean, default: "what the provider is known for",
                            "Whether it has \(capability.noun).")
                    })),
            "What this upstream has, where it differs from its kind. Requests go only to upstreams that have what they need."
        ),
        ConfigKey(
            "proxy", .string(minimum: 1), default: "what HTTPS_PROXY, HTTP_PROXY and NO_PROXY say",
            "The forward proxy for this upstream, like http://user:password@proxy.example.com:3128, or none.",
            check: { node in
                node.string == "none" || ForwardProxy(node.string ?? "") != nil
                    ? nil
                    : "is not a proxy's URL; write it like http://proxy.example.com:3128, or none to go direct."
            }),
        ConfigKey(
            "ca_cert_pem", .string(), "PEM certificates that vouch for this upstream, besides the system's.",
            check: { node in
                let text = node.string ?? ""
                return text.isEmpty || PEM.certificates(in: text) != nil
                    ? nil
                    : "holds no usable PEM certificate; write the CA's certificates, each from -----BEGIN CERTIFICATE----- to -----END CERTIFICATE-----."
            }),
        ConfigKey(
            "weight", .number(above: 0, maximum: 1000),
            "This upstream's share among neighbours in the list that have a weight too. Without it, the order is fixed."
        ),
    ]

    /// `upstreams[]`, with the keys that each kind adds.
    package static func shape(registry: [any Provider.Type] = ProviderRegistry.standard) -> ConfigShape {
        .variants(
            discriminator: "provider",
            registry.map { kind in
                (name: kind.name, section: ConfigSection(self.commonKeys + kind.keys, rules: kind.rules))
            })
    }

    /// Rules over all upstreams together.
    package static func rules(_ list: ConfigNode, into report: inout ConfigReport) {
        var seen: Set<String> = []
        for entry in list.list {
            guard let name = (entry["name"] ?? entry["provider"])?.string else { continue }
            if !seen.insert(name).inserted {
                report.error(
                    entry["name"] ?? entry,
                    "another upstream is already named '\(name.singleLine)'; give each its own name.")
            }
        }
        if list.list.contains(where: { $0["guardrail"] != nil }) {
            for entry in list.list where entry["provider"]?.string == MantleProvider.name {
                report.error(
                    entry,
                    "cannot stand beside a bedrock upstream with a guardrail, which it would bypass; remove one of them."
                )
            }
        }
    }
}
