// SPDX-License-Identifier: Apache-2.0

internal import CommandLineSyntax
internal import GatewayClient

/// `claude completion`.
enum CompletionCommand: Command {
    static let spec = CommandSpec(
        "completion", "Print a shell's completion script.",
        arguments: [
            ArgumentSpec("SHELL", required: true, .choice(["bash", "zsh", "fish"]), help: "bash, zsh or fish.")
        ],
        examples: ["claude completion bash > /etc/bash_completion.d/claude"])

    static func run(_ invocation: Invocation, in terminal: Terminal) async throws -> ExitCode {
        switch invocation.arguments[0] {
        case "bash": terminal.printPart(CompletionRenderer.bash(CommandTable.root))
        case "zsh": terminal.printPart(CompletionRenderer.zsh(CommandTable.root))
        case "fish": terminal.printPart(CompletionRenderer.fish(CommandTable.root))
        default:
            throw ClientFailure.badRequest("'\(invocation.arguments[0])' has no completions; write bash, zsh or fish.")
        }
        return .success
    }
}
