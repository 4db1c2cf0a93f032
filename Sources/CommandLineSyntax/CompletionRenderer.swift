// SPDX-License-Identifier: Apache-2.0

/// Renders shell completions from a command tree.
package enum CompletionRenderer {
    private struct Node {
        let path: [String]
        let command: CommandSpec
    }

    private static func nodes(_ root: CommandSpec) -> [Node] {
        func walk(_ command: CommandSpec, _ path: [String]) -> [Node] {
            [Node(path: path, command: command)] + command.visibleSubcommands.flatMap { walk($0, path + [$0.name]) }
        }
        return walk(root, [])
    }

    private static func spellings(_ option: OptionSpec) -> [String] {
        ["--" + option.name] + (option.short.map { ["-\($0)"] } ?? [])
    }

    // MARK: bash

    package static func bash(_ root: CommandSpec) -> String {
        var out = """
            # SPDX-License-Identifier: Apache-2.0
            # bash completion for \(root.name). Rendered; see scripts/regenerate.

            _\(root.name)() {
                local cur prev path word i
                cur=${COMP_WORDS[COMP_CWORD]}
                prev=${COMP_WORDS[COMP_CWORD-1]}
                path=
                for ((i = 1; i < COMP_CWORD; i++)); do
                    word=${COMP_WORDS[i]}
                    case "$path $word" in

            """
        for node in self.nodes(root) where !node.path.isEmpty {
            let above = node.path.dropLast().map { " " + $0 }.joined()
            out += "            \"\(above) \(node.path.last!)\") path=\"\(node.path.map { " " + $0 }.joined())\" ;;\n"
        }
        out += "        esac\n    done\n    case \"$path:$prev\" in\n"
        for node in self.nodes(root) {
            for option in node.command.allOptions where option.valueName != nil {
                let path = node.path.map { " " + $0 }.joined()
                let patterns = self.spellings(option).map { "\"\(path):\($0)\"" }.joined(separator: "|")
                let action =
                    switch option.valueKind {
                    case .file: "COMPREPLY=($(compgen -f -- \"$cur\"))"
                    case .choice(let words): "COMPREPLY=($(compgen -W \"\(words.joined(separator: " "))\" -- \"$cur\"))"
                    case .text: "COMPREPLY=()"
                    }
                out += "        \(patterns)) \(action); return ;;\n"
            }
        }
        out += "    esac\n    case \"$path\" in\n"
        for node in self.nodes(root) {
            let words = node.command.visibleSubcommands.map(\.name) + node.command.allOptions.flatMap(self.spellings)
            let path = node.path.map { " " + $0 }.joined()
            out += "        \"\(path)\") COMPREPLY=($(compgen -W \"\(words.joined(separator: " "))\" -- \"$cur\")) ;;\n"
        }
        out += "    esac\n"
        let files = self.nodes(root).filter { $0.command.arguments.contains { $0.kind == .file } }
        if !files.isEmpty {
            let patterns = files.map { "\"\($0.path.map { " " + $0 }.joined())\"" }.joined(separator: "|")
            out +=
                "    case \"$path\" in\n        \(patterns)) [[ $cur == -* ]] || COMPREPLY+=($(compgen -f -- \"$cur\")) ;;\n    esac\n"
        }
        return out + "}\n\ncomplete -o filenames -F _\(root.name) \(root.name)\n"
    }

    // MARK: zsh

    package static func zsh(_ root: CommandSpec) -> String {
        var out = """
            #compdef \(root.name)
            # SPDX-License-Identifier: Apache-2.0
            # zsh completion for \(root.name). Rendered; see scripts/regenerate.


            """
        for node in self.nodes(root).reversed() { out += self.zshFunction(node, root) }
        return out + "_\(root.name) \"$@\"\n"
    }

    private static func zshName(_ path: [String], _ root: CommandSpec) -> String {
        "_" + ([root.name] + path).joined(separator: "_")
    }

    private static func zshQuote(_ text: String) -> String {
        text.replacing("'", with: "'\\''").replacing("[", with: "\\[").replacing("]", with: "\\]").replacing(
            ":", with: "\\:")
    }

    private static func zshValue(_ name: String, _ kind: OptionSpec.ValueKind) -> String {
        switch kind {
        case .file: ":\(name):_files"
        case .choice(let words): ":\(name):(\(words.joined(separator: " ")))"
        case .text: ":\(name): "
        }
    }

    private static func zshFunction(_ node: Node, _ root: CommandSpec) -> String {
        var specs = node.command.allOptions.flatMap { option -> [String] in
            let value = option.valueName.map { self.zshValue($0, option.valueKind) } ?? ""
            return self.spellings(option).map { "'\($0)[\(self.zshQuote(option.help))]\(value)'" }
        }
        let subs = node.command.visibleSubcommands
        if subs.isEmpty {
            for argument in node.command.arguments {
                specs.append(
                    "'\(argument.isRepeated ? "*" : "")\(argument.isRequired ? "" : ":")\(self.zshValue(argument.name, argument.kind))'"
                )
            }
        } else {
            specs += ["'1: :->command'", "'*:: :->rest'"]
        }
        var out = "\(self.zshName(node.path, root))() {\n"
        if !subs.isEmpty { out += "    local curcontext=$curcontext state line\n" }
        out +=
            "    _arguments \(subs.isEmpty ? "" : "-C ")\\\n        " + specs.joined(separator: " \\\n        ") + "\n"
        if !subs.isEmpty {
            out += "    case $state in\n        command)\n            local -a commands=(\n"
            for sub in subs { out += "                '\(sub.name):\(self.zshQuote(sub.summary))'\n" }
            out +=
                "            )\n            _describe command commands ;;\n        rest)\n            case $line[1] in\n"
            for sub in subs { out += "                \(sub.name)) \(self.zshName(node.path + [sub.name], root)) ;;\n" }
            out += "            esac ;;\n    esac\n"
        }
        return out + "}\n\n"
    }

    // MARK: fish

    package static func fish(_ root: CommandSpec) -> String {
        var out = """
            # SPDX-License-Identifier: Apache-2.0
            # fish completion for \(root.name). Rendered; see scripts/regenerate.

            complete -c \(root.name) -f

            """
        for node in self.nodes(root) {
            let condition = self.fishCondition(node)
            for sub in node.command.visibleSubcommands {
                out += "complete -c \(root.name) -n '\(condition)' -a \(sub.name) -d '\(self.fishQuote(sub.summary))'\n"
            }
            for option in node.command.allOptions {
                var line = "complete -c \(root.name) -n '\(condition)' -l \(option.name)"
                if let short = option.short { line += " -s \(short)" }
                if option.valueName != nil {
                    switch option.valueKind {
                    case .file: line += " -r -F"
                    case .choice(let words): line += " -x -a '\(words.joined(separator: " "))'"
                    case .text: line += " -x"
                    }
                }
                out += line + " -d '\(self.fishQuote(option.help))'\n"
            }
            if node.command.arguments.contains(where: { $0.kind == .file }) {
                out += "complete -c \(root.name) -n '\(condition)' -F\n"
            }
        }
        return out
    }

    private static func fishCondition(_ node: Node) -> String {
        let seen = node.path.map { "__fish_seen_subcommand_from \($0)" }
        let subs = node.command.visibleSubcommands.map(\.name)
        if node.path.isEmpty { return "__fish_use_subcommand" }
        let notYet = subs.isEmpty ? [] : ["not __fish_seen_subcommand_from \(subs.joined(separator: " "))"]
        return (seen + notYet).joined(separator: "; and ")
    }

    private static func fishQuote(_ text: String) -> String {
        text.replacing("'", with: "\\'")
    }
}
