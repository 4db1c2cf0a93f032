// SPDX-License-Identifier: Apache-2.0

internal import CommandLineSyntax
internal import GatewayConfig
internal import GatewayCore
internal import GatewayServer

/// `claude config validate`.
enum ConfigValidateCommand: Command {
    static let spec = CommandSpec(
        "validate", "Check configuration files.",
        discussion: [
            "Reports every fault of every file, one a line: file:line:column: key: what is wrong and what to write. Needs no network, and no secrets: ${VAR} and ${file:…} are not looked up.",
            "--strict looks secrets up and counts warnings as faults.",
        ],
        options: [OptionSpec("strict", help: "Look secrets up, and count warnings as faults."), json],
        arguments: [ArgumentSpec("FILE", repeated: true, .file, help: "The files. Default: gateway.yaml.")],
        examples: ["claude config validate gateway.yaml"])

    static func run(_ invocation: Invocation, in terminal: Terminal) async throws -> ExitCode {
        let files = invocation.arguments.isEmpty ? ["gateway.yaml"] : invocation.arguments
        let isStrict = invocation.has("strict")
        let reading: ConfigurationFile.Reading = isStrict ? .strict(terminal.environment) : .linting
        var faults: [(file: String, fault: ConfigFault)] = []
        for path in files {
            faults += ConfigurationFile(path: path, reading).report.sorted.map { (path, $0) }
        }
        if invocation.has("json") {
            terminal.print(JSONValue.array(faults.map { Self.row($0.fault, $0.file) }).text())
        } else {
            for (file, fault) in faults { terminal.print(fault.line(inFile: file)) }
        }
        let errors = faults.count { $0.fault.severity == .error || isStrict }
        if errors == 0 {
            let warnings = faults.isEmpty ? "" : ", \(faults.count) warning\(faults.count == 1 ? "" : "s")"
            terminal.say("\(files.count == 1 ? files[0] + " is" : "\(files.count) files are") valid\(warnings)")
            return .success
        }
        terminal.say("\(errors) fault\(errors == 1 ? "" : "s")")
        return .configuration
    }

    private static func row(_ fault: ConfigFault, _ file: String) -> JSONValue {
        [
            "file": .string(file), "line": .integer(fault.position.line), "column": .integer(fault.position.column),
            "key": .string(fault.path.description), "severity": .string(fault.severity.rawValue),
            "message": .string(fault.message),
        ]
    }
}
