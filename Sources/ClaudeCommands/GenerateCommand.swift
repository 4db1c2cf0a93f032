// SPDX-License-Identifier: Apache-2.0

internal import CommandLineSyntax
internal import Foundation
internal import GatewayClient

/// `claude generate DIRECTORY`: writes the committed files that follow from the sources. For scripts/regenerate.
enum GenerateCommand: Command {
    static let spec = CommandSpec(
        "generate", "Write the manual pages, completions and the sample configuration.",
        arguments: [ArgumentSpec("DIRECTORY", required: true, .file, help: "The checkout.")], hidden: true)

    static func run(_ invocation: Invocation, in terminal: Terminal) async throws -> ExitCode {
        for (path, text) in GeneratedFiles.all {
            let url = URL(fileURLWithPath: invocation.arguments[0]).appendingPathComponent(path)
            try FileManager.default.createDirectory(
                at: url.deletingLastPathComponent(), withIntermediateDirectories: true)
            try Data(text.utf8).write(to: url)
            terminal.print(path)
        }
        return .success
    }
}
