// SPDX-License-Identifier: Apache-2.0

internal import CommandLineSyntax
internal import GatewayClient
internal import GatewayCore

/// `claude spend request`.
enum SpendRequestCommand: Command {
    static let spec = CommandSpec(
        "request", "Ask an administrator for a higher limit.",
        options: [
            OptionSpec("amount", value: "DOLLARS", help: "The limit that you would like."),
            OptionSpec(
                "period", value: "PERIOD", .choice(SpendPeriod.allCases.map(\.rawValue)),
                help: "daily, weekly or monthly: which of your limits. Default: monthly."),
            OptionSpec("reason", value: "TEXT", help: "What you need it for."), json,
        ],
        examples: ["claude spend request --amount 200 --reason \"Migration of the billing service\""])

    static func run(_ invocation: Invocation, in terminal: Terminal) async throws -> ExitCode {
        guard let amount = try invocation.wholeCents("amount") else {
            throw ClientFailure.badRequest("how much? Add --amount DOLLARS.")
        }
        guard let reason = invocation.value("reason")?.trimmingSpaces, !reason.isEmpty else {
            throw ClientFailure.badRequest("what for? Add --reason TEXT, which the administrator will read.")
        }
        let connection = try await AdminConnection.developer(environment: terminal.environment)
        let body: JSONValue = [
            "amount": .string(amount), "period": .string(invocation.value("period") ?? SpendPeriod.monthly.rawValue),
            "reason": .string(reason),
        ]
        let request = try await connection.call("POST", SpendRequestsCommands.path, body: body, for: .developers).json
        SpendRequestsCommands.show(request, invocation, terminal)
        return .success
    }
}

/// `claude spend requests`.
enum SpendRequestsCommands {
    static let path = "/v1/organizations/spend_limit_increase_requests"

    static let spec = CommandSpec(
        "requests", "Show and decide who has asked for a higher limit.",
        subcommands: [
            SpendRequestsListCommand.spec, SpendRequestsApproveCommand.spec, SpendRequestsDenyCommand.spec,
            SpendRequestsWithdrawCommand.spec,
        ], runnable: false)

    static let id = ArgumentSpec(
        "ID", required: true, help: "The request's id, as claude spend requests list shows it.")

    static func path(of invocation: Invocation) -> String {
        "\(self.path)/\(FormCoding.escape(invocation.arguments[0]))"
    }

    /// A request as it stands now.
    static func show(_ request: JSONValue, _ invocation: Invocation, _ terminal: Terminal) {
        terminal.print(invocation.has("json") ? request.text() : self.sentence(request).singleLine)
    }

    /// Sends an administrator's decision about the request that the command names; `--reason` goes with it.
    static func decide(_ verb: String, _ detail: JSONObject, _ invocation: Invocation, _ terminal: Terminal)
        async throws -> ExitCode
    {
        var body = detail
        body["reason"] = invocation.value("reason").map(JSONValue.string)
        let connection = try await AdminConnection.administrator(environment: terminal.environment)
        let request = try await connection.call(
            "POST", self.path(of: invocation) + "/" + verb, body: .object(body)
        ).json
        self.show(request, invocation, terminal)
        return .success
    }

    /// `slr_1 is approved: dev@example.com may spend $50.00 monthly until 2026-12-01 00:00 UTC`.
    static func sentence(_ request: JSONValue) -> String {
        let who = request["email"]?.string ?? request["user_id"]?.string ?? "the developer"
        let period = request["period"]?.string ?? ""
        let status = request["status"]?.string ?? ""
        var text = "\(request["id"]?.string ?? "") is \(status): "
        if status == "approved" {
            let amount = request["granted_amount"]?.string == nil ? "requested_amount" : "granted_amount"
            text += "\(who) may spend \(SpendText.amount(request[amount], null: "without limit")) \(period)"
            let end = SpendText.time(request["expires_at"])
            if !end.isEmpty { text += " until \(end) UTC" }
            return text
        }
        text += "\(who) asks for \(SpendText.amount(request["requested_amount"], null: "no limit")) \(period)"
        if let now = request["current_amount"] {
            text += " instead of \(SpendText.amount(now, null: "no limit"))"
        }
        return text
    }
}

