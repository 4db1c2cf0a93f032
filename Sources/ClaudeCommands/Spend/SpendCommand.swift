// SPDX-License-Identifier: Apache-2.0

internal import CommandLineSyntax
internal import GatewayClient
internal import GatewayCore

/// `claude spend`.
enum SpendCommand: Command {
    enum Format: String, CaseIterable {
        case table
        case json
        case csv
        case focus
    }

    static let spec = CommandSpec(
        "spend", "Show spend, and work with its limits.",
        discussion: [
            "Without a scope: your own spend this month, with your limits, what is left of them, and when they begin anew. --user, --group and --org show others' spend, and are for administrators: sign in with an account in an admin group (admin.admin_groups), or put an admin key into the environment variable CLAUDE_GATEWAY_ADMIN_KEY.",
            "Days are UTC. DATE is YYYY-MM-DD, today, yesterday, 7d (seven days with today), week, last-week, month or last-month; --from takes its first day and --to its last, so that --from last-month --to last-month is the whole of last month.",
            "Tables and CSV show dollars; JSON has the API's decimal strings of cents. --format focus writes the columns of FOCUS 1.2, a row for each day, developer, model and upstream.",
        ],
        options: [
            OptionSpec("user", value: "USER", help: "The spend of " + ScopeOption.userHelp + " May be repeated."),
            OptionSpec("group", value: "GROUP", help: "The spend of a group's members. May be repeated."),
            OptionSpec("org", help: "Everybody's spend."),
            OptionSpec(
                "by", value: "LIST",
                help:
                    "Split by day, model, user, group, upstream or billing-group; several with commas. Default: model, and for --group user."
            ),
            OptionSpec("from", value: "DATE", help: "The first day. Default: month, the first of this month."),
            OptionSpec("to", value: "DATE", help: "The last day, which is included. Default: today."),
            OptionSpec(
                "format", value: "FORMAT", .choice(Format.allCases.map(\.rawValue)),
                help: "table, json, csv or focus. Default: table."),
            OptionSpec("json", help: "The same as --format json."),
            OptionSpec("chart", help: "Show a bar for each row in place of its tokens."),
        ],
        subcommands: [
            SpendLimitsCommands.spec, SpendRequestCommand.spec, SpendRequestsCommands.spec, SpendAlertsCommands.spec,
        ],
        examples: [
            "claude spend", "claude spend --by day --from 7d --chart",
            "claude spend --group data-science --by user,model",
            "claude spend --org --from last-month --to last-month --format focus",
        ])

    private static let groupRemark =
        "A developer in several groups counts in each of them; the total counts everybody once."

    static func run(_ invocation: Invocation, in terminal: Terminal) async throws -> ExitCode {
        let now = Timestamp.now
        let format = try self.format(invocation)
        let dimensions = try self.dimensions(invocation, format)
        let range = try SpendRange(from: invocation.value("from"), to: invocation.value("to"), now: now)
        let subject = try await Subject(invocation, terminal)
        // Limits are of today, and belong to nobody else and no other time.
        let showsLimits =
            (format == .table || format == .json) && !invocation.has("from") && !invocation.has("to")
        var limits: OwnLimits?
        if let account = subject.account, showsLimits {
            limits = try await OwnLimits.read(subject.connection, account, now: now)
        }
        let report = try await SpendReport.read(
            subject.connection, subject.filter, by: dimensions, range, for: subject.audience, terminal)
        switch format {
        case .table: self.show(report, limits, subject, invocation, now: now, terminal)
        case .json:
            var object: JSONObject = [:]
            object["limits"] = limits?.json
            for member in report.json.members { object[member.key] = member.value }
            terminal.print(JSONValue.object(object).text())
        case .csv: terminal.printPart(report.csv)
        case .focus: terminal.printPart(FocusExport(report, url: subject.connection.url).csv)
        }
        if format != .focus, dimensions.contains(.group) { terminal.say(self.groupRemark) }
        return .success
    }

