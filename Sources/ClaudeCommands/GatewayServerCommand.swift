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
            "On the first signal new requests are refused and open ones may finish for 25 seconds (CLAUDE_GATEWAY_DRAIN_TIMEOUT_MS); a second signal ends them at once. Until then /readyz answers 503, and other new connections are closed.",
            "On SIGHUP, or with --watch when the file changes, a good file is served from the next request on, and a bad one is refused while the last good one stays. The listening address and the store need a restart.",
            "--dev needs no file: loopback only, a temporary store, a built-in identity provider with a pick-a-user page, and a built-in model unless ANTHROPIC_API_KEY is set. It is not for production.",
        ],
        options: [
            OptionSpec("config", short: "c", value: "FILE", .file, help: "The configuration, gateway.yaml(5)."),
            OptionSpec(
                "watch",
                help:
                    "Take the configuration over when it, or a file that it names, changes. SIGHUP does so at any time."
            ),
            OptionSpec(
                "health", value: "URL",
                help:
                    "Ask a gateway that runs, such as http://127.0.0.1:8080/healthz, and exit with 0 if it is well and 1 if not: a healthcheck for containers."
            ),
            OptionSpec("dev", help: "Run a whole gateway on this machine without a configuration, to try it."),
            OptionSpec(
                "host", value: "ADDRESS", help: "With --dev, the loopback address to listen on. Default: 127.0.0.1."),
            OptionSpec("port", value: "PORT", help: "With --dev, the port to listen on. Default: 8787."),
        ],
        examples: [
            "claude gateway --config gateway.yaml", "claude gateway --dev --port 8080",
            "claude gateway --health http://127.0.0.1:8080/healthz",
        ])

    static func run(_ invocation: Invocation, in terminal: Terminal) async throws -> ExitCode {
        if let url = invocation.value("health") {
            for option in ["config", "watch", "dev", "host", "port"] where invocation.has(option) {
                throw ClientFailure.badRequest("--health starts no gateway; leave out --\(option), or --health.")
            }
            return try await HealthProbe.run(url, in: terminal)
        }
        if invocation.has("dev") {
            guard !invocation.has("config"), !invocation.has("watch") else {
                throw ClientFailure.badRequest(
                    "--dev needs no configuration; leave out --config and --watch, or --dev.")
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
        return ExitCode(
            await GatewayCommand.run(
                configuration: path, watches: invocation.has("watch"), environment: terminal.environment))
    }
}
