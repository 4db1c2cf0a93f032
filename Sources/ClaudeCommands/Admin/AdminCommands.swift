// SPDX-License-Identifier: Apache-2.0

internal import CommandLineSyntax
internal import GatewayClient
internal import GatewayCore

/// `claude admin`.
enum AdminCommands {
    static let spec = CommandSpec(
        "admin", "See who is signed in, and end it.",
        subcommands: [AdminSessionsCommand.spec, AdminRevokeCommand.spec],
        runnable: false)

    static let path = "/v1/organizations/sessions"
}

/// `claude admin sessions`.
enum AdminSessionsCommand: Command {
    static let spec = CommandSpec(
        "sessions", "List the sessions of signed-in devices.",
        discussion: [
            "A session lasts from a sign-in until it is revoked, until the identity provider refuses to refresh it, or until nobody has refreshed it for 90 days. Needs an admin key in CLAUDE_GATEWAY_ADMIN_KEY, or a session in one of admin.admin_groups."
        ],
        options: [
            OptionSpec("user", value: "USER", help: "Only those of this subject or e-mail address."), json,
        ],
        examples: ["claude admin sessions", "claude admin sessions --user ada@example.com --json"])

    static func run(_ invocation: Invocation, in terminal: Terminal) async throws -> ExitCode {
        let connection = try await AdminConnection.administrator(environment: terminal.environment)
        var sessions: [JSONValue] = []
        var after: String?
        repeat {
            var query = [("limit", "1000")]
            if let user = invocation.value("user") { query.append(("user", user)) }
            if let after { query.append(("after_id", after)) }
            let answer = try await connection.call("GET", AdminCommands.path, query: query).json
            sessions += answer["data"]?.array ?? []
            after = answer["last_id"]?.string
        } while after != nil
        if invocation.has("json") {
            terminal.print(JSONValue.array(sessions).text())
            return .success
        }
        guard !sessions.isEmpty else {
            terminal.say("There is no session.")
            return .success
        }
        var table = TextTable([
            .left("USER"), .left("SUBJECT"), .left("SIGNED IN"), .left("LAST REFRESH"), .left("SESSION"),
        ])
        for session in sessions {
            func text(_ key: String) -> String { session[key]?.string?.singleLine ?? "" }
            table.add([text("email"), text("subject"), text("created_at"), text("refreshed_at"), text("id")])
        }
        terminal.printPart(table.text(bold: Screen(terminal).bold))
        return .success
    }
}

/// `claude admin revoke`.
enum AdminRevokeCommand: Command {
    static let spec = CommandSpec(
        "revoke", "End sessions, and the bearers that belong to them.",
        discussion: [
            "Everything that was issued until now to the user, the session or the members of the group counts no longer, at every replica within 5 seconds. Whoever may still sign in at the identity provider can sign in again: disable the account there first. Needs the right to write.",
            "A group's members are known by the groups in their bearers.",
        ],
        options: [
            OptionSpec("user", value: "USER", help: "A subject or an e-mail address."),
            OptionSpec("session", value: "ID", help: "A session, as claude admin sessions shows it."),
            OptionSpec("group", value: "GROUP", help: "A group of the identity provider."), json,
        ],
        examples: ["claude admin revoke --user ada@example.com", "claude admin revoke --group contractors"])

    static func run(_ invocation: Invocation, in terminal: Terminal) async throws -> ExitCode {
        let kinds = ["user", "session", "group"].filter { invocation.value($0) != nil }
        guard kinds.count == 1, let kind = kinds.first, let id = invocation.value(kind) else {
            throw ClientFailure.badRequest("name one of --user, --session and --group.")
        }
        let connection = try await AdminConnection.administrator(environment: terminal.environment)
        let answer = try await connection.call(
            "POST", AdminCommands.path + "/revocations", body: .object([kind: .string(id)])
        ).json
        if invocation.has("json") {
            terminal.print(answer.text())
            return .success
        }
        let count = answer["sessions_ended"]?.integer ?? 0
        let what =
            kind == "group"
            ? "The sessions of \(id.singleLine)'s members end" : "\(count) session\(count == 1 ? "" : "s") ended"
        terminal.print("\(what); bearers count no longer within 5 seconds")
        return .success
    }
}
