// SPDX-License-Identifier: Apache-2.0

package import GatewayConfig
package import GatewayCore

/// The `session` section.
package struct SessionSettings: Sendable {
    /// Signs with the first; accepts all, so that a secret can be replaced while tokens of the old one live.
    package let secrets: [Secret]
    package let lifetimeHours: Double

    package init(secrets: [Secret], lifetimeHours: Double = 1) {
        self.secrets = secrets
        self.lifetimeHours = lifetimeHours
    }

    package init(_ node: ConfigNode) {
        let secret = node["jwt_secret"]
        let list = secret?.secret.map { [$0] } ?? secret?.strings.map(Secret.init) ?? []
        self.init(secrets: list, lifetimeHours: node["ttl_hours"]?.number ?? 1)
    }

    package static let section = ConfigSection([
        ConfigKey(
            "jwt_secret", .either([.string(minimum: 32), .list(of: .string(minimum: 32), minimum: 1)]), required: true,
            "At least 32 random characters, the same on every replica (openssl rand -base64 48). A list signs with its first entry and accepts all.",
            example: "${GATEWAY_JWT_SECRET}"),
        ConfigKey(
            "ttl_hours", .number(above: 0, maximum: 87_600), default: "1",
            "How long a developer's bearer lives. It is also how long a disabled developer can go on.",
            inspect: { node, report in
                if let hours = node.number, hours > 24 {
                    report.warning(
                        node, "is more than a day: somebody who is disabled can go on for that long. Use 1 to 24.")
                }
            }),
    ])
}
