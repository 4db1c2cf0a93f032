// SPDX-License-Identifier: Apache-2.0

internal import CommandLineSyntax
internal import GatewayClient
internal import GatewayConfig
internal import GatewayCore
internal import GatewayServer

/// `claude config explain`.
enum ConfigExplainCommand: Command {
    static let spec = CommandSpec(
        "explain", "Tell what a configuration means for one developer.",
        discussion: [
            "Shows whether the developer may sign in, which policies match and why, the merged settings with the origin of each key, and which models are allowed, with the upstreams in the order they are tried and the id that each receives. With --model, only that model's way. With --online, secrets are resolved, and the store is asked which spend limits count."
        ],
        options: [
            OptionSpec("email", value: "ADDRESS", help: "The developer's e-mail address."),
            OptionSpec("groups", value: "LIST", help: "The developer's groups, separated by commas."),
            OptionSpec("model", value: "MODEL", help: "A model, as the developer's client sends it."),
            OptionSpec("online", help: "Ask the store which spend limits count."), json,
        ],
        arguments: [ArgumentSpec("FILE", .file, help: "The file. Default: gateway.yaml.")],
        examples: ["claude config explain gateway.yaml --email dev@example.com --groups eng"])

    static func run(_ invocation: Invocation, in terminal: Terminal) async throws -> ExitCode {
        let path = invocation.arguments.first ?? "gateway.yaml"
        let isOnline = invocation.has("online")
        guard let settings = ConfigurationFile.usable(path, isOnline: isOnline, terminal)?.settings else {
            return .configuration
        }
        let groups = (invocation.value("groups") ?? "").split(separator: ",").map { String($0).trimmingSpaces }
            .filter { !$0.isEmpty }
        let explanation = ConfigurationExplanation(
            settings, email: invocation.value("email"), groups: groups, model: invocation.value("model"))
        var spend: SpendExplanation?
        if isOnline {
            do {
                spend = try await SpendExplanation.read(settings, email: invocation.value("email"), groups: groups)
            } catch {
                terminal.say("claude: the store: \("\(error)".singleLine)")
                return .unreachable
            }
        }
        if invocation.has("json") {
            var json = explanation.json
            if case .object(var object) = json, let spend {
                object["spend"] = spend.json
                json = .object(object)
            }
            terminal.print(json.text())
        } else {
            terminal.print(explanation.text + (spend.map { "\n\n" + $0.text } ?? ""))
        }
        return .success
    }
}

extension ConfigurationFile {
    /// A file that can be used; otherwise its faults are told.
    ///
    /// - Parameter isOnline: Whether secrets are needed, because something will be connected to.
    static func usable(_ path: String, isOnline: Bool = false, _ terminal: Terminal) -> ConfigurationFile? {
        let allowsLoopback = ["1", "true"].contains(terminal.environment["CLAUDE_GATEWAY_ALLOW_LOOPBACK"] ?? "")
        let file = ConfigurationFile.read(
            path, isOnline ? .running(terminal.environment, allowsLoopback: allowsLoopback) : .linting)
        if file.settings != nil { return file }
        for fault in file.report.errors { terminal.say(fault.line(inFile: path)) }
        return nil
    }
}
