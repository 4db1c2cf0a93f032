// SPDX-License-Identifier: Apache-2.0

internal import CommandLineSyntax
internal import GatewayClient
internal import GatewayCore

/// `claude spend limits list`.
enum SpendLimitsListCommand: Command {
    static let spec = CommandSpec(
        "list", "List the limits.",
        options: SpendLimitsCommands.scope + [.spendPeriod, json],
        examples: ["claude spend limits list", "claude spend limits list --group data-science"])

    static func run(_ invocation: Invocation, in terminal: Terminal) async throws -> ExitCode {
        let scope = try ScopeOption(invocation)
        let connection = try await AdminConnection.administrator(environment: terminal.environment)
        var query = [("limit", "1000")]
        if let scope { query += try await LimitScope(scope, connection).query }
        if let period = invocation.value("period") { query.append(("period", period)) }
        let limits = try await connection.list(SpendLimitsCommands.path, query: query)
        if invocation.has("json") {
            terminal.print(JSONValue.array(limits).text())
            return .success
        }
        if limits.isEmpty {
            terminal.say("There is no such limit.")
            return .success
        }
        let users = limits.compactMap { $0["scope"]?["user_id"]?.string }
        let emails = try await AccountLookup.emails(of: Array(Set(users)).sorted(), connection)
        var table = TextTable([.left("SCOPE"), .left("PERIOD"), .right("AMOUNT"), .left("POOL"), .left("ID")])
        for limit in limits {
            table.add([
                LimitScope(limit["scope"])?.text(emails: emails) ?? "", limit["period"]?.string ?? "",
                SpendText.amount(limit["amount"], null: "unlimited"), SpendLimitsCommands.pool(limit["pooled_budget"]),
                limit["id"]?.string ?? "",
            ])
        }
        terminal.printPart(table.text(bold: Screen(terminal).bold))
        return .success
    }
}
