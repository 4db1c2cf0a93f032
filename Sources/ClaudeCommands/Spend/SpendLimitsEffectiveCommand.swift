// SPDX-License-Identifier: Apache-2.0

internal import CommandLineSyntax
internal import GatewayClient
internal import GatewayCore

/// `claude spend limits effective`.
enum SpendLimitsEffectiveCommand: Command {
    static let spec = CommandSpec(
        "effective", "Show which limit counts for whom, and how much of it is spent.",
        discussion: ["Lists everybody who has spent, by the groups that the last request showed."],
        options: [
            OptionSpec("user", value: "TEXT", help: "Only developers with TEXT in their id, address or name."),
            OptionSpec("group", value: "GROUP", help: "Only a group's members."), .spendPeriod, json,
        ],
        examples: ["claude spend limits effective --user smith", "claude spend limits effective --period monthly"])

    static func run(_ invocation: Invocation, in terminal: Terminal) async throws -> ExitCode {
        var query = [("limit", "500")]
        if let text = invocation.value("user") { query.append(("q", text)) }
        if let group = invocation.value("group") { query.append(("group", group)) }
        if let period = invocation.value("period") { query.append(("period[]", period)) }
        let connection = try await AdminConnection.administrator(environment: terminal.environment)
        let rows = try await connection.list(SpendLimitsCommands.path + "/effective", query: query) {
            terminal.progress("Reading limits… \($0.count.groupedByThousands) rows")
        }
        terminal.endProgress()
        if invocation.has("json") {
            terminal.print(JSONValue.array(rows).text())
            return .success
        }
        if rows.isEmpty {
            terminal.say("Nobody like that has spent anything yet.")
            return .success
        }
        var table = TextTable([
            .left("USER"), .left("PERIOD"), .right("SPENT"), .right("LIMIT"), .right("LEFT"), .left("SET BY"),
        ])
        for row in rows { table.add(self.cells(row)) }
        terminal.printPart(table.text(bold: Screen(terminal).bold))
        return .success
    }

    private static func cells(_ row: JSONValue) -> [String] {
        let spent = row["period_to_date_spend"]?.string.flatMap { Money(cents: $0) } ?? .zero
        let limit = row["amount"]?.string.flatMap { Money(cents: $0) }
        var origin = LimitScope(row["source"])?.text ?? ""
        for pool in row["pooled_budgets"]?.array ?? [] {
            origin += origin.isEmpty ? "" : "; "
            origin += "pool of \(pool["rbac_group_id"]?.string ?? ""): \(SpendLimitsCommands.pool(pool))"
        }
        return [
            row["actor"]?["email_address"]?.string ?? row["actor"]?["user_id"]?.string ?? "",
            row["period"]?.string ?? "", spent.text, SpendText.amount(row["amount"], null: "unlimited"),
            limit.map { max(.zero, $0 - spent).text } ?? "", origin,
        ]
    }
}
