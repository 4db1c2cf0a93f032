// SPDX-License-Identifier: Apache-2.0

internal import CommandLineSyntax
internal import GatewayClient
internal import GatewayCore

/// `claude spend limits`.
enum SpendLimitsCommands {
    static let path = "/v1/organizations/spend_limits"

    static let spec = CommandSpec(
        "limits", "Show and change what may be spent.",
        subcommands: [
            SpendLimitsListCommand.spec, SpendLimitsSetCommand.spec, SpendLimitsDeleteCommand.spec,
            SpendLimitsEffectiveCommand.spec, SpendLimitsAuditCommand.spec,
        ], runnable: false)

    /// Scopes as options.
    static let scope = [
        OptionSpec("user", value: "USER", help: "The limit of " + ScopeOption.userHelp),
        OptionSpec("group", value: "GROUP", help: "The limit of each member of a group."),
        OptionSpec("org", help: "The limit of everybody who has no other."),
    ]

    /// A pooled budget in a few words, from the API's `pooled_budget`; empty where there is none.
    static func pool(_ json: JSONValue?) -> String {
        guard let json, json != .null else { return "" }
        var text = SpendText.amount(json["amount"], null: "no amount")
        if json["period_to_date_spend"] != nil {
            text += ", \(SpendText.amount(json["period_to_date_spend"], null: "$0.00")) spent"
        }
        return json["paused"] == true ? text + ", paused" : text
    }

    /// A limit in a few words: `the monthly limit of group eng`.
    static func title(_ limit: JSONValue) -> String {
        "the \(limit["period"]?.string ?? "") limit of \(LimitScope(limit["scope"])?.phrase ?? "an unknown scope")"
    }
}
