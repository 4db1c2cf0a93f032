// SPDX-License-Identifier: Apache-2.0

internal import GatewayCore
internal import GatewayMetering
internal import GatewayProviders

/// The setting `modelPricing`, by which clients reckon with the operator's prices: the multiplier, and a row for each
/// model that can be requested and whose first upstream has a price of its own. US dollars for a million tokens.
enum ModelPricing {
    static func make(
        _ pricing: PricingSettings, _ pricer: Pricer, models: [CustomModel], includesBuiltIns: Bool,
        upstreams: [UpstreamSettings],
    ) -> JSONValue {
        let catalog = ModelCatalog(custom: models, includesBuiltIns: includesBuiltIns, upstreams: upstreams)
        var names: [String] = []
        for name in models.map(\.id) + (includesBuiltIns ? BuiltInModel.all.map(\.id) : []) where !names.contains(name)
        {
            names.append(name)
        }
        var rows: JSONObject = [:]
        for name in names {
            for (upstream, resolution) in zip(upstreams, catalog.resolve(name)) {
                guard case .upstreamID(let id) = resolution else { continue }
                if let price = pricer.override(upstream.name, id, name) {
                    rows[name] = [
                        "input": price.input.dollars, "output": price.output.dollars,
                        "cacheRead": price.cacheRead.dollars, "cacheWrite": price.cacheWrite5m.dollars,
                    ]
                }
                break
            }
        }
        return ["multiplier": .number(pricing.multiplier), "overrides": .object(rows)]
    }
}

extension Rate {
    fileprivate var dollars: JSONValue { .number(Double(self.picodollars) / 1_000_000) }
}
