// SPDX-License-Identifier: Apache-2.0

internal import Crypto
package import GatewayCore
internal import Synchronization

/// The settings that reach one developer: merged, serialised and hashed once, then shared by everyone they fit.
package final class EffectivePolicy: Sendable {
    /// The matched policy's place in the file; `nil` for settings that come from no policy.
    package let index: Int?
    package let settings: JSONObject
    /// `sha256:` and the hexadecimal SHA-256 of the canonical settings. The client computes the same over its copy.
    package let checksum: String
    /// The answer of `GET /managed/settings`.
    package let body: [UInt8]
    /// `nil` allows every model that an upstream serves.
    package let models: ModelAllowList?
    package let reachesDesktop: Bool
    /// Claude Desktop's settings; `nil` when no policy that applies has a `desktop` block.
    package let desktop: JSONObject?
    /// Whether the settings come from a `code` block that is not empty: such settings must not be missed.
    package let isRequired: Bool

    init(index: Int?, settings: JSONObject, reachesDesktop: Bool, isRequired: Bool, desktop: JSONObject?) {
        self.index = index
        self.desktop = desktop
        self.settings = settings
        let value = JSONValue.object(settings)
        let digest = SHA256.hash(data: value.bytes(order: .canonical))
        let checksum = "sha256:" + Hexadecimal.encode(digest)
        self.checksum = checksum
        self.body = JSONValue.object(["uuid": .string(checksum), "checksum": .string(checksum), "settings": value])
            .bytes()
        self.models = settings["availableModels"].map { value in
            // A list of another type counts as empty in the client; here as well, so that nothing slips through.
            ModelAllowList((value.array ?? []).compactMap(\.string))
        }
        self.reachesDesktop = reachesDesktop
        self.isRequired = isRequired
    }

    package var entityTag: String { "\"\(self.checksum)\"" }
}

