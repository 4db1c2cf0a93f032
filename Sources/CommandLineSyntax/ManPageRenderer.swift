// SPDX-License-Identifier: Apache-2.0

/// Renders manual pages in man(7) macros.
package struct ManPageRenderer {
    /// A section that does not follow from the command tree.
    package struct Section: Sendable {
        package let title: String
        /// Terms with their explanations; a term may be empty for a plain paragraph.
        package let entries: [(term: String, text: String)]

        package init(_ title: String, _ entries: [(term: String, text: String)]) {
            self.title = title
            self.entries = entries
        }
    }

    private let root: CommandSpec
    private let date: String
    private let version: String

    package init(root: CommandSpec, date: String, version: String) {
        self.root = root
        self.date = date
        self.version = version
    }

    /// The page of one command with everything below it.
    package func page(for path: [String], sections: [Section]) -> String {
        var command = self.root
        for name in path { command = command.subcommands.first { $0.name == name } ?? command }
        let title = ([self.root.name] + path).joined(separator: " ")
        let name = ([self.root.name] + path).joined(separator: "-")
        var out = self.head(name, section: 1)
        out += ".SH NAME\n\(Self.escape(name)) \\- \(Self.escape(Self.asPhrase(command.summary)))\n"
        out += ".SH SYNOPSIS\n"
        for form in HelpRenderer.synopsis(command, title: title) { out += ".B \(Self.escape(form))\n.br\n" }
        if !command.discussion.isEmpty {
            out += ".SH DESCRIPTION\n" + command.discussion.map(Self.escape).joined(separator: "\n.PP\n") + "\n"
        }
        if !command.visibleSubcommands.isEmpty {
            out += ".SH COMMANDS\n"
            for sub in command.visibleSubcommands { out += self.describe(sub, title: title) }
        }
        out += ".SH OPTIONS\n" + self.options(command)
        if !command.examples.isEmpty {
            out += ".SH EXAMPLES\n.nf\n" + command.examples.map(Self.escape).joined(separator: "\n") + "\n.fi\n"
        }
        return out + Self.render(sections)
    }

    /// A page of section 5.
    package func filePage(_ name: String, summary: String, sections: [Section]) -> String {
        self.head(name, section: 5) + ".SH NAME\n\(Self.escape(name)) \\- \(Self.escape(summary))\n"
            + Self.render(sections)
    }

    private func head(_ name: String, section: Int) -> String {
        ".\\\" SPDX-License-Identifier: Apache-2.0\n.TH \(Self.escape(name.uppercased())) \(section) \(self.date) \"Claude gateway \(self.version)\"\n"
    }

    private func describe(_ command: CommandSpec, title: String) -> String {
        let full = title + " " + command.name
        var out = ""
        for form in HelpRenderer.synopsis(command, title: full) { out += ".SS \(Self.escape(form))\n" }
        out += ([command.summary] + command.discussion).map(Self.escape).joined(separator: "\n.PP\n") + "\n"
        for argument in command.arguments {
            out += ".TP\n.I \(Self.escape(argument.synopsis))\n\(Self.escape(argument.help))\n"
        }
        if !command.options.isEmpty { out += self.options(command, own: true) }
        for sub in command.visibleSubcommands { out += self.describe(sub, title: full) }
        return out
    }

    private func options(_ command: CommandSpec, own: Bool = false) -> String {
        (own ? command.options : command.allOptions).map { option in
            ".TP\n.B \(Self.escape(option.synopsis))\n\(Self.escape(option.help))\n"
        }.joined()
    }

    private static func render(_ sections: [Section]) -> String {
        sections.map { section in
            ".SH \(self.escape(section.title.uppercased()))\n"
                + section.entries.map { entry in
                    entry.term.isEmpty
                        ? ".PP\n\(self.escape(entry.text))\n"
                        : ".TP\n.B \(self.escape(entry.term))\n\(self.escape(entry.text))\n"
                }.joined()
        }.joined()
    }

    /// roff takes a backslash, a hyphen, and a leading dot or apostrophe for its own.
    static func escape(_ text: String) -> String {
        let body = text.replacing("\\", with: "\\e").replacing("-", with: "\\-").replacing("…", with: "...")
        return body.hasPrefix(".") || body.hasPrefix("'") ? "\\&" + body : body
    }

    private static func asPhrase(_ sentence: String) -> String {
        let text = sentence.hasSuffix(".") ? String(sentence.dropLast()) : sentence
        return text.prefix(1).lowercased() + text.dropFirst()
    }
}
