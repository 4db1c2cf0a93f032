// SPDX-License-Identifier: Apache-2.0

package import CommandLineSyntax
internal import Foundation
internal import GatewayClient
internal import GatewayCore

/// Every command. A new one adds its line here; help, manual pages and completions follow.
package enum CommandTable {
    private static let commands: [([String], any Command.Type)] = [
        (["gateway"], GatewayServerCommand.self),
        (["login"], LoginCommand.self),
        (["logout"], LogoutCommand.self),
        (["whoami"], WhoamiCommand.self),
        (["models"], ModelsCommand.self),
        (["settings"], SettingsCommand.self),
        (["token"], TokenCommand.self),
        (["spend"], SpendCommand.self),
        (["admin", "sessions"], AdminSessionsCommand.self),
        (["admin", "revoke"], AdminRevokeCommand.self),
        (["spend", "limits", "list"], SpendLimitsListCommand.self),
        (["spend", "limits", "set"], SpendLimitsSetCommand.self),
        (["spend", "limits", "delete"], SpendLimitsDeleteCommand.self),
        (["spend", "limits", "effective"], SpendLimitsEffectiveCommand.self),
        (["spend", "limits", "audit"], SpendLimitsAuditCommand.self),
        (["spend", "request"], SpendRequestCommand.self),
        (["spend", "requests", "list"], SpendRequestsListCommand.self),
        (["spend", "requests", "approve"], SpendRequestsApproveCommand.self),
        (["spend", "requests", "deny"], SpendRequestsDenyCommand.self),
        (["spend", "requests", "withdraw"], SpendRequestsWithdrawCommand.self),
        (["spend", "alerts", "test"], SpendAlertsTestCommand.self),
        (["config", "validate"], ConfigValidateCommand.self),
        (["config", "explain"], ConfigExplainCommand.self),
        (["config", "diff"], ConfigDiffCommand.self),
        (["config", "schema"], ConfigSchemaCommand.self),
        (["completion"], CompletionCommand.self),
        (["generate"], GenerateCommand.self),
    ]

    package static let root = CommandSpec(
        "claude", "Run a Claude gateway, and work through one.",
        discussion: [
            "claude gateway is the server that stands between developers' Claude Code clients and an organization's model providers. The other commands sign this machine in to a gateway and use it.",
            "With -p, one message is sent and the answer is printed as it arrives.",
        ],
        options: [
            OptionSpec(
                "print", short: "p", value: "TEXT",
                help: "Send TEXT as one message and print the answer. - reads it from standard input."),
            OptionSpec(
                "model", value: "MODEL",
                help: "The model for -p. Default: the policy's model, or the first Sonnet that the gateway lists."),
            OptionSpec("max-tokens", value: "N", help: "The longest answer for -p, in tokens. Default: 4096."),
            OptionSpec("json", help: "With -p, print the whole answer as JSON."),
            OptionSpec("version", short: "V", help: "Print the version."),
        ],
        subcommands: [
            GatewayServerCommand.spec, LoginCommand.spec, LogoutCommand.spec, WhoamiCommand.spec, ModelsCommand.spec,
            SettingsCommand.spec, TokenCommand.spec, SpendCommand.spec, AdminCommands.spec,
            CommandSpec(
                "config", "Work with gateway.yaml.",
                subcommands: [
                    ConfigValidateCommand.spec, ConfigExplainCommand.spec, ConfigDiffCommand.spec,
                    ConfigSchemaCommand.spec,
                ], runnable: false),
            CompletionCommand.spec, GenerateCommand.spec,
        ],
        examples: [
            "claude gateway --dev",
            "claude login https://claude.internal.example.com",
            "claude -p \"Say hello\"",
        ])

    /// Runs the program.
    package static func main(_ arguments: [String], in terminal: Terminal = .standard()) async -> ExitCode {
        let invocation: Invocation
        do throws(UsageError) {
            invocation = try CommandLineParser(self.root).parse(arguments)
        } catch {
            let command = (["claude"] + error.command).joined(separator: " ")
            terminal.say("claude: \(error)")
            terminal.say("Try \(command) --help.")
            return .usage
        }
        if invocation.has("help") {
            terminal.printPart(HelpRenderer.help(for: invocation.path, in: self.root))
            return .success
        }
        do {
            return try await self.run(invocation, terminal)
        } catch let failure as ClientFailure {
            terminal.endProgress()
            terminal.say("claude: \(failure)")
            return ExitCode(failure)
        } catch {
            terminal.endProgress()
            terminal.say("claude: \("\(error)".singleLine)")
            return .failure
        }
    }

    private static func run(_ invocation: Invocation, _ terminal: Terminal) async throws -> ExitCode {
        if invocation.path.isEmpty { return try await PrintCommand.run(invocation, in: terminal) }
        guard let command = self.commands.first(where: { $0.0 == invocation.path }) else {
            terminal.printPart(HelpRenderer.help(for: invocation.path, in: self.root))
            return .usage
        }
        return try await command.1.run(invocation, in: terminal)
    }
}
