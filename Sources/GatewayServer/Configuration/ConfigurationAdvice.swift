// SPDX-License-Identifier: Apache-2.0

internal import GatewayConfig
internal import GatewayCore
internal import GatewayIdentity
internal import GatewayMetering
internal import GatewayPolicy
internal import GatewayProviders

/// Warnings about settings that are right by themselves and do nothing, or something else than was meant.
struct ConfigurationAdvice {
    let root: ConfigNode
    let settings: GatewaySettings

    func give(into report: inout ConfigReport) {
        self.unreachablePolicies(&report)
        self.modelsWithoutUpstream(&report)
        self.upstreamModels(&report)
        self.upstreamHabits(&report)
        self.prices(&report)
        self.misspelledGroups(&report)
        self.edge(&report)
        self.desktop(&report)
    }

    private func items(_ path: String...) -> [ConfigNode] {
        var node: ConfigNode? = self.root
        for key in path { node = node?[key] }
        return node?.list ?? []
    }

    // MARK: Policies

    private func unreachablePolicies(_ report: inout ConfigReport) {
        let policies = self.items("managed", "policies")
        let matches = policies.map { PolicyMatch($0["match"]) }
        let isLayered = self.root["managed"]?["policy_mode"]?.string == "layered"
        let domains = self.settings.oidc.allowedEmailDomains
        for (index, match) in matches.enumerated() {
            let node = policies[index]["match"] ?? policies[index]
            if let domain = match.emailDomain, !domains.isEmpty, !domains.contains(domain),
                node["email_domain"]?.isUnresolved != true
            {
                report.warning(
                    node["email_domain"] ?? node,
                    "is for nobody: oidc.allowed_email_domains does not have \(domain), so nobody of it can sign in.")
            }
            if isLayered { continue }
            let earlier = matches[..<index].firstIndex { $0.isCovering(match) }
            if let earlier {
                report.warning(
                    node,
                    "never applies: whoever it fits is taken by managed.policies[\(earlier)] already. Move it up, or remove it."
                )
            }
        }
    }

    // MARK: Models

    private var catalog: ModelCatalog {
        ModelCatalog(
            custom: self.settings.models, includesBuiltIns: self.settings.includesBuiltInModels,
            upstreams: self.settings.upstreams)
    }

    private func modelsWithoutUpstream(_ report: inout ConfigReport) {
        let catalog = self.catalog
        for node in self.items("models") {
            guard let id = node["id"], let name = id.string, !id.isUnresolved else { continue }
            let isServed = catalog.resolve(name).contains { if case .upstreamID = $0 { true } else { false } }
            if !isServed {
                report.warning(
                    id, "no upstream serves this model; check upstream_model, and the upstreams' own models lists.")
            }
        }
        if self.settings.models.isEmpty, !self.settings.includesBuiltInModels {
            report.warning(
                self.root["auto_include_builtin_models"] ?? self.root,
                "there is no model at all: models is empty and the built-in ones are off. Every request will be refused."
            )
        }
    }

    private func upstreamModels(_ report: inout ConfigReport) {
        let catalog = self.catalog
        for (index, upstream) in self.items("upstreams").enumerated()
        where self.settings.upstreams.indices.contains(index) {
            for entry in upstream["models"]?.list ?? [] {
                guard let name = entry.string, !entry.isUnresolved else { continue }
                if case .upstreamID = catalog.resolve(name)[index] { continue }
                report.warning(
                    entry,
                    "sends no model to this upstream: '\(name.singleLine)' is neither a model under models nor a built-in one that it has. Check the spelling."
                )
            }
        }
    }

    private func upstreamHabits(_ report: inout ConfigReport) {
        for (index, node) in self.items("upstreams").enumerated() where self.settings.upstreams.indices.contains(index)
        {
            let upstream = self.settings.upstreams[index]
            if node["forward_user_identity"]?.boolean == true {
                report.warning(
                    node["forward_user_identity"]!,
                    "every request carries the developer's subject and e-mail address to \(upstream.baseURL.host).")
            }
            if upstream.provider is VertexProvider, self.settings.includesBuiltInModels, upstream.models == nil {
                report.warning(
                    node,
                    "serves claude-sonnet-4-5, which has no context of 1M tokens on Vertex AI: requests for its [1m] form get a 400. List models to leave it out."
                )
            }
        }
    }

