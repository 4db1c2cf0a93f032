// SPDX-License-Identifier: Apache-2.0

package import GatewayConfig
package import GatewayCore

/// `admin.alerts`: who is told when spend comes near a limit.
package struct AlertSettings: Sendable {
    package struct Webhook: Sendable {
        package let url: String
        /// Signs what is sent.
        package let secret: Secret

        package init(url: String, secret: Secret) {
            self.url = url
            self.secret = secret
        }
    }

    /// A sum over many developers that is watched and does not limit anybody.
    package struct Budget: Sendable, Equatable {
        /// `nil` is the organization.
        package let group: String?
        package let period: SpendPeriod
        /// In cents.
        package let amount: Int64
    }

    package var webhooks: [Webhook] = []
    /// Per cent, ascending.
    package var thresholds = [50, 80, 90, 100]
    package var budgets: [Budget] = []

    package init() {}

    package init(_ node: ConfigNode) {
        self.webhooks = (node["webhooks"]?.list ?? []).map {
            Webhook(url: $0["url"]?.string ?? "", secret: $0["secret"]?.secret ?? Secret(""))
        }
        if let given = node["thresholds"]?.list {
            self.thresholds = Set(given.compactMap(\.integer)).sorted()
        }
        self.budgets = (node["budgets"]?.list ?? []).compactMap { entry in
            guard let dollars = entry["amount"]?.number else { return nil }
            return Budget(
                group: entry["group"]?.string,
                period: entry["period"]?.string.flatMap(SpendPeriod.init) ?? .monthly,
                amount: Int64((dollars * 100).rounded()))
        }
    }

    package static let section = ConfigSection([
        ConfigKey(
            "webhooks",
            .list(
                of: .section(
                    ConfigSection([
                        ConfigKey(
                            "url", .outboundURL, required: true, "Where alerts are sent by POST.",
                            example: "https://hooks.example.com/spend", check: OutboundURL.check),
                        ConfigKey(
                            "secret", .string(minimum: 16), required: true,
                            "Signs every alert (HMAC-SHA-256, as Standard Webhooks do); whsec_… is read as base64.",
                            example: "${SPEND_WEBHOOK_SECRET}"),
                    ]))), "Who is told."),
        ConfigKey(
            "thresholds", .list(of: .integer(minimum: 1, maximum: 1000), minimum: 1), default: "[50, 80, 90, 100]",
            "Per cent of a developer's limit, of a group's pool or of a budget, each told once a period."),
        ConfigKey(
            "budgets",
            .list(
                of: .section(
                    ConfigSection([
                        ConfigKey(
                            "group", .string(minimum: 1),
                            "The group whose members' spend is summed up; without it, everybody's.",
                            example: "data-science"),
                        ConfigKey(
                            "period", .choice(SpendPeriod.allCases.map(\.rawValue)), default: "monthly",
                            "Over what time."
                        ),
                        ConfigKey(
                            "amount", .number(above: 0, maximum: 9_000_000_000), required: true, "In US dollars.",
                            example: "10000"),
                    ]))), "Sums to watch for groups and the organization; they limit nobody."),
    ])
}
