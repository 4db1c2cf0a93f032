// SPDX-License-Identifier: Apache-2.0

internal import CommandLineSyntax
internal import Foundation
internal import GatewayClient
internal import GatewayCore

/// `claude -p`, and `claude` without a command.
enum PrintCommand {
    static func run(_ invocation: Invocation, in terminal: Terminal) async throws -> ExitCode {
        if invocation.has("version") {
            terminal.print("claude-gateway \(GatewayVersion.current)")
            return .success
        }
        guard var prompt = invocation.value("print") else {
            terminal.printPart(HelpRenderer.help(for: [], in: CommandTable.root))
            return .usage
        }
        if prompt == "-" { prompt = String(decoding: FileHandle.standardInput.readDataToEndOfFile(), as: UTF8.self) }
        guard !prompt.trimmingSpaces.isEmpty else { throw ClientFailure.badRequest("-p needs a text.") }
        let limit = invocation.value("max-tokens") ?? "4096"
        guard let maximum = Int(limit), maximum > 0 else {
            throw ClientFailure.badRequest("--max-tokens takes a positive number, not '\(limit)'.")
        }
        let model: String
        if let named = invocation.value("model") {
            model = named
        } else {
            model = try await self.defaultModel(terminal)
        }
        let gateway = SignedInGateway(
            file: CredentialFile(environment: terminal.environment), environment: terminal.environment)
        let isJSON = invocation.has("json")
        let request = MessageRequest(model: model, prompt: prompt, maximumTokens: maximum)
        let outcome = try await request.send(through: gateway) { text in
            if !isJSON { terminal.printPart(text) }
        }
        if isJSON {
            terminal.print(
                JSONValue.object([
                    "model": .string(model), "text": .string(outcome.text),
                    "stop_reason": outcome.stopReason.jsonOrNull,
                    "usage": [
                        "input_tokens": .integer(outcome.inputTokens), "output_tokens": .integer(outcome.outputTokens),
                    ],
                ]).text())
        } else {
            terminal.print("")
            if terminal.isInteractive {
                terminal.say("\(model): \(outcome.inputTokens) tokens in, \(outcome.outputTokens) out")
            }
        }
        return .success
    }

    /// The policy's model when it names a listed one, else the first Sonnet, else the first model.
    private static func defaultModel(_ terminal: Terminal) async throws -> String {
        let ids = try await ModelsCommand.list(terminal).compactMap { $0["id"]?.string }
        let preferred = try await SettingsCommand.fetch(terminal)?["settings"]?["model"]?.string
        if let preferred, let match = ids.first(where: { $0 == preferred || $0.contains(preferred) }) { return match }
        guard let model = ids.first(where: { $0.contains("sonnet") }) ?? ids.first else {
            throw ClientFailure.refused(
                "the gateway lists no model for you. Ask your administrator, or name one with --model.")
        }
        return model
    }
}
