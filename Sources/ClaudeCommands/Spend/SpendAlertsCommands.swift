// SPDX-License-Identifier: Apache-2.0

internal import CommandLineSyntax
internal import GatewayClient
internal import GatewayCore

/// `claude spend alerts`.
enum SpendAlertsCommands {
    static let spec = CommandSpec(
        "alerts", "Work with the alerts about spend.", subcommands: [SpendAlertsTestCommand.spec], runnable: false)
}

/// `claude spend alerts test`.
enum SpendAlertsTestCommand: Command {
    private static let path = "/v1/organizations/spend_alerts/test"

    static let spec = CommandSpec(
        "test", "Send a test alert to every receiver.",
        discussion: ["Exits with 1 when a receiver did not take it, or when there is none."], options: [json])

    static func run(_ invocation: Invocation, in terminal: Terminal) async throws -> ExitCode {
        let connection = try await AdminConnection.administrator(environment: terminal.environment)
        let answer = try await connection.call("POST", self.path, body: [:]).json
        guard let deliveries = answer["data"]?.array else {
            throw ClientFailure.refused("the gateway's answer has no data. Is it of another version?")
        }
        if invocation.has("json") {
            terminal.print(JSONValue.array(deliveries).text())
        } else if !deliveries.isEmpty {
            terminal.printPart(self.table(deliveries).text(bold: Screen(terminal).bold))
        }
        let failed = deliveries.count { $0["status"] != "delivered" }
        if deliveries.isEmpty {
            terminal.say("The gateway has no receiver of alerts.")
        } else if failed > 0 {
            terminal.say("\(failed) of \(deliveries.count) could not be delivered.")
        }
        return deliveries.isEmpty || failed > 0 ? .failure : .success
    }

    static func table(_ deliveries: [JSONValue]) -> TextTable {
        var table = TextTable([.left("RECEIVER"), .left("STATUS"), .right("HTTP"), .right("TIME"), .left("ERROR")])
        for delivery in deliveries {
            func number(_ key: String) -> String? { delivery[key]?.integer.map { String($0) } }
            table.add([
                delivery["url"]?.string ?? "", delivery["status"]?.string ?? "", number("http_status") ?? "",
                number("duration_ms").map { "\($0) ms" } ?? "", delivery["error"]?.string ?? "",
            ])
        }
        return table
    }
}
