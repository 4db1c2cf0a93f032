// SPDX-License-Identifier: Apache-2.0

internal import CommandLineSyntax
internal import GatewayClient
internal import GatewayCore

/// `claude spend limits set`.
enum SpendLimitsSetCommand: Command {
    static let spec = CommandSpec(
        "set", "Set a limit, or replace it.",
        discussion: [
            "A group's limit is for each of its members. With --pool the members also share one monthly budget; the pool's options belong to a group's monthly limit. Where only the pool changes, --amount and --unlimited can be left out."
        ],
        options: SpendLimitsCommands.scope + [
            .spendPeriod,
            OptionSpec("amount", value: "DOLLARS", help: "What may be spent in a period."),
            OptionSpec("unlimited", help: "Set no limit, where a wider one would count otherwise."),
            OptionSpec("pool", value: "DOLLARS", help: "What the group's members may spend together in a month."),
            OptionSpec("pause-pool", help: "Stop the pool; it keeps its amount."),
            OptionSpec("resume-pool", help: "Let the pool count again."),
            OptionSpec("remove-pool", help: "Remove the pool."), .reason, json,
        ],
        examples: [
            "claude spend limits set --org --period monthly --amount 200",
            "claude spend limits set --user dev@example.com --period daily --unlimited",
            "claude spend limits set --group eng --period monthly --amount 200 --pool 5,000",
        ])

    static func run(_ invocation: Invocation, in terminal: Terminal) async throws -> ExitCode {
        guard let period = invocation.value("period") else {
            throw ClientFailure.badRequest("which period? Add --period daily, --period weekly or --period monthly.")
        }
        guard let wanted = try ScopeOption(invocation) else {
            throw ClientFailure.badRequest("whose limit? Add --user USER, --group GROUP or --org.")
        }
        let amount = try invocation.wholeCents("amount")
        if amount != nil, invocation.has("unlimited") {
            throw ClientFailure.badRequest("--amount and --unlimited exclude each other. Leave one out.")
        }
        let pool = try self.pool(invocation, wanted, period)
        guard amount != nil || invocation.has("unlimited") || pool != nil else {
            throw ClientFailure.badRequest("how much? Add --amount DOLLARS or --unlimited.")
        }
        let connection = try await AdminConnection.administrator(environment: terminal.environment)
        let scope = try await LimitScope(wanted, connection)
        var body: JSONObject = ["scope": scope.json, "period": .string(period), "currency": "USD"]
        if amount != nil || invocation.has("unlimited") {
            body["amount"] = amount.jsonOrNull
        } else {
            body["amount"] = try await self.storedAmount(scope, period, connection)
        }
        body["pooled_budget"] = pool
        body["reason"] = invocation.value("reason").map(JSONValue.string)
        let answer = try await connection.call("POST", SpendLimitsCommands.path, body: .object(body))
        if invocation.has("json") {
            terminal.print(answer.json.text())
            return .success
        }
        let isNew = answer.header("spend-limit-change") == "created"
        var text = "\(isNew ? "Set" : "Changed") \(SpendLimitsCommands.title(answer.json)): "
        text += SpendText.amount(answer.json["amount"], null: "unlimited")
        let shared = SpendLimitsCommands.pool(answer.json["pooled_budget"])
        if !shared.isEmpty { text += "; pool \(shared)" }
        terminal.print("\(text) (\(answer.json["id"]?.string ?? ""))".singleLine)
        return .success
    }

    /// The API's `pooled_budget`; `nil` leaves the pool as it is.
    private static func pool(_ invocation: Invocation, _ scope: ScopeOption, _ period: String) throws -> JSONValue? {
        let amount = try invocation.wholeCents("pool")
        let given = ["pool", "pause-pool", "resume-pool", "remove-pool"].filter(invocation.has)
        guard let first = given.first else { return nil }
        for (one, other) in [("pause-pool", "resume-pool"), ("pool", "remove-pool"), ("resume-pool", "remove-pool")]
        where invocation.has(one) && invocation.has(other) {
            throw ClientFailure.badRequest("--\(one) and --\(other) exclude each other. Leave one out.")
        }
        guard case .groups = scope, period == "monthly" else {
            throw ClientFailure.badRequest(
                "--\(first) belongs to a group's monthly limit. Add --group GROUP --period monthly.")
        }
        var object: JSONObject = [:]
        if invocation.has("remove-pool") {
            // The API takes the amount away from a paused pool only.
            object = ["amount": .null, "paused": true]
        } else {
            object["amount"] = amount.map(JSONValue.string)
            if invocation.has("pause-pool") { object["paused"] = true }
            if invocation.has("resume-pool") { object["paused"] = false }
        }
        return .object(object)
    }

    /// The API replaces a limit's amount whenever it is told about its pool, so the one that is there is sent again.
    private static func storedAmount(_ scope: LimitScope, _ period: String, _ connection: AdminConnection) async throws
        -> JSONValue
    {
        let found = try await connection.list(
            SpendLimitsCommands.path, query: scope.query + [("period", period), ("limit", "1")])
        guard let amount = found.first?["amount"] else {
            throw ClientFailure.badRequest(
                "\(scope.phrase.singleLine) has no \(period) limit yet. Add --amount DOLLARS or --unlimited.")
        }
        return amount
    }
}
