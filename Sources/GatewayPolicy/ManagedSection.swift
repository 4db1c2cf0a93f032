// SPDX-License-Identifier: Apache-2.0

package import GatewayConfig
package import GatewayCore

/// The `managed` section: its keys, its rules, and its decoding.
package enum ManagedSection {
    private static let blocks = ["code", "cli", "settings"]

    package static let section = ConfigSection([
        ConfigKey(
            "policies", .list(of: .section(policy)),
            "Settings by group or e-mail domain; the first that fits applies, over the one with an empty match.",
            example: "[]"),
        ConfigKey(
            "policy_mode", .choice(["first_match", "layered"]), default: "first_match",
            "first_match applies one policy; layered merges all that fit, earlier ones winning."),
        ConfigKey(
            "settings", .string(),
            "Path of one JSON settings file for everybody, used when there are no policies."),
    ])

    private static let policy = ConfigSection(
        [
            ConfigKey(
                "match", .section(PolicyMatch.section),
                "Whom the policy is for. Empty or absent: everybody; put it last."),
            ConfigKey(
                "cli", .document(ClaudeCodeSettings.section), "Claude Code settings for terminal clients."),
            ConfigKey(
                "code", .document(ClaudeCodeSettings.section),
                "Claude Code settings for terminal clients and Claude Desktop's Code tab."),
            ConfigKey("settings", .document(ClaudeCodeSettings.section), "An old name of cli."),
            ConfigKey("desktop", .document(DesktopSettings.section), "Claude Desktop settings."),
            ConfigKey(
                "serve_to_desktop", .boolean, default: "false", "Whether a cli block also reaches Claude Desktop."),
        ],
        rules: [
            { node, report in
                if node["code"] != nil, let cli = node["cli"] ?? node["settings"] {
                    report.error(
                        cli, "cannot stand beside a code block in one policy; put all settings into the code block.")
                }
            }
        ])

    /// Rules over all policies together.
    package static func rules(_ managed: ConfigNode, into report: inout ConfigReport) {
        let policies = managed["policies"]?.list ?? []
        let usesCode = policies.contains { $0["code"] != nil }
        for (index, policy) in policies.enumerated() {
            if usesCode, policy["code"] == nil, let cli = policy["cli"] ?? policy["settings"] {
                report.error(
                    cli,
                    "this file has a code block, which makes cli blocks unreachable for Claude Desktop; write every block under code, or every block under cli."
                )
            }
            let match = PolicyMatch(policy["match"])
            if match.isCatchAll, index < policies.count - 1 {
                report.warning(
                    policy,
                    "is for everybody but is not the last entry, so the policies after it never apply; move it to the end."
                )
            }
            for name in blocks {
                guard let block = policy[name] else { continue }
                self.warnAboutModels(block, into: &report)
            }
        }
    }

    /// The model that clients start on when nobody has picked one; they send it whatever the list says.
    package static let clientDefaultModel = "claude-opus-4-7"

    private static func warnAboutModels(_ block: ConfigNode, into report: inout ConfigReport) {
        guard let models = block["availableModels"], case .list(let entries) = models.value else { return }
        if entries.isEmpty {
            report.warning(models, "is empty, so every request of these developers is refused.")
        } else if block["model"] == nil, block["enforceAvailableModels"]?.boolean != true,
            !ModelAllowList(models.strings).allows(self.clientDefaultModel)
        {
            report.warning(
                models,
                "leaves out \(self.clientDefaultModel), which Claude Code starts on when nobody has picked a model, so those developers get a 400 on every request; add enforceAvailableModels: true, or set model."
            )
        }
    }

    /// - Parameters:
    ///   - commonSettings: The content of `managed.settings`, already read.
    package static func decode(
        _ node: ConfigNode?, commonSettings: JSONObject?, telemetry: JSONObject, modelPricing: JSONValue?
    )
        -> ManagedPolicies
    {
        let entries = node?["policies"]?.list ?? []
        let policies = entries.map { entry in
            ManagedPolicies.Policy(
                match: PolicyMatch(entry["match"]),
                settings: (entry["code"] ?? entry["cli"] ?? entry["settings"])?.json.object,
                desktop: entry["desktop"]?.json.object,
                servesDesktop: entry["serve_to_desktop"]?.boolean ?? false)
        }
        return ManagedPolicies(
            policies: policies,
            mode: node?["policy_mode"]?.string.flatMap(ManagedPolicies.Mode.init) ?? .firstMatch,
            usesCode: entries.contains { $0["code"] != nil }, common: commonSettings, telemetry: telemetry,
            modelPricing: modelPricing)
    }
}