/// `claude spend requests list`.
enum SpendRequestsListCommand: Command {
    static let spec = CommandSpec(
        "list", "List requests: an administrator sees everybody's, a developer his own.",
        options: [
            OptionSpec(
                "status", value: "STATUS", .choice(["pending", "approved", "denied", "withdrawn", "expired"]),
                help: "Only pending, approved, denied, withdrawn or expired ones."), json,
        ],
        examples: ["claude spend requests list --status pending"])

    static func run(_ invocation: Invocation, in terminal: Terminal) async throws -> ExitCode {
        var query = [("limit", "1000")]
        if let status = invocation.value("status") { query.append(("status", status)) }
        let connection = try await AdminConnection.administrator(environment: terminal.environment)
        let requests = try await connection.list(SpendRequestsCommands.path, query: query, for: .developers)
        if invocation.has("json") {
            terminal.print(JSONValue.array(requests).text())
            return .success
        }
        if requests.isEmpty {
            terminal.say("There is no such request.")
            return .success
        }
        terminal.printPart(self.table(requests).text(bold: Screen(terminal).bold))
        return .success
    }

    static func table(_ requests: [JSONValue]) -> TextTable {
        var table = TextTable([
            .left("ID"), .left("CREATED (UTC)"), .left("USER"), .left("PERIOD"), .right("NOW"), .right("ASKED"),
            .right("GRANTED"), .left("STATUS"), .left("UNTIL (UTC)"), .left("REASON"),
        ])
        for request in requests {
            table.add([
                request["id"]?.string ?? "", SpendText.time(request["created_at"]),
                request["email"]?.string ?? request["user_id"]?.string ?? "", request["period"]?.string ?? "",
                SpendText.amount(request["current_amount"], null: "no limit"),
                SpendText.amount(request["requested_amount"], null: ""),
                SpendText.amount(request["granted_amount"], null: ""), request["status"]?.string ?? "",
                SpendText.time(request["expires_at"]), request["reason"]?.string ?? "",
            ])
        }
        return table
    }
}

/// `claude spend requests approve`.
enum SpendRequestsApproveCommand: Command {
    static let spec = CommandSpec(
        "approve", "Grant a request.",
        options: [
            OptionSpec("amount", value: "DOLLARS", help: "The limit to grant. Default: what was asked for."),
            OptionSpec(
                "until", value: "TIME",
                help: "Until when: YYYY-MM-DD, whose end in UTC counts, or 7d or 12h from now."),
            OptionSpec("permanent", help: "Without an end."), .reason, json,
        ],
        arguments: [SpendRequestsCommands.id],
        examples: ["claude spend requests approve slr_01 --amount 150 --until 14d"])

    static func run(_ invocation: Invocation, in terminal: Terminal) async throws -> ExitCode {
        var body: JSONObject = [:]
        body["amount"] = try invocation.wholeCents("amount").map(JSONValue.string)
        body["expires_at"] = try invocation.deadline("until", now: .now).map { .string($0.description) }
        if invocation.has("permanent") {
            guard body["expires_at"] == nil else {
                throw ClientFailure.badRequest("--until and --permanent exclude each other. Leave one out.")
            }
            body["permanent"] = true
        }
        return try await SpendRequestsCommands.decide("approve", body, invocation, terminal)
    }
}

/// `claude spend requests deny`.
enum SpendRequestsDenyCommand: Command {
    static let spec = CommandSpec(
        "deny", "Refuse a request.", options: [.reason, json], arguments: [SpendRequestsCommands.id],
        examples: ["claude spend requests deny slr_01 --reason \"Use Haiku for this\""])

    static func run(_ invocation: Invocation, in terminal: Terminal) async throws -> ExitCode {
        try await SpendRequestsCommands.decide("deny", [:], invocation, terminal)
    }
}

/// `claude spend requests withdraw`.
enum SpendRequestsWithdrawCommand: Command {
    static let spec = CommandSpec(
        "withdraw", "Take back a request of your own.", options: [json], arguments: [SpendRequestsCommands.id])

    static func run(_ invocation: Invocation, in terminal: Terminal) async throws -> ExitCode {
        let connection = try await AdminConnection.developer(environment: terminal.environment)
        let request = try await connection.call(
            "DELETE", SpendRequestsCommands.path(of: invocation), for: .developers
        ).json
        SpendRequestsCommands.show(request, invocation, terminal)
        return .success
    }
}
