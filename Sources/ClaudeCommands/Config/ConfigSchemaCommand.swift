// SPDX-License-Identifier: Apache-2.0

internal import CommandLineSyntax
internal import GatewayConfig
internal import GatewayCore
internal import GatewayServer

/// `claude config schema`.
enum ConfigSchemaCommand: Command {
    static let spec = CommandSpec(
        "schema", "Print the JSON Schema of gateway.yaml.",
        discussion: [
            "The schema (draft 2020-12) comes from the table that the gateway itself reads the file with. Editors use it to complete and check keys: keep it beside the file, and let the file's first line be",
            "# yaml-language-server: $schema=gateway.schema.json",
        ],
        examples: ["claude config schema > gateway.schema.json"])

    static func run(_ invocation: Invocation, in terminal: Terminal) async throws -> ExitCode {
        terminal.print(GatewaySettings.schema.prettyText())
        return .success
    }
}