    private static func show(
        _ report: SpendReport, _ limits: OwnLimits?, _ subject: Subject, _ invocation: Invocation, now: Timestamp,
        _ terminal: Terminal,
    ) {
        let screen = Screen(terminal)
        if let limits {
            terminal.printPart(limits.table(now: now, bold: screen.bold) + "\n")
            if limits.rows.contains(where: { $0.amount == .untold }) {
                terminal.say("The gateway tells the amount of the nearest limit only.")
            }
        }
        terminal.print("Spend of \(subject.name.singleLine), \(report.range.description)")
        if report.rows.isEmpty {
            terminal.say("Nothing has been spent.")
            return
        }
        terminal.printPart(
            invocation.has("chart")
                ? report.chart(screen.barStyle, width: screen.width, bold: screen.bold)
                : report.table(bold: screen.bold))
    }

    // MARK: Options

    private static func format(_ invocation: Invocation) throws -> Format {
        let named = invocation.value("format").flatMap(Format.init)
        if let named, named != .json, invocation.has("json") {
            throw ClientFailure.badRequest("--json and --format \(named.rawValue) exclude each other. Leave one out.")
        }
        let format = named ?? (invocation.has("json") ? .json : .table)
        if invocation.has("chart"), format != .table {
            throw ClientFailure.badRequest("--chart is for tables. Leave it out, or --format and --json.")
        }
        return format
    }

    private static func dimensions(_ invocation: Invocation, _ format: Format) throws -> [SpendDimension] {
        let named = try SpendDimension.parse(invocation.options["by"] ?? [])
        if format == .focus {
            guard named.isEmpty else {
                throw ClientFailure.badRequest(
                    "--format focus has a row for each day, developer, model and upstream. Leave out --by.")
            }
            return FocusExport.dimensions
        }
        return named.isEmpty ? [invocation.has("group") ? .user : .model] : named
    }

    /// Whose spend is shown, and with which rights.
    private struct Subject {
        let connection: AdminConnection
        var filter = SpendReport.Filter()
        let audience: AdminConnection.Audience
        /// The developer himself, when it is about nobody else.
        var account: AdminConnection.Account?
        /// For people.
        let name: String

        init(_ invocation: Invocation, _ terminal: Terminal) async throws {
            guard let scope = try ScopeOption(invocation) else {
                self.connection = try await AdminConnection.developer(environment: terminal.environment)
                guard let account = self.connection.account else {
                    throw ClientFailure.notSignedIn("Your session names no account. Run claude login.")
                }
                // Without the filter an administrator would be shown everybody.
                self.filter.users = [account.subject]
                self.account = account
                self.audience = .developers
                self.name = account.email ?? account.subject
                return
            }
            self.connection = try await AdminConnection.administrator(environment: terminal.environment)
            switch scope {
            case .organization:
                // The reports show a developer his own spend when he asks for everybody's, so the right to see
                // everybody's is asked for first.
                _ = try await self.connection.call("GET", SpendLimitsCommands.path, query: [("limit", "1")])
                self.audience = .administrators
                self.name = "everybody"
            case .groups(let names):
                self.filter.groups = names
                self.audience = .administrators
                self.name = "group " + names.joined(separator: ", ")
            case .users(let users):
                if let own = self.connection.account, users.allSatisfy(own.isNamed) {
                    self.filter.users = [own.subject]
                    self.audience = .developers
                } else {
                    for user in users { self.filter.users += try await AccountLookup.ids(of: user, self.connection) }
                    self.audience = .administrators
                }
                self.name = users.joined(separator: ", ")
            }
        }
    }
}

extension AdminConnection.Account {
    /// Whether the value of `--user` is this account.
    fileprivate func isNamed(_ user: String) -> Bool {
        AccountLookup.literalID(user) == self.subject
            || self.email.map { $0.lowercased() == user.trimmingSpaces.lowercased() } ?? false
    }
}
