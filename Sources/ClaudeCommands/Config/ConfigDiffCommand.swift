// SPDX-License-Identifier: Apache-2.0

internal import CommandLineSyntax
internal import GatewayConfig
internal import GatewayCore
internal import GatewayServer

/// `claude config diff`.
enum ConfigDiffCommand: Command {
    static let spec = CommandSpec(
        "diff", "Tell what changes for whom between two configurations.",
        discussion: [
            "One change a line: + where somebody may do more than before, - where somebody may do less, ~ for everything else. Kinds of developers are told apart by the groups and e-mail domains that either file names.",
            "Exits with 8 when access widens, so that a pipeline can ask for a second pair of eyes, and with 3 when a file has faults.",
        ],
        options: [json],
        arguments: [
            ArgumentSpec("OLD", required: true, .file, help: "The configuration as it is."),
            ArgumentSpec("NEW", required: true, .file, help: "The configuration as it will be."),
        ],
        examples: ["claude config diff deployed.yaml gateway.yaml"])

    static func run(_ invocation: Invocation, in terminal: Terminal) async throws -> ExitCode {
        guard let old = ConfigurationFile.usable(invocation.arguments[0], terminal),
            let new = ConfigurationFile.usable(invocation.arguments[1], terminal),
            let diff = ConfigurationDiff(old, new)
        else { return .configuration }
        terminal.print(invocation.has("json") ? diff.json.text() : diff.text)
        return diff.widens ? .accessWidens : .success
    }
}
