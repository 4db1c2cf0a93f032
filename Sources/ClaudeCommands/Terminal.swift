// SPDX-License-Identifier: Apache-2.0

internal import Foundation
internal import GatewayCore

/// Where a command's words go: results to standard output, remarks to standard error. Tests pass one that collects.
package struct Terminal: Sendable {
    package let environment: [String: String]
    /// Whether standard error is a terminal, on which a line may be written over.
    package let isInteractive: Bool
    private let out: @Sendable (String) -> Void
    private let err: @Sendable (String) -> Void

    package init(
        environment: [String: String], isInteractive: Bool, out: @escaping @Sendable (String) -> Void,
        err: @escaping @Sendable (String) -> Void,
    ) {
        self.environment = environment
        self.isInteractive = isInteractive
        self.out = out
        self.err = err
    }

    /// The process's own.
    package static func standard() -> Terminal {
        Terminal(
            environment: ProcessInfo.processInfo.environment,
            isInteractive: isatty(STDERR_FILENO) == 1,
            out: { FileHandle.standardOutput.write(Data($0.utf8)) },
            err: { FileHandle.standardError.write(Data($0.utf8)) })
    }

    /// A result.
    package func print(_ text: String) { self.out(text + "\n") }
    package func printPart(_ text: String) { self.out(text) }
    /// A remark.
    package func say(_ text: String) { self.err(text + "\n") }

    /// Whether colours and other attributes may be used: <https://no-color.org>.
    package var usesColor: Bool {
        self.isInteractive && (self.environment["NO_COLOR"] ?? "").isEmpty && self.environment["TERM"] != "dumb"
    }

    /// Writes over the current line; nothing when nobody watches.
    package func progress(_ text: String) {
        if self.isInteractive, self.environment["TERM"] != "dumb" { self.err("\r\u{1B}[K" + text) }
    }

    package func endProgress() {
        if self.isInteractive, self.environment["TERM"] != "dumb" { self.err("\r\u{1B}[K") }
    }

    package func bold(_ text: String) -> String {
        self.usesColor ? "\u{1B}[1m\(text)\u{1B}[0m" : text
    }
}
