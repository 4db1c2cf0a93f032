// SPDX-License-Identifier: Apache-2.0

package import GatewayConfig

/// A `models[]` entry: a model that the operator defines or maps.
package struct CustomModel: Sendable {
    package let id: String
    package let label: String?
    package let description: String?
    /// The id to send, by upstream name.
    package let upstreamModel: [String: String]

    package init(id: String, label: String? = nil, description: String? = nil, upstreamModel: [String: String]) {
        self.id = id
        self.label = label
        self.description = description
        self.upstreamModel = upstreamModel
    }

    package init(_ node: ConfigNode) {
        self.id = node["id"]?.string ?? ""
        self.label = node["label"]?.string
        self.description = node["description"]?.string
        var targets: [String: String] = [:]
        for member in node["upstream_model"]?.members ?? [] { targets[member.key] = member.value.string }
        self.upstreamModel = targets
    }

    package static let section = ConfigSection([
        ConfigKey("id", .string(minimum: 1), required: true, "The name that clients request.", example: "team-model"),
        ConfigKey("label", .string(), "The name that people see."),
        ConfigKey("description", .string(), "A sentence for model pickers."),
        ConfigKey(
            "upstream_model", .map(of: .string()), required: true,
            "The id to send, by upstream name: { anthropic: claude-opus-4-8 }.",
            example: "{ anthropic: claude-opus-4-8 }",
            check: { $0.members.isEmpty ? "is empty; name at least one upstream and the id it takes." : nil }),
    ])
}

/// Which model strings lead to which upstream, under which id. Built once from the configuration; look-ups are a
/// dictionary access.
package struct ModelCatalog: Sendable {
    /// A row of `GET /v1/models`.
    package struct Listing: Sendable {
        package let id: String
        package let displayName: String
        package let label: String?
        package let description: String?
        package let maximumInputTokens: Int?
        package let supportsMillionTokens: Bool
        /// Indexes of the upstreams that serve it.
        package let upstreams: [Int]
    }

    /// What one upstream makes of a model string.
    package enum Resolution: Sendable, Equatable {
        case upstreamID(String)
        /// No configured or built-in model has that spelling.
        case unknown
        /// `upstreams[].models` leaves it out.
        case notServed
        /// The provider does not have this built-in model.
        case unavailable
    }

    package let listings: [Listing]
    private let resolutions: [String: [Resolution]]
    private let upstreamCount: Int

    package init(custom: [CustomModel], includesBuiltIns: Bool, upstreams: [UpstreamSettings]) {
        self.upstreamCount = upstreams.count
        let builtIns = includesBuiltIns ? BuiltInModel.all : []
        var resolutions: [String: [Resolution]] = [:]
        var listings: [Listing] = []

        // A restriction names models in any of their spellings.
        func allows(_ upstream: UpstreamSettings, _ spellings: Set<String>) -> Bool {
            guard let models = upstream.models else { return true }
            return models.contains { spellings.contains($0.lowercased()) }
        }
        func builtIn(spelled name: String) -> BuiltInModel? {
            BuiltInModel.all.first { $0.spellings.contains(name) }
        }
        func resolve(_ upstream: UpstreamSettings, _ spellings: Set<String>, _ id: String?) -> Resolution {
            if !allows(upstream, spellings) { return .notServed }
            return id.map(Resolution.upstreamID) ?? .unavailable
        }

        for model in custom {
            let name = model.id.lowercased()
            let base = builtIn(spelled: name)
            let spellings = (base?.spellings ?? []).union([name])
            let row = upstreams.map { upstream in
                let id =
                    model.upstreamModel[upstream.name] ?? base.flatMap { upstream.provider.modelID(of: $0, upstream) }
                return resolve(upstream, spellings, id)
            }
            for spelling in spellings where resolutions[spelling] == nil { resolutions[spelling] = row }
            listings.append(
                Listing(
                    id: model.id, displayName: model.label ?? model.id, label: model.label,
                    description: model.description, maximumInputTokens: nil,
                    supportsMillionTokens: base?.supportsMillionTokens ?? false, upstreams: Self.serving(row)))
        }
        for model in builtIns {
            let row = upstreams.map { resolve($0, model.spellings, $0.provider.modelID(of: model, $0)) }
            let isMapped = model.spellings.contains { resolutions[$0] != nil }
            for spelling in model.spellings where resolutions[spelling] == nil { resolutions[spelling] = row }
            if model.isListed, !isMapped {
                listings.append(
                    Listing(
                        id: model.id, displayName: model.id, label: nil, description: nil,
                        maximumInputTokens: model.maximumInputTokens,
                        supportsMillionTokens: model.supportsMillionTokens, upstreams: Self.serving(row)))
            }
        }
        self.resolutions = resolutions
        self.listings = listings
    }

    /// One resolution for each upstream, in configuration order. Spellings compare without case.
    package func resolve(_ model: String) -> [Resolution] {
        if let row = self.resolutions[model] ?? self.resolutions[model.lowercased()] { return row }
        return Array(repeating: .unknown, count: self.upstreamCount)
    }

    /// Whether a price for that model at that upstream can ever be used: the model is requested under that name there,
    /// or it is the id that the upstream gets.
    package func canBill(_ model: String, upstream: Int) -> Bool {
        if case .upstreamID = self.resolve(model)[upstream] { return true }
        let meant = BuiltInModel.spelled(model)
        return self.resolutions.contains { spelling, row in
            guard case .upstreamID(let id) = row[upstream] else { return false }
            if id.lowercased() == model.lowercased() { return true }
            return meant.map { $0.spellings.contains(spelling) } ?? false
        }
    }

    private static func serving(_ row: [Resolution]) -> [Int] {
        row.indices.filter { if case .upstreamID = row[$0] { true } else { false } }
    }
}
