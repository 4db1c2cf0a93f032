// SPDX-License-Identifier: Apache-2.0

internal import GatewayConfig
package import GatewayCore
internal import GatewayIdentity
internal import GatewayMetering
internal import GatewayPolicy
internal import GatewayProviders

/// What changes for whom between two configurations.
package struct ConfigurationDiff: Sendable {
    package enum Effect: String, Sendable {
        /// Somebody may do more than before.
        case widens
        case narrows
        case changes
    }

    package struct Change: Sendable, Equatable {
        package let effect: Effect
        package let who: String
        package let what: String
    }

    package private(set) var changes: [Change] = []

    package var widens: Bool { self.changes.contains { $0.effect == .widens } }

    package init?(_ old: ConfigurationFile, _ new: ConfigurationFile) {
        guard let before = old.settings, let after = new.settings, let oldRoot = old.root, let newRoot = new.root else {
            return nil
        }
        self.compareSignIn(before, after)
        self.comparePersonas(before, after)
        self.compareEdge(before, after)
        self.compareAdministration(before.admin, after.admin)
        self.compareKeys(oldRoot, newRoot)
    }

    private mutating func add(_ effect: Effect, _ who: String, _ what: String) {
        let change = Change(effect: effect, who: who, what: what)
        if !self.changes.contains(change) { self.changes.append(change) }
    }

    // MARK: Who may come in

    /// A list that restricts, and of which nothing means everybody.
    private mutating func compareRestriction(
        _ old: [String], _ new: [String], who: String, added: (String) -> String, removed: (String) -> String,
        lifted: String, introduced: String,
    ) {
        if old.isEmpty, new.isEmpty || old == new { return }
        if new.isEmpty {
            self.add(.widens, who, lifted)
        } else if old.isEmpty {
            self.add(.narrows, who, "\(introduced) \(new.joined(separator: ", "))")
        } else {
            for entry in new where !old.contains(entry) { self.add(.widens, who, added(entry)) }
            for entry in old where !new.contains(entry) { self.add(.narrows, who, removed(entry)) }
        }
    }

    private mutating func compareSignIn(_ old: GatewaySettings, _ new: GatewaySettings) {
        self.compareRestriction(
            old.oidc.allowedEmailDomains, new.oidc.allowedEmailDomains, who: "everybody",
            added: { "addresses of \($0) may sign in" }, removed: { "addresses of \($0) may no longer sign in" },
            lifted: "addresses of any domain may sign in", introduced: "only these domains may sign in:")
        self.compareRestriction(
            old.oidc.allowedGroups, new.oidc.allowedGroups, who: "everybody",
            added: { "members of \($0) may sign in" }, removed: { "members of \($0) may no longer sign in by it" },
            lifted: "anybody of the identity provider may sign in, whatever the group",
            introduced: "only members of these groups may sign in:")
        if old.oidc.issuer != new.oidc.issuer {
            self.add(.changes, "everybody", "signs in at \(new.oidc.issuer) instead of \(old.oidc.issuer)")
        }
        if old.listen.publicURL != new.listen.publicURL {
            self.add(
                .changes, "everybody",
                "must sign in again: the gateway's address becomes \(new.listen.publicURL)")
        }
        let (before, after) = (old.session.lifetimeHours, new.session.lifetimeHours)
        if before != after {
            let text =
                "a bearer lives \(JSONValue.javaScriptText(of: after)) h instead of \(JSONValue.javaScriptText(of: before)) h"
            self.add(after > before ? .widens : .narrows, "everybody", text)
        }
    }

    private mutating func compareEdge(_ old: GatewaySettings, _ new: GatewaySettings) {
        func names(_ networks: [IPNetwork]) -> [String] { networks.map { "\($0.base)/\($0.prefixLength)" } }
        self.compareRestriction(
            names(old.access.allow), names(new.access.allow), who: "the network",
            added: { "\($0) may connect" }, removed: { "\($0) may no longer connect" },
            lifted: "any address may connect", introduced: "only these may connect:")
        let (before, after) = (names(old.access.deny), names(new.access.deny))
        for entry in before where !after.contains(entry) {
            self.add(.widens, "the network", "\(entry) is no longer denied")
        }
        for entry in after where !before.contains(entry) { self.add(.narrows, "the network", "\(entry) is denied") }
        let (trusted, trusting) = (names(old.access.trustedProxies), names(new.access.trustedProxies))
        for entry in trusting where !trusted.contains(entry) {
            self.add(.widens, "the network", "\(entry) is believed about client addresses")
        }
        for entry in trusted where !trusting.contains(entry) {
            self.add(.narrows, "the network", "\(entry) is no longer believed about client addresses")
        }
    }

    private mutating func compareAdministration(_ old: AdminSettings?, _ new: AdminSettings?) {
        switch (old, new) {
        case (nil, nil): return
        case (.some, nil): self.add(.widens, "everybody", "spend is no longer metered or limited")
        case (nil, .some): self.add(.narrows, "everybody", "spend is metered, and limits apply")
        default: break
        }
        let (before, after) = (old ?? AdminSettings(), new ?? AdminSettings())
        for group in after.adminGroups where !before.adminGroups.contains(group) {
            self.add(.widens, "group \(group)", "may change spend limits")
        }
        for group in before.adminGroups where !after.adminGroups.contains(group) {
            self.add(.narrows, "group \(group)", "may no longer change spend limits")
        }
        for (name, keys, others) in [
            ("write", before.writeKeys, after.writeKeys), ("read", before.readKeys, after.readKeys),
        ] {
            let (ids, newIDs) = (keys.map(\.id), others.map(\.id))
            for id in newIDs where !ids.contains(id) { self.add(.widens, "admin key \(id)", "is a new \(name) key") }
            for id in ids where !newIDs.contains(id) {
                self.add(.narrows, "admin key \(id)", "is no \(name) key any more")
            }
        }
    }

    // MARK: Developers

    /// A kind of developer that either file tells apart from others.
    private struct Persona: Hashable {
        let name: String
        let groups: [String]
        let domain: String?
    }

    private static func personas(_ files: [GatewaySettings]) -> [Persona] {
        var groups: [String] = []
        var domains: [String] = []
        var pairs: [(String, String)] = []
        for settings in files {
            for match in settings.managed.matches {
                groups += match.groups ?? []
                if let domain = match.emailDomain {
                    domains.append(domain)
                    pairs += (match.groups ?? []).map { ($0, domain) }
                }
            }
            for upstream in settings.upstreams { groups += upstream.groups ?? [] }
        }
        func unique(_ values: [String]) -> [String] {
            var seen: Set<String> = []
            return values.filter { seen.insert($0).inserted }
        }
        var personas = [Persona(name: "everybody else", groups: [], domain: nil)]
        personas += unique(groups).map { Persona(name: "group \($0)", groups: [$0], domain: nil) }
        personas += unique(domains).map { Persona(name: "e-mail domain \($0)", groups: [], domain: $0) }
        for (group, domain) in pairs {
            let persona = Persona(name: "group \(group) of \(domain)", groups: [group], domain: domain)
            if !personas.contains(persona) { personas.append(persona) }
        }
        return personas
    }

    private mutating func comparePersonas(_ old: GatewaySettings, _ new: GatewaySettings) {
        for persona in Self.personas([old, new]) {
            let email = "developer@\(persona.domain ?? "domain.invalid")"
            let before = ConfigurationExplanation(old, email: email, groups: persona.groups, model: nil)
            let after = ConfigurationExplanation(new, email: email, groups: persona.groups, model: nil)
            self.compareModels(persona.name, before, after)
            self.compareSettings(persona.name, before, after)
        }
    }

    private mutating func compareModels(
        _ who: String, _ old: ConfigurationExplanation, _ new: ConfigurationExplanation,
    ) {
        let before = Dictionary(old.models.map { ($0.id, $0) }) { first, _ in first }
        let after = Dictionary(new.models.map { ($0.id, $0) }) { first, _ in first }
        func names(_ rows: [ConfigurationExplanation.ModelRow]) -> String { rows.map(\.id).joined(separator: ", ") }
        let gained = new.models.filter { $0.isAllowed && before[$0.id]?.isAllowed != true }
        let lost = old.models.filter { $0.isAllowed && after[$0.id]?.isAllowed != true }
        if !gained.isEmpty { self.add(.widens, who, "may use \(names(gained))") }
        if !lost.isEmpty { self.add(.narrows, who, "may no longer use \(names(lost))") }
        for row in new.models where row.isAllowed {
            guard let other = before[row.id], other.isAllowed else { continue }
            let routes = { (row: ConfigurationExplanation.ModelRow) in
                row.routes.compactMap { route in route.model.map { "\(route.upstream) as \($0)" } }
                    .joined(separator: ", then ")
            }
            if routes(row) != routes(other) {
                self.add(.changes, who, "\(row.id) goes to \(routes(row)) instead of \(routes(other))")
            }
        }
    }

    private mutating func compareSettings(
        _ who: String, _ old: ConfigurationExplanation, _ new: ConfigurationExplanation,
    ) {
        let before = Dictionary(old.settings.map { ($0.key, $0.value) }) { first, _ in first }
        let after = Dictionary(new.settings.map { ($0.key, $0.value) }) { first, _ in first }
        for key in Set(before.keys).union(after.keys).sorted() where before[key] != after[key] {
            switch key {
            case "permissions.deny", "permissions.ask", "permissions.allow":
                let (was, now) = (Self.texts(before[key]), Self.texts(after[key]))
                let word = String(key.dropFirst("permissions.".count))
                for rule in now where !was.contains(rule) {
                    self.add(word == "allow" ? .widens : .narrows, who, "\(word) rule added: \(rule)")
                }
                for rule in was where !now.contains(rule) {
                    self.add(word == "allow" ? .narrows : .widens, who, "\(word) rule removed: \(rule)")
                }
            case "availableModels": continue
            default:
                switch (before[key], after[key]) {
                case (nil, let value?): self.add(.changes, who, "\(key) is set to \(Self.shown(key, value))")
                case (let value?, nil):
                    self.add(.changes, who, "\(key) is no longer set (was \(Self.shown(key, value)))")
                case (let value?, let other?):
                    self.add(.changes, who, "\(key) is \(Self.shown(key, other)) instead of \(Self.shown(key, value))")
                case (nil, nil): continue
                }
            }
        }
    }

    private static func texts(_ value: JSONValue?) -> [String] {
        (value?.array ?? []).compactMap(\.string)
    }

    // MARK: Everything else

    /// Sections and keys whose meaning is compared above.
    private static let compared: Set<String> = [
        "managed", "access_control", "oidc.allowed_email_domains", "oidc.allowed_groups", "oidc.issuer",
        "listen.public_url", "listen.trusted_proxies", "session.ttl_hours", "admin.admin_groups",
    ]

    private mutating func compareKeys(_ old: ConfigNode, _ new: ConfigNode) {
        let (before, after) = (Self.leaves(old), Self.leaves(new))
        for key in Set(before.keys).union(after.keys).sorted() where before[key]?.json != after[key]?.json {
            let section = String(key.prefix { $0 != "." && $0 != "[" })
            if Self.compared.contains(section) || Self.compared.contains(key) { continue }
            switch (before[key], after[key]) {
            case (nil, let value?): self.add(.changes, "the gateway", "\(key) is set to \(Self.shown(key, value))")
            case (.some, nil): self.add(.changes, "the gateway", "\(key) is no longer set")
            case (let value?, let other?):
                let text =
                    Self.isSecret(key, value) || Self.isSecret(key, other)
                    ? "is another" : "is \(Self.shown(key, other)) instead of \(Self.shown(key, value))"
                self.add(.changes, "the gateway", "\(key) \(text)")
            case (nil, nil): continue
            }
        }
    }

    private static func leaves(_ node: ConfigNode) -> [String: ConfigNode] {
        var found: [String: ConfigNode] = [:]
        func walk(_ node: ConfigNode) {
            switch node.value {
            case .mapping(let members) where !members.isEmpty: for member in members { walk(member.value) }
            case .list(let items) where items.contains(where: { !$0.members.isEmpty }): for item in items { walk(item) }
            default: found[node.path.description] = node
            }
        }
        walk(node)
        return found
    }

    private static func isSecret(_ key: String, _ node: ConfigNode) -> Bool {
        node.isExpanded || self.isSecret(key)
    }

    private static func isSecret(_ key: String) -> Bool {
        let name = key.lowercased()
        return ["secret", "key", "token", "password", "postgres_url", "pem", "headers"].contains {
            name.range(of: $0) != nil
        }
    }

    private static func shown(_ key: String, _ node: ConfigNode) -> String {
        self.isSecret(key, node) ? "[redacted]" : node.json.text()
    }

    private static func shown(_ key: String, _ value: JSONValue) -> String {
        self.isSecret(key) ? "[redacted]" : value.text()
    }

    // MARK: Output

    package var json: JSONValue {
        [
            "widens": .bool(self.widens),
            "changes": .array(
                self.changes.map {
                    ["effect": .string($0.effect.rawValue), "who": .string($0.who), "what": .string($0.what)]
                }),
        ]
    }

    package var text: String {
        if self.changes.isEmpty { return "nothing changes" }
        let signs: [(Effect, String)] = [(.widens, "+"), (.narrows, "-"), (.changes, "~")]
        return signs.flatMap { effect, sign in
            self.changes.filter { $0.effect == effect }.map { "\(sign) \($0.who): \($0.what)" }
        }.joined(separator: "\n")
    }
}