/// The `managed` section, compiled: decides which settings a developer gets.
package final class ManagedPolicies: Sendable {
    package enum Mode: String, Sendable {
        /// The first policy that fits, over the base.
        case firstMatch = "first_match"
        /// Every policy that fits, earlier ones winning, over the base.
        case layered
    }

    /// One entry of `managed.policies`.
    package struct Policy: Sendable {
        package var match: PolicyMatch
        /// The block's settings; `nil` when the policy has none.
        package var settings: JSONObject?
        package var desktop: JSONObject?
        package var servesDesktop: Bool

        package init(
            match: PolicyMatch, settings: JSONObject?, desktop: JSONObject? = nil, servesDesktop: Bool = false,
        ) {
            self.match = match
            self.settings = settings
            self.desktop = desktop
            self.servesDesktop = servesDesktop
        }
    }

    /// What a developer's claims lead to.
    package enum Outcome: Sendable {
        case policy(EffectivePolicy)
        /// Policies exist and none fits.
        case unmatched
        /// There is nothing to serve to anybody.
        case notConfigured
    }

    private let policies: [Policy]
    private let mode: Mode
    private let usesCode: Bool
    /// Settings for everybody, used when there are no policies.
    private let common: JSONObject?
    private let telemetry: JSONObject
    /// What clients are told that models cost; `nil` leaves them their own list.
    private let modelPricing: JSONValue?
    /// Whether there is anything to serve to anybody.
    package let isConfigured: Bool
    /// Effective policies by the indexes of the policies that they are made of. Bounded by what the file can combine.
    private let compiled = Mutex<[[Int]: EffectivePolicy]>([:])

    /// - Parameters:
    ///   - usesCode: Whether the file's blocks are `code` blocks, which reach Claude Desktop too.
    ///   - telemetry: Variables put under each policy's `env`; empty when there is nothing to export to.
    ///   - modelPricing: Put into each policy's settings, unless they have their own.
    package init(
        policies: [Policy], mode: Mode = .firstMatch, usesCode: Bool = false, common: JSONObject? = nil,
        telemetry: JSONObject = [:], modelPricing: JSONValue? = nil,
    ) {
        self.modelPricing = policies.isEmpty ? nil : modelPricing
        self.policies = policies
        self.mode = mode
        self.usesCode = usesCode
        self.common = policies.isEmpty ? common : nil
        self.telemetry = telemetry
        self.isConfigured = !policies.isEmpty || common != nil || !telemetry.isEmpty
    }

    /// Whether any policy has something for Claude Desktop.
    package var servesDesktop: Bool { self.policies.contains { $0.desktop != nil } }

    package func outcome(for principal: Principal) -> Outcome {
        guard self.isConfigured else { return .notConfigured }
        guard !self.policies.isEmpty else { return .policy(self.effective([])) }
        let layers = self.layers(for: principal)
        return layers.isEmpty ? .unmatched : .policy(self.effective(layers))
    }

    /// The policies that apply, in file order: the strongest first, the base last.
    package func layers(for principal: Principal) -> [Int] {
        var layers: [Int] = []
        for (index, policy) in self.policies.enumerated() {
            if policy.match.isCatchAll {
                layers.append(index)
                break
            }
            if self.mode == .firstMatch, !layers.isEmpty { continue }
            if policy.match.fits(principal) { layers.append(index) }
        }
        return layers
    }

    /// Where the parts of somebody's settings come from.
    package struct Origin: Sendable {
        package enum Source: Sendable, Equatable {
            case policy(Int)
            /// The file that `managed.settings` names.
            case common
            /// The gateway itself, because it relays telemetry.
            case telemetry
            /// The `pricing` section.
            case pricing
        }

        /// A key, or a key and a sub-key where those are merged one by one.
        package let key: String
        package let value: JSONValue
        /// Several where values are united.
        package let sources: [Source]
    }

    /// The settings that those layers lead to, part by part.
    package func origins(_ layers: [Int]) -> [Origin] {
        let documents = layers.map { (source: Origin.Source.policy($0), settings: self.policies[$0].settings ?? [:]) }
        func sources(_ isUnited: Bool, _ value: (JSONObject) -> JSONValue?) -> [Origin.Source] {
            let found = documents.filter { value($0.settings) != nil }.map(\.source)
            if found.isEmpty {
                if let modelPricing, value(["modelPricing": modelPricing]) != nil { return [.pricing] }
                return [self.common.flatMap(value) == nil ? .telemetry : .common]
            }
            return isUnited ? found.reversed() : [found[0]]
        }
        return self.effective(layers).settings.members.flatMap { key, value -> [Origin] in
            guard let object = value.object, SettingsMerge.mergesParts(of: key) else {
                return [Origin(key: key, value: value, sources: sources(SettingsMerge.unites(key)) { $0[key] })]
            }
            return object.members.map { part, value in
                let isUnited = SettingsMerge.unites(part, of: key)
                return Origin(
                    key: "\(key).\(part)", value: value, sources: sources(isUnited) { $0[key]?.object?[part] })
            }
        }
    }

    /// How somebody is matched, policy by policy.
    package var matches: [PolicyMatch] { self.policies.map(\.match) }

    private func effective(_ layers: [Int]) -> EffectivePolicy {
        if let known = self.compiled.withLock({ $0[layers] }) { return known }
        let made = self.compile(layers)
        self.compiled.withLock { $0[layers] = made }
        return made
    }

    private func desktop(_ layers: [Int]) -> JSONObject? {
        // The chosen policy opts in, or the base does for everybody.
        guard layers.contains(where: { self.policies[$0].desktop != nil }) else { return nil }
        var settings: JSONObject = [:]
        for index in layers.reversed() {
            settings = DesktopMerge.merge(self.policies[index].desktop ?? [:], over: settings)
        }
        return settings
    }

    /// - Parameter layers: In file order: the strongest first, the base last.
    private func compile(_ layers: [Int]) -> EffectivePolicy {
        var settings = self.common ?? [:]
        for index in layers.reversed() {
            settings = SettingsMerge.merge(self.policies[index].settings ?? [:], over: settings)
        }
        let hasOwn = !settings.isEmpty
        if !self.telemetry.isEmpty {
            var env = self.telemetry
            for (key, value) in settings["env"]?.object?.members ?? [] { env[key] = value }
            settings["env"] = .object(env)
        }
        if let modelPricing, settings["modelPricing"] == nil { settings["modelPricing"] = modelPricing }
        let chosen = layers.first.map { self.policies[$0] }
        return EffectivePolicy(
            index: layers.first, settings: settings,
            reachesDesktop: self.usesCode ? hasOwn : chosen?.servesDesktop ?? false,
            isRequired: self.usesCode && hasOwn, desktop: self.desktop(layers))
    }
}
