// SPDX-License-Identifier: Apache-2.0

internal import CommandLineSyntax
internal import Foundation
internal import GatewayClient
internal import GatewayConfig
internal import GatewayCore
internal import GatewayServer

/// `claude config validate`.
enum ConfigValidateCommand: Command {
    static let spec = CommandSpec(
        "validate", "Check configuration files.",
        discussion: [
            "Reports every fault of every file, one a line: file:line:column: key: what is wrong and what to write. Needs no network, and no secrets: ${VAR} and ${file:…} are not looked up.",
            "--strict looks secrets up, reads the files that the configuration names, and counts warnings as faults. --online also tries the identity provider, the database and the upstreams' credentials, and says which link of a credential chain answered; nothing is written and nothing is spent.",
            "Exits with 0 when the files can be used, and with 3 when one cannot.",
        ],
        options: [
            OptionSpec("strict", help: "Look secrets up, and count warnings as faults."),
            OptionSpec("online", help: "Also try the identity provider, the database and the credentials."),
            OptionSpec(
                "format", value: "FORMAT",
                help: "text, json, sarif (SARIF 2.1.0) or github (annotations of GitHub Actions). Default: text."),
            json,
        ],
        arguments: [
            ArgumentSpec("FILE", repeated: true, .file, help: "The files; - is standard input. Default: gateway.yaml.")
        ],
        examples: [
            "claude config validate gateway.yaml", "claude config validate --strict --online gateway.yaml",
            "claude config validate --format github gateway.yaml",
        ])

    static func run(_ invocation: Invocation, in terminal: Terminal) async throws -> ExitCode {
        let files = invocation.arguments.isEmpty ? ["gateway.yaml"] : invocation.arguments
        let isStrict = invocation.has("strict")
        let isOnline = invocation.has("online")
        let name = invocation.value("format") ?? (invocation.has("json") ? "json" : "text")
        guard let format = FaultFormat(rawValue: name) else {
            throw ClientFailure.badRequest("--format takes text, json, sarif or github, not '\(name)'.")
        }
        let reading: ConfigurationFile.Reading =
            isStrict || isOnline ? .strict(terminal.environment) : .linting
        var faults: [(file: String, fault: ConfigFault)] = []
        for path in files {
            let file = ConfigurationFile.read(path, reading)
            faults += file.report.sorted.map { (path, $0) }
            if isOnline {
                let allowsLoopback = ["1", "true"].contains(
                    terminal.environment["CLAUDE_GATEWAY_ALLOW_LOOPBACK"] ?? "")
                let findings = await OnlineCheck.run(
                    file, allowsLoopback: allowsLoopback, variables: terminal.environment)
                faults += findings.faults.map { (path, $0) }
                for remark in findings.remarks { terminal.say("\(path): \(remark)") }
            }
        }
        terminal.printPart(format.render(faults))
        let errors = faults.count { $0.fault.severity == .error || isStrict }
        if errors == 0 {
            let warnings = faults.isEmpty ? "" : ", \(faults.count) warning\(faults.count == 1 ? "" : "s")"
            terminal.say("\(files.count == 1 ? files[0] + " is" : "\(files.count) files are") valid\(warnings)")
            return .success
        }
        terminal.say("\(errors) fault\(errors == 1 ? "" : "s")")
        return .configuration
    }
}

extension ConfigurationFile {
    /// Reads a file, or standard input for `-`.
    static func read(_ path: String, _ reading: Reading) -> ConfigurationFile {
        guard path == "-" else { return ConfigurationFile(path: path, reading) }
        return ConfigurationFile(path: path, text: FileHandle.standardInput.readDataToEndOfFile(), reading)
    }
}
