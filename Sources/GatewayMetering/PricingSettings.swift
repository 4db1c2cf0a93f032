// SPDX-License-Identifier: Apache-2.0

package import GatewayConfig

/// The `pricing` section: prices that differ from the list prices.
package struct PricingSettings: Sendable {
    /// US dollars for a million tokens.
    package struct Rates: Sendable, Equatable {
        package let input: Double
        package let output: Double
        package let cacheRead: Double
        package let cacheWrite: Double

        package init(input: Double, output: Double, cacheRead: Double, cacheWrite: Double) {
            self.input = input
            self.output = output
            self.cacheRead = cacheRead
            self.cacheWrite = cacheWrite
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

    package init() {}

    package init(_ node: ConfigNode) {
        self.multiplier = node["multiplier"]?.number ?? 1
        self.overrides = (node["overrides"]?.list ?? []).map { entry in
            func rate(_ name: String) -> Double { entry[name]?.number ?? 0 }
            return Override(
                upstream: entry["upstream"]?.string ?? "", model: entry["model"]?.string ?? "",
                rates: Rates(
                    input: rate("input"), output: rate("output"), cacheRead: rate("cache_read"),
                    cacheWrite: rate("cache_write")))
        }
    }

    private static func rate(_ name: String, _ what: String, _ example: String) -> ConfigKey {
        ConfigKey(
            name, .number(above: 0, maximum: 10000), required: true, "US dollars for a million \(what) tokens.",
            example: example)
    }

    package static let section = ConfigSection([
        ConfigKey(
            "multiplier", .number(above: 0, maximum: 10), default: "1",
            "Applied to every price, such as 0.8 for a discount of 20 %."),
        ConfigKey(
            "overrides",
            .list(
                of: .section(
                    ConfigSection([
                        ConfigKey(
                            "upstream", .string(), required: true, "The upstream's name.", example: "anthropic"),
                        ConfigKey(
                            "model", .string(minimum: 1), required: true,
                            "The model: as clients request it, or the id that the upstream gets.",
                            example: "claude-sonnet-4-6"),
                        rate("input", "input", "3"), rate("output", "output", "15"),
                        rate("cache_read", "cache-read", "0.3"),
                        rate("cache_write", "cache-write (5 minutes)", "3.75"),
                    ]))),
            "Prices of single models at single upstreams."),
    ])
}

/// The `enforcement` section.
package enum EnforcementSettings {
    package static let section = ConfigSection([
        ConfigKey(
            "fail_closed_on_error", .boolean, default: "false",
            "Whether requests are refused while spend cannot be checked, because the store does not answer.")
    ])
}
