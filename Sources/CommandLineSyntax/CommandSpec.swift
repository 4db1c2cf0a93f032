// SPDX-License-Identifier: Apache-2.0

/// An option of a command, declared once; parsing, help, the man page and completions follow from it.
package struct OptionSpec: Sendable {
    /// What a shell may offer as the option's value.
    package enum ValueKind: Sendable, Equatable {
        case text
        case file
        case choice([String])
    }

    /// Without the leading hyphens.
    package let name: String
    package let short: Character?
    /// The value's name in help; `nil` for a switch.
    package let valueName: String?
    package let valueKind: ValueKind
    package let help: String

    /// A switch.
    package init(_ name: String, short: Character? = nil, help: String) {
        self.name = name
        self.short = short
        self.valueName = nil
        self.valueKind = .text
        self.help = help
    }

    /// An option with a value.
    package init(_ name: String, short: Character? = nil, value: String, _ kind: ValueKind = .text, help: String) {
        self.name = name
        self.short = short
        self.valueName = value
        self.valueKind = kind
        self.help = help
    }

    /// `-p, --print TEXT`.
    package var synopsis: String {
        (self.short.map { "-\($0), " } ?? "") + "--\(self.name)" + (self.valueName.map { " \($0)" } ?? "")
    }
}

/// A positional argument.
package struct ArgumentSpec: Sendable {
    package let name: String
    package let isRequired: Bool
    package let isRepeated: Bool
    package let kind: OptionSpec.ValueKind
    package let help: String

    package init(
        _ name: String, required: Bool = false, repeated: Bool = false, _ kind: OptionSpec.ValueKind = .text,
        help: String,
    ) {
        self.name = name
        self.isRequired = required
        self.isRepeated = repeated
        self.kind = kind
        self.help = help
    }

    /// `[FILE…]`.
    package var synopsis: String {
        let name = self.name + (self.isRepeated ? "…" : "")
        return self.isRequired ? name : "[\(name)]"
    }
}

/// A command, and the commands below it.
package struct CommandSpec: Sendable {
    package let name: String
    /// One line for lists.
    package let summary: String
    /// Paragraphs for help and the man page.
    package let discussion: [String]
    package let options: [OptionSpec]
    package let arguments: [ArgumentSpec]
    package let subcommands: [CommandSpec]
    /// Lines of a shell session.
    package let examples: [String]
    /// Whether the command can be run as it is; otherwise one of its subcommands is needed.
    package let isRunnable: Bool
    /// Hidden commands are parsed but neither listed nor documented.
    package let isHidden: Bool

    package init(
        _ name: String, _ summary: String, discussion: [String] = [], options: [OptionSpec] = [],
        arguments: [ArgumentSpec] = [], subcommands: [CommandSpec] = [], examples: [String] = [],
        runnable: Bool = true, hidden: Bool = false,
    ) {
        self.name = name
        self.summary = summary
        self.discussion = discussion
        self.options = options
        self.arguments = arguments
        self.subcommands = subcommands
        self.examples = examples
        self.isRunnable = runnable
        self.isHidden = hidden
    }

    package var visibleSubcommands: [CommandSpec] { self.subcommands.filter { !$0.isHidden } }

    /// Options that every command takes.
    package static let commonOptions = [OptionSpec("help", short: "h", help: "Show this help.")]

    package var allOptions: [OptionSpec] { self.options + Self.commonOptions }
}
