// SPDX-License-Identifier: Apache-2.0

/// A parsed command line.
package struct Invocation: Sendable, Equatable {
    /// The command's names from the root down, without the program's.
    package let path: [String]
    /// The values of each option given, in order; a switch has empty ones.
    package let options: [String: [String]]
    package let arguments: [String]

    package init(path: [String], options: [String: [String]], arguments: [String]) {
        self.path = path
        self.options = options
        self.arguments = arguments
    }

    package func has(_ name: String) -> Bool { self.options[name] != nil }

    /// The last value given.
    package func value(_ name: String) -> String? { self.options[name]?.last }
}

/// Why a command line was not understood, in one line with a remedy.
package struct UsageError: Error, Equatable, CustomStringConvertible {
    package let description: String
    /// The command whose help would tell more.
    package let command: [String]

    package init(_ description: String, command: [String]) {
        self.description = description
        self.command = command
    }
}
