// SPDX-License-Identifier: Apache-2.0

package import GatewayConfig

/// The `pricing` section: prices that differ from the list prices.
package struct PricingSettings: Sendable {
    /// US dollars for a million tokens.
    package struct Rates: Sendable, Equatable {
        package let input: Double
        package let output: Double
        package let cacheRead: Double
        /// For five minutes, and for an hour too unless `cacheWrite1h` says otherwise.
        package let cacheWrite: Double
        package var cacheWrite1h: Double?
        /// What fast mode multiplies every rate by; `nil` when it costs nothing more.
        package var fastFactor: Double?
        /// US dollars for a search; `nil` is the list price.
        package var webSearch: Double?

        package init(input: Double, output: Double, cacheRead: Double, cacheWrite: Double) {
            self.input = input
            self.output = output
            self.cacheRead = cacheRead
            self.cacheWrite = cacheWrite
        }

        init(_ node: ConfigNode) {
            func rate(_ name: String) -> Double { node[name]?.number ?? 0 }
            self.init(
                input: rate("input"), output: rate("output"), cacheRead: rate("cache_read"),
                cacheWrite: rate("cache_write"))
            self.cacheWrite1h = node["cache_write_1h"]?.number
            self.fastFactor = node["fast_factor"]?.number
            self.webSearch = node["per_web_search"]?.number
        }
    }

    package struct Override: Sendable {
        /// The upstream's name.
        package let upstream: String
        package let model: String
        package let rates: Rates
    }

    package var multiplier = 1.0
    package var overrides: [Override] = []
    /// What a model costs that neither a row nor the list knows; `nil` is the list's default.
    package var unknownModel: Rates?

    package init() {}

    package init(_ node: ConfigNode) {
        self.multiplier = node["multiplier"]?.number ?? 1
        self.overrides = (node["overrides"]?.list ?? []).map { entry in
            Override(
                upstream: entry["upstream"]?.string ?? "", model: entry["model"]?.string ?? "", rates: Rates(entry))
        }
        self.unknownModel = node["unknown_model"].map(Rates.init)
    }

    private static func rate(_ name: String, _ what: String, _ example: String) -> ConfigKey {
        ConfigKey(
            name, .number(above: 0, maximum: 10000), required: true, "US dollars for a million \(what) tokens.",
            example: example)
    }

    private static let rates: [ConfigKey] = [
        rate("input", "input", "3"), rate("output", "output", "15"), rate("cache_read", "cache-read", "0.3"),
        rate("cache_write", "cache-write (5 minutes)", "3.75"),
        ConfigKey(
            "cache_write_1h", .number(above: 0, maximum: 10000), default: "cache_write",
            "US dollars for a million cache-write tokens of one hour."),
        ConfigKey(
            "fast_factor", .number(above: 0, maximum: 100), default: "1",
            "What answers in fast mode multiply these rates by."),
        ConfigKey(
            "per_web_search", .number(above: 0, maximum: 10000), default: "0.01", "US dollars for one web search."),
    ]

    package static let section = ConfigSection([
        ConfigKey(
            "multiplier", .number(above: 0, maximum: 10), default: "1",
            "Applied to every price, such as 0.8 for a discount of 20 %."),
        ConfigKey(
            "overrides",
            .list(
                of: .section(
                    ConfigSection(
                        [
                            ConfigKey(
                                "upstream", .string(), required: true, "The upstream's name.", example: "anthropic"),
                            ConfigKey(
                                "model", .string(minimum: 1), required: true,
                                "The model: as clients request it, or the id that the upstream gets.",
                                example: "claude-sonnet-4-6"),
                        ] + rates))),
            "Prices of single models at single upstreams."),
        ConfigKey(
            "unknown_model", .section(ConfigSection(rates)),
            "The price of models that neither a row nor the price list knows; the list's default is 5 and 25 dollars."),
    ])
}

/// The `enforcement` section.
package enum EnforcementSettings {
    package static let section = ConfigSection([
        ConfigKey(
            "fail_closed_on_error", .boolean, default: "false",
            "Whether requests are refused while spend cannot be checked, because the store does not answer."),
        ConfigKey(
            "overshoot", .choice(["allow", "strict"]), default: "allow",
            "Whether running requests may pass a limit together, or the most that each can cost is reserved first."),
        ConfigKey(
            "journal_dir", .string(minimum: 1), default: "$STATE_DIRECTORY, else ~/.local/state/claude-gateway",
            "Folder on this machine for spend that cannot be booked while the store does not answer."),
    ])
}