    // MARK: Money

    private func prices(_ report: inout ConfigReport) {
        guard let pricing = self.root["pricing"] else {
            self.unratedModels([], &report)
            return
        }
        if let node = pricing["multiplier"], let value = node.number, value > 1 {
            report.warning(
                node,
                "is a markup: spend counts \(JSONValue.javaScriptText(of: value)) times the price, and limits are reached sooner."
            )
        }
        let catalog = self.catalog
        for row in pricing["overrides"]?.list ?? [] {
            guard let name = row["upstream"]?.string, let model = row["model"], let text = model.string,
                let index = self.settings.upstreams.firstIndex(where: { $0.name == name })
            else { continue }
            if !catalog.canBill(text, upstream: index) {
                report.warning(
                    model,
                    "this price is never used: no model that can be requested there is '\(text.singleLine)'. Check the spelling, or add the model under models."
                )
            }
        }
        self.unratedModels((pricing["overrides"]?.list ?? []).compactMap { $0["model"]?.string?.lowercased() }, &report)
    }

    private func unratedModels(_ priced: [String], _ report: inout ConfigReport) {
        guard self.root["admin"] != nil else { return }
        for node in self.items("models") {
            for target in node["upstream_model"]?.members ?? [] {
                guard let id = target.value.string, !target.value.isUnresolved, !id.isEmpty,
                    BuiltInModel.spelled(id) == nil, !priced.contains(id.lowercased()),
                    !priced.contains(node["id"]?.string?.lowercased() ?? "")
                else { continue }
                report.warning(
                    target.value,
                    "has no known price for '\(id.singleLine)', so it is metered at that of unknown models; add it under pricing.overrides, or set pricing.unknown_model."
                )
            }
        }
    }

    // MARK: Groups

    /// A group that is named once and is nearly the name of another is most likely a misspelling.
    private func misspelledGroups(_ report: inout ConfigReport) {
        var places: [String: [ConfigNode]] = [:]
        var order: [String] = []
        let lists =
            [self.root["oidc"]?["allowed_groups"], self.root["admin"]?["admin_groups"]]
            + self.items("upstreams").map { $0["groups"] }
            + self.items("managed", "policies").map { $0["match"]?["groups"] }
        for entry in lists.compactMap({ $0 }).flatMap(\.list) where !entry.isUnresolved {
            guard let name = entry.string else { continue }
            if places[name] == nil { order.append(name) }
            places[name, default: []].append(entry)
        }
        for name in order where places[name]!.count == 1 && name.count > 3 {
            let others = order.filter { $0 != name && places[$0]!.count > 1 }
            if let near = Suggestion.nearest(to: name, in: others) {
                report.warning(places[name]![0], "is named nowhere else; did you mean \(near)?")
            }
        }
    }

    // MARK: The edge

    private func edge(_ report: inout ConfigReport) {
        let listen = self.root["listen"]
        if self.settings.listen.publicURL.lowercased().hasPrefix("https:"), !self.settings.listen.terminatesTLS,
            self.settings.access.trustedProxies.isEmpty, listen?["public_url"]?.isUnresolved != true
        {
            report.warning(
                listen?["public_url"] ?? self.root,
                "is https and listen.tls is not set, so a proxy stands in front; list it under listen.trusted_proxies, or every developer has the proxy's address in limits and logs."
            )
        }
    }

    // MARK: Claude Desktop

    private func desktop(_ report: inout ConfigReport) {
        let policies = self.items("managed", "policies")
        let usesCode = policies.contains { $0["code"] != nil }
        for policy in policies {
            let block = policy["cli"] ?? policy["settings"]
            if !usesCode, let block, policy["desktop"] != nil, policy["serve_to_desktop"] == nil {
                report.warning(
                    block,
                    "does not reach Claude Desktop's Code tab; write the settings under code, or set serve_to_desktop.")
            }
            if usesCode, let flag = policy["serve_to_desktop"], flag.boolean == false {
                report.warning(flag, "has no effect in a file with code blocks, which always reach Claude Desktop.")
            }
        }
    }
}
