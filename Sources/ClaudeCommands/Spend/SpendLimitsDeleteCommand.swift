// SPDX-License-Identifier: Apache-2.0

internal import CommandLineSyntax
internal import GatewayClient
internal import GatewayCore

/// `claude spend limits delete`.
enum SpendLimitsDeleteCommand: Command {
    static let spec = CommandSpec(
        "delete", "Delete a limit.",
        discussion: ["Name it by its id, or by its scope and period."],
        options: SpendLimitsCommands.scope + [.spendPeriod, json],
        arguments: [ArgumentSpec("ID", help: "The limit's id, as claude spend limits list shows it.")],
        examples: ["claude spend limits delete --user dev@example.com --period daily"])

    static func run(_ invocation: Invocation, in terminal: Terminal) async throws -> ExitCode {
        let wanted = try self.wanted(invocation)
        let connection = try await AdminConnection.administrator(environment: terminal.environment)
        let id: String
        switch wanted {
        case .id(let named): id = named
        case .limit(let scope, let period):
            id = try await self.id(of: try await LimitScope(scope, connection), period, connection)
        }
        let answer = try await connection.call("DELETE", "\(SpendLimitsCommands.path)/\(FormCoding.escape(id))")
        terminal.print(invocation.has("json") ? answer.json.text() : "Deleted \(id.singleLine)")
        return .success
    }

    private enum Wanted {
        case id(String)
        case limit(ScopeOption, period: String)
    }

    private static func wanted(_ invocation: Invocation) throws -> Wanted {
        switch (invocation.arguments.first, try ScopeOption(invocation)) {
        case (nil, nil), (_?, _?):
            throw ClientFailure.badRequest(
                "which limit? Give its ID, or --user, --group or --org with --period, and not both.")
        case (let id?, nil):
            guard !id.isEmpty else { throw ClientFailure.badRequest("the ID is empty.") }
            guard !invocation.has("period") else {
                throw ClientFailure.badRequest("--period goes with a scope. Leave it out beside the ID.")
            }
            return .id(id)
        case (nil, let scope?):
            guard let period = invocation.value("period") else {
                throw ClientFailure.badRequest(
                    "which period? Add --period daily, --period weekly or --period monthly.")
            }
            return .limit(scope, period: period)
        }
    }

    private static func id(of scope: LimitScope, _ period: String, _ connection: AdminConnection) async throws
        -> String
    {
        let found = try await connection.list(
            SpendLimitsCommands.path, query: scope.query + [("period", period), ("limit", "1")])
        guard let id = found.first?["id"]?.string else {
            throw ClientFailure.refused("there is no \(period) limit for \(scope.phrase.singleLine).")
        }
        return id
    }
}
