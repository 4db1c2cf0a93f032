// SPDX-License-Identifier: Apache-2.0

package import GatewayConfig

/// At most `maximum` events of one client address in each fixed window.
package struct RateLimit: Sendable, Equatable {
    package let maximum: Int
    package let window: Duration

    package init(maximum: Int, window: Duration) {
        self.maximum = maximum
        self.window = window
    }

    package init(_ node: ConfigNode?, default fallback: RateLimit) {
        self.maximum = node?["max"]?.integer ?? fallback.maximum
        self.window = node?["window_seconds"]?.integer.map { .seconds($0) } ?? fallback.window
    }

    package static let deviceAuthorization = RateLimit(maximum: 30, window: .seconds(600))
    package static let deviceVerify = RateLimit(maximum: 10, window: .seconds(600))

    private static func section(maximum: Int) -> ConfigShape {
        .section(
            ConfigSection([
                ConfigKey("max", .integer(above: 0), default: String(maximum), "Events in one window."),
                ConfigKey("window_seconds", .integer(above: 0), default: "600", "Length of a window in seconds."),
            ]))
    }

    package static let section = ConfigSection([
        ConfigKey("device_authorization", section(maximum: 30), "Sign-ins started, per client address."),
        ConfigKey("device_verify", section(maximum: 10), "Codes entered on the /device page, per client address."),
        ConfigKey(
            "inference",
            .section(
                ConfigSection([
                    ConfigKey(
                        "requests_per_minute", .integer(above: 0),
                        "Model requests of one developer in a minute; counting tokens does not count."),
                    ConfigKey(
                        "tokens_per_minute", .integer(above: 0),
                        "Tokens of one developer in a minute: prompts without what was read from a cache, and answers. Needs the admin section, which meters them."
                    ),
                    ConfigKey("concurrent", .integer(above: 0), "Answers of one developer that are under way at once."),
                ])),
            "Bounds on what each developer asks of models, over all replicas, to about two seconds."),
    ])
}
