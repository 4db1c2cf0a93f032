// SPDX-License-Identifier: Apache-2.0

package import GatewayConfig
package import GatewayCore
package import GatewayStore

/// The `admin` section: who may set spend limits, and how they work. Its presence turns metering on.
package struct AdminSettings: Sendable {
    package struct Key: Sendable {
        /// The name under which changes are recorded.
        package let id: String
        package let secret: Secret

        package init(id: String, secret: Secret) {
            self.id = id
            self.secret = secret
        }
    }

    /// Which of several groups' limits counts.
    package enum GroupLimitMode: String, Sendable {
        case minimum = "min"
        case maximum = "max"
    }

    package var writeKeys: [Key] = []
    package var readKeys: [Key] = []
    package var adminGroups: [String] = []
    /// Added to the refusal that a developer over a limit reads.
    package var blockedMessage: String?
    package var auditRetentionDays = 365
    package var spendRetentionMonths = 13
    package var identityRetentionDays = 90
    package var groupLimitMode = GroupLimitMode.minimum
    package var billingGroupTag: String?
    package var alerts = AlertSettings()

    package init() {}

    package init(_ node: ConfigNode) {
        func keys(_ name: String) -> [Key] {
            (node[name]?.list ?? []).map {
                Key(id: $0["id"]?.string ?? "", secret: $0["key"]?.secret ?? Secret(""))
            }
        }
        self.writeKeys = keys("write_keys")
        self.readKeys = keys("read_keys")
        self.adminGroups = node["admin_groups"]?.strings ?? []
        self.blockedMessage = node["blocked_message"]?.string.flatMap { $0.isEmpty ? nil : $0 }
        self.auditRetentionDays = node["audit_retention_days"]?.integer ?? 365
        self.spendRetentionMonths = node["spend_retention_months"]?.integer ?? 13
        self.identityRetentionDays = node["identity_retention_days"]?.integer ?? 90
        self.groupLimitMode = node["group_limit_mode"]?.string.flatMap(GroupLimitMode.init) ?? .minimum
        self.billingGroupTag = node["billing_group_tag"]?.string
        self.alerts = node["alerts"].map { AlertSettings($0) } ?? AlertSettings()
    }
}

extension AdminSettings {
    package var retention: SpendRetention {
        SpendRetention(
            spendMonths: self.spendRetentionMonths, auditDays: self.auditRetentionDays,
            identityDays: self.identityRetentionDays)
    }

    /// A thousand years: what lies beyond is a mistake, and no calendar.
    private static let maximumDays = 365_250
    private static let maximumMonths = 12_000

    private static func keyList(_ summary: String) -> (ConfigShape, String) {
        (
            .list(
                of: .section(
                    ConfigSection([
                        ConfigKey(
                            "id", .string(minimum: 1), required: true,
                            "The name under which the key's changes are recorded.", example: "finance-bot"),
                        ConfigKey(
                            "key", .string(minimum: 32), required: true,
                            "At least 32 random characters, sent as x-api-key (openssl rand -base64 36).",
                            example: "${SPEND_ADMIN_KEY}"),
                    ]))), summary
        )
    }

    package static let section: ConfigSection = {
        let (list, writing) = keyList("Keys that may change spend limits.")
        let (_, reading) = keyList("Keys that may read limits and spend.")
        return ConfigSection(
            [
                ConfigKey("write_keys", list, writing),
                ConfigKey("read_keys", list, reading),
                ConfigKey(
                    "admin_groups", .list(of: .string(minimum: 1)),
                    "IdP groups whose signed-in members may change limits too."),
                ConfigKey(
                    "blocked_message", .string(),
                    "Told to a developer over a limit, such as where to ask for more."),
                ConfigKey(
                    "audit_retention_days", .integer(above: 0, maximum: maximumDays), default: "365",
                    "How long changes of limits are kept."),
                ConfigKey(
                    "spend_retention_months", .integer(above: 0, maximum: maximumMonths), default: "13",
                    "How long spend is kept."),
                ConfigKey(
                    "identity_retention_days", .integer(above: 0, maximum: maximumDays), default: "90",
                    "How long a developer's address and groups are kept after the last request."),
                ConfigKey(
                    "group_limit_mode", .choice(["min", "max"]), default: "min",
                    "Of several groups' limits, whether the smallest or the largest counts."),
                ConfigKey("alerts", .section(AlertSettings.section), "Who is told when spend comes near a limit."),
                ConfigKey(
                    "billing_group_tag", .string(),
                    "The name of a request tag that says which billing group a request belongs to.",
                    check: { node in
                        let text = node.string ?? ""
                        let isPlain =
                            (1...64).contains(text.count)
                            && text.unicodeScalars.allSatisfy {
                                $0.isASCII
                                    && ($0.properties.isAlphabetic || ("0"..."9").contains($0)
                                        || "_.:/=+-@".unicodeScalars.contains($0))
                            }
                        if !isPlain {
                            return "must have 1 to 64 characters: ASCII letters, digits and _ . : / = + - @."
                        }
                        return text.lowercased().hasPrefix("anthropic")
                            ? "must not begin with anthropic, whose names are reserved; choose another." : nil
                    }),
            ],
            rules: [checkKeys])
    }()

    private static let checkKeys: ConfigSection.Rule = { node, report in
        var ids: Set<String> = []
        var secrets: [Secret: String] = [:]
        for name in ["write_keys", "read_keys"] {
            for entry in node[name]?.list ?? [] {
                guard let id = entry["id"], let text = id.string, let key = entry["key"] else { continue }
                if !id.isUnresolved, !ids.insert(text).inserted {
                    report.error(
                        id,
                        "another key has the id '\(text.singleLine)'; ids must differ, because changes are recorded under them."
                    )
                }
                if !key.isUnresolved, let secret = key.secret {
                    if let other = secrets[secret] {
                        report.error(
                            key,
                            "is the same key as that of '\(other.singleLine)'; give each id a key of its own.")
                    }
                    secrets[secret] = text
                    if secret.reveal().trimmingSpaces.count < 32 {
                        report.warning(key, "has fewer than 32 characters besides spaces; use random ones.")
                    }
                }
            }
        }
    }
}
