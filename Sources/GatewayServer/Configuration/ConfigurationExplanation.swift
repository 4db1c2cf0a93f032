// SPDX-License-Identifier: Apache-2.0

package import GatewayCore
internal import GatewayIdentity
internal import GatewayPolicy
internal import GatewayProviders

/// What a configuration means for one developer, with reasons.
package struct ConfigurationExplanation: Sendable {
    /// One of the policies, and whether it applies.
    package struct PolicyRow: Sendable {
        package let index: Int
        package let target: String
        package let applies: Bool
        package let reason: String
    }

    package struct SettingRow: Sendable {
        package let key: String
        package let value: JSONValue
        package let from: [String]
    }

    package struct Route: Sendable {
        package let upstream: String
        /// The id that the upstream receives; `nil` when it is left out.
        package let model: String?
        package let reason: String
    }

    package struct ModelRow: Sendable {
        package let id: String
        package let isAllowed: Bool
        package let reason: String
        package let routes: [Route]
    }

    package let email: String?
    package let groups: [String]
    /// `nil` when the developer may sign in.
    package let signInRefusal: String?
    package let policies: [PolicyRow]
    package let settings: [SettingRow]
    package let models: [ModelRow]
    /// The one that was asked about.
    package let model: ModelRow?

    package init(_ settings: GatewaySettings, email: String?, groups: [String], model: String?) {
        let principal = Principal(subject: email ?? "developer", email: email, groups: groups)
        self.email = email
        self.groups = groups
        self.signInRefusal = Self.refusal(of: principal, settings.oidc)
        let layers = settings.managed.layers(for: principal)
        self.policies = settings.managed.matches.enumerated().map { index, match in
            Self.row(index, match, principal, layers)
        }
        self.settings = settings.managed.origins(layers).map { origin in
            SettingRow(key: origin.key, value: origin.value, from: origin.sources.map(Self.name))
        }
        let catalog = ModelCatalog(
            custom: settings.models, includesBuiltIns: settings.includesBuiltInModels, upstreams: settings.upstreams)
        var allowed: ModelAllowList?
        var isServed = true
        switch settings.managed.outcome(for: principal) {
        case .policy(let policy): allowed = policy.models
        case .notConfigured: break
        case .unmatched: isServed = false
        }
        func judge(_ name: String) -> ModelRow {
            let routes = Self.routes(of: name, principal, catalog, settings.upstreams)
            let reason: String
            var isAllowed = false
            if !isServed {
                reason = "no managed policy matches; Claude Code does not start without one"
            } else if let allowed, !allowed.allows(name) {
                reason = "availableModels leaves it out"
            } else if !routes.contains(where: { $0.model != nil }) {
                reason = "no upstream takes it"
            } else {
                isAllowed = true
                reason = allowed == nil ? "nothing restricts models" : "availableModels has it"
            }
            return ModelRow(id: name, isAllowed: isAllowed, reason: reason, routes: routes)
        }
        self.models = catalog.listings.map { judge($0.id) }
        self.model = model.map(judge)
    }

    private static func refusal(of principal: Principal, _ oidc: OIDCSettings) -> String? {
        if !oidc.allowedEmailDomains.isEmpty, !oidc.allowedEmailDomains.contains(principal.emailDomain ?? "") {
            return "oidc.allowed_email_domains has only \(oidc.allowedEmailDomains.joined(separator: ", "))"
        }
        if !oidc.allowedGroups.isEmpty, !principal.isMember(ofAny: oidc.allowedGroups) {
            return "oidc.allowed_groups has only \(oidc.allowedGroups.joined(separator: ", "))"
        }
        return nil
    }

    private static func row(_ index: Int, _ match: PolicyMatch, _ principal: Principal, _ layers: [Int]) -> PolicyRow {
        var target: [String] = []
        if let groups = match.groups { target.append("groups \(groups.joined(separator: ", "))") }
        if let domain = match.emailDomain { target.append("e-mail domain \(domain)") }
        let text = target.isEmpty ? "everybody" : target.joined(separator: " and ")
        let reason: String
        if layers.contains(index) {
            reason = match.isCatchAll ? (layers.count > 1 ? "the base of the others" : "for everybody") : "fits"
        } else if let groups = match.groups, !principal.isMember(ofAny: groups) {
            reason = "not a member"
        } else if let domain = match.emailDomain, principal.emailDomain != domain {
            reason = "another e-mail domain"
        } else if let last = layers.last, index > last {
            reason = "stands after the policy for everybody"
        } else {
            reason = "an earlier policy has been taken"
        }
        return PolicyRow(index: index, target: text, applies: layers.contains(index), reason: reason)
    }

    private static func routes(
        of model: String, _ principal: Principal, _ catalog: ModelCatalog, _ upstreams: [UpstreamSettings],
    ) -> [Route] {
        zip(upstreams, catalog.resolve(model)).map { upstream, resolution in
            guard upstream.serves(principal) else {
                let groups = (upstream.groups ?? []).joined(separator: ", ")
                return Route(upstream: upstream.name, model: nil, reason: "only for groups \(groups)")
            }
            switch resolution {
            case .upstreamID(let id): return Route(upstream: upstream.name, model: id, reason: "sent as \(id)")
            case .unknown:
                return Route(upstream: upstream.name, model: nil, reason: "no model of that name is configured")
            case .notServed:
                return Route(upstream: upstream.name, model: nil, reason: "its models list leaves it out")
            case .unavailable: return Route(upstream: upstream.name, model: nil, reason: "it does not have the model")
            }
        }
    }

    private static func name(_ source: ManagedPolicies.Origin.Source) -> String {
        switch source {
        case .policy(let index): "managed.policies[\(index)]"
        case .common: "managed.settings"
        case .telemetry: "telemetry"
        case .pricing: "pricing"
        }
    }

    // MARK: Output

    package var json: JSONValue {
        func list(_ values: [String]) -> JSONValue { .array(values.map(JSONValue.string)) }
        var document: JSONObject = [
            "email": self.email.map(JSONValue.string) ?? .null, "groups": list(self.groups),
            "sign_in": [
                "allowed": .bool(self.signInRefusal == nil),
                "reason": self.signInRefusal.map(JSONValue.string) ?? .null,
            ],
            "policies": .array(
                self.policies.map {
                    [
                        "index": .integer($0.index), "for": .string($0.target), "applies": .bool($0.applies),
                        "reason": .string($0.reason),
                    ]
                }),
            "settings": .array(
                self.settings.map { ["key": .string($0.key), "value": $0.value, "from": list($0.from)] }),
            "models": .array(self.models.map(Self.json)),
        ]
        document["model"] = self.model.map(Self.json)
        return .object(document)
    }

    private static func json(_ row: ModelRow) -> JSONValue {
        [
            "id": .string(row.id), "allowed": .bool(row.isAllowed), "reason": .string(row.reason),
            "upstreams": .array(
                row.routes.map {
                    [
                        "name": .string($0.upstream), "model": $0.model.map(JSONValue.string) ?? .null,
                        "reason": .string($0.reason),
                    ]
                }),
        ]
    }

    package var text: String {
        var lines: [String] = []
        let who = self.email ?? "a developer without an e-mail address"
        lines.append("\(who), \(self.groups.isEmpty ? "in no group" : "groups \(self.groups.joined(separator: ", "))")")
        lines.append("sign-in: \(self.signInRefusal.map { "refused: \($0)" } ?? "allowed")")
        lines.append("")
        lines.append(self.policies.isEmpty ? "policies: none" : "policies:")
        for row in self.policies {
            lines.append("  \(row.applies ? "+" : "-") managed.policies[\(row.index)] for \(row.target): \(row.reason)")
        }
        lines.append("")
        lines.append(self.settings.isEmpty ? "settings: none" : "settings:")
        for row in self.settings {
            lines.append("  \(row.key) = \(row.value.text())  (\(row.from.joined(separator: ", ")))")
        }
        lines.append("")
        if let model {
            lines.append("model \(model.id): \(model.isAllowed ? "allowed" : "refused"): \(model.reason)")
            for (index, route) in model.routes.enumerated() {
                lines.append("  \(index + 1). \(route.upstream): \(route.reason)")
            }
            return lines.joined(separator: "\n")
        }
        lines.append("models:")
        for row in self.models {
            let routes = row.routes.compactMap { route in route.model.map { "\(route.upstream) as \($0)" } }
            let sign = row.isAllowed ? "+" : "-"
            lines.append("  \(sign) \(row.id): \(row.isAllowed ? routes.joined(separator: ", then ") : row.reason)")
        }
        return lines.joined(separator: "\n")
    }
}
