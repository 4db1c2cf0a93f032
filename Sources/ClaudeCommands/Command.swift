// SPDX-License-Identifier: Apache-2.0

package import CommandLineSyntax

/// One command of the program: what it takes, and what it does.
package protocol Command: Sendable {
    static var spec: CommandSpec { get }
    static func run(_ invocation: Invocation, in terminal: Terminal) async throws -> ExitCode
}

extension Command {
    static var json: OptionSpec { OptionSpec("json", help: "Print the result as JSON.") }
}
