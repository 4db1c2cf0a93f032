// SPDX-License-Identifier: Apache-2.0

/// Renders a command's `--help`.
package enum HelpRenderer {
    private static let width = 80
    private static let column = 28

    package static func help(for path: [String], in root: CommandSpec) -> String {
        var command = root
        for name in path { command = command.subcommands.first { $0.name == name } ?? command }
        let title = ([root.name] + path).joined(separator: " ")
        var out = self.wrapped(command.summary, indent: 0) + "\n"
        out += "Usage: " + self.synopsis(command, title: title).joined(separator: "\n       ") + "\n"
        for paragraph in command.discussion { out += "\n" + self.wrapped(paragraph, indent: 0) }
        if !command.visibleSubcommands.isEmpty {
            out += "\nCommands:\n"
            for sub in command.visibleSubcommands { out += self.row(sub.name, sub.summary) }
        }
        if !command.arguments.isEmpty {
            out += "\nArguments:\n"
            for argument in command.arguments { out += self.row(argument.synopsis, argument.help) }
        }
        out += "\nOptions:\n"
        for option in command.allOptions {
            out += self.row((option.short == nil ? "    " : "") + option.synopsis, option.help)
        }
        if !command.examples.isEmpty {
            out += "\nExamples:\n" + command.examples.map { "  \($0)\n" }.joined()
        }
        return out
    }

    /// The forms in which a command is called.
    package static func synopsis(_ command: CommandSpec, title: String) -> [String] {
        var forms: [String] = []
        if command.isRunnable {
            let arguments = command.arguments.map { " " + $0.synopsis }.joined()
            forms.append(title + (command.options.isEmpty ? "" : " [OPTION…]") + arguments)
        }
        if !command.visibleSubcommands.isEmpty { forms.append(title + " COMMAND") }
        return forms
    }

    private static func row(_ left: String, _ right: String) -> String {
        let text = self.wrapped(right, indent: self.column)
        if left.count + 4 > self.column { return "  \(left)\n" + text }
        let gap = String(repeating: " ", count: self.column - left.count - 2)
        return "  " + left + gap + text.drop { $0 == " " }
    }

    static func wrapped(_ text: String, indent: Int) -> String {
        let margin = String(repeating: " ", count: indent)
        var out = ""
        var line = ""
        for word in text.split(separator: " ") {
            if !line.isEmpty, indent + line.count + 1 + word.count > self.width {
                out += margin + line + "\n"
                line = ""
            }
            line += (line.isEmpty ? "" : " ") + word
        }
        return out + margin + line + "\n"
    }
}
