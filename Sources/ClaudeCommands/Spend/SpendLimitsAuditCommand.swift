// SPDX-License-Identifier: Apache-2.0

internal import CommandLineSyntax
internal import GatewayClient
internal import GatewayCore

/// `claude spend limits audit`.
enum SpendLimitsAuditCommand: Command {
    private static let standard = 100
    private static let pageRows = 1000

    static let spec = CommandSpec(
        "audit", "Show who has changed which limit, the latest first.",
        options: [
            OptionSpec(
                "actor", value: "ACTOR", help: "Only changes by oidc:ID (an account) or admin-key:ID (a key)."),
            OptionSpec(
                "action", value: "ACTION", help: "Only such changes: spend_limit.upsert or spend_limit.delete."),
            OptionSpec("limit", value: "N", help: "How many at most. Default: 100."), json,
        ],
        examples: ["claude spend limits audit --actor admin-key:finance-bot"])

    static func run(_ invocation: Invocation, in terminal: Terminal) async throws -> ExitCode {
        let limit = try invocation.positiveNumber("limit") ?? self.standard
        var query = [("limit", String(min(limit, self.pageRows)))]
        for name in ["actor", "action"] {
            if let text = invocation.value(name) { query.append((name, text)) }
        }
        let connection = try await AdminConnection.administrator(environment: terminal.environment)
        let rows = try await connection.list(SpendLimitsCommands.path + "/audit", query: query, limit: limit)
        if invocation.has("json") {
            terminal.print(JSONValue.array(rows).text())
            return .success
        }
        if rows.isEmpty {
            terminal.say("No such change is kept.")
            return .success
        }
        var table = TextTable([
            .left("TIME (UTC)"), .left("ACTOR"), .left("ACTION"), .left("CHANGE"), .left("REASON"),
        ])
        for row in rows {
            table.add([
                SpendText.time(row["created_at"]), row["actor"]?.string ?? "", row["action"]?.string ?? "",
                self.change(row), row["reason"]?.string ?? "",
            ])
        }
        terminal.printPart(table.text(bold: Screen(terminal).bold))
        return .success
    }

    /// What a change did to a limit: `group eng, monthly: $50.00 -> $60.00`; the target's id for a change of something
    /// else.
    static func change(_ row: JSONValue) -> String {
        let (before, after) = (row["before"] ?? .null, row["after"] ?? .null)
        let known = after == .null ? before : after
        guard let scope = LimitScope(known["scope"]), let period = known["period"]?.string else {
            return row["target_id"]?.string ?? ""
        }
        func state(_ limit: JSONValue) -> String {
            guard limit != .null else { return "none" }
            let pool = SpendLimitsCommands.pool(limit["pooled_budget"])
            return SpendText.amount(limit["amount"], null: "unlimited") + (pool.isEmpty ? "" : " with pool \(pool)")
        }
        return "\(scope.text), \(period): \(state(before)) -> \(state(after))"
    }
}
