// SPDX-License-Identifier: Apache-2.0

internal import CommandLineSyntax
internal import GatewayClient
internal import GatewayServer

/// `claude gateway`.
enum GatewayServerCommand: Command {
    static let spec = CommandSpec(
        "gateway", "Run the gateway server.",
        discussion: [
            "Reads the configuration once, connects to the store and the identity provider, and serves until SIGTERM or SIGINT. Audit events and operational lines go to standard error.",
            "On the first signal the listener closes and open requests may finish for 25 seconds (CLAUDE_GATEWAY_DRAIN_TIMEOUT_MS); a second signal ends them at once.",
            "--dev needs no file: loopback only, a temporary store, a built-in identity provider with a pick-a-user page, and a built-in model unless ANTHROPIC_API_KEY is set. It is not for production.",
        ],
        options: [
            OptionSpec("config", short: "c", value: "FILE", .file, help: "The configuration, gateway.yaml(5)."),
            OptionSpec("dev", help: "Run a whole gateway on this machine without a configuration, to try it."),
            OptionSpec(
                "host", value: "ADDRESS", help: "With --dev, the loopback address to listen on. Default: 127.0.0.1."),
            OptionSpec("port", value: "PORT", help: "With --dev, the port to listen on. Default: 8787."),
        ],
        examples: ["claude gateway --config gateway.yaml", "claude gateway --dev --port 8080"])

    static func run(_ invocation: Invocation, in terminal: Terminal) async throws -> ExitCode {
        if invocation.has("dev") {
            guard !invocation.has("config") else {
                throw ClientFailure.badRequest("--dev needs no configuration; leave out --config, or --dev.")
            }
            let text = invocation.value("port") ?? String(DevMode.defaultPort)
            guard let port = Int(text), (0...65535).contains(port) else {
                throw ClientFailure.badRequest("--port takes a number from 0 to 65535, not '\(text)'.")
            }
            let ending = await DevMode.run(
                host: invocation.value("host") ?? "127.0.0.1", port: port, environment: terminal.environment)
            return ExitCode(ending)
        }
        guard let path = invocation.value("config") else {
            throw ClientFailure.badRequest(
                "which configuration? Run claude gateway --config gateway.yaml, or claude gateway --dev to try it without one."
            )
        }
        for option in ["host", "port"] where invocation.has(option) {
            throw ClientFailure.badRequest(
                "--\(option) goes with --dev; with --config write listen.\(option) into the file.")
        }
        return ExitCode(await GatewayCommand.run(configuration: path, environment: terminal.environment))
    }
}
