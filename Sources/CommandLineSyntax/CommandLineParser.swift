// SPDX-License-Identifier: Apache-2.0

internal import GatewayCore

/// Parses arguments against a command tree.
///
/// `--name value`, `--name=value`, `-n value`, `-nvalue`, grouped switches (`-ab`), and `--`, after which everything is
/// an argument. Options may stand before and after arguments. An unambiguous prefix is not accepted: scripts would break
/// when a later version adds a longer name.
package struct CommandLineParser {
    private let root: CommandSpec

    package init(_ root: CommandSpec) {
        self.root = root
    }

    package func parse(_ arguments: [String]) throws(UsageError) -> Invocation {
        var state = State(command: self.root)
        var rest = arguments[...]
        while let word = rest.popFirst() {
            if state.isLiteral {
                state.positional.append(word)
            } else if word == "--" {
                state.isLiteral = true
            } else if word.hasPrefix("--") {
                try self.long(String(word.dropFirst(2)), &rest, &state)
            } else if word.hasPrefix("-"), word.count > 1 {
                try self.short(word, &rest, &state)
            } else if state.positional.isEmpty, let sub = state.command.subcommands.first(where: { $0.name == word }) {
                state.enter(sub)
            } else {
                state.positional.append(word)
            }
        }
        return try self.finish(state)
    }

    private struct State {
        var command: CommandSpec
        var path: [String] = []
        var options: [String: [String]] = [:]
        var positional: [String] = []
        var isLiteral = false

        init(command: CommandSpec) {
            self.command = command
        }

        mutating func enter(_ sub: CommandSpec) {
            self.command = sub
            self.path.append(sub.name)
        }

        var known: [OptionSpec] { self.command.allOptions }
    }

    private func long(_ text: String, _ rest: inout ArraySlice<String>, _ state: inout State) throws(UsageError) {
        let parts = text.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
        let name = String(parts[0])
        let attached = parts.count > 1 ? String(parts[1]) : nil
        guard let option = state.known.first(where: { $0.name == name }) else {
            throw self.unknown("--" + name, candidates: state.known.map { "--" + $0.name }, state)
        }
        try self.take(option, spelled: "--" + name, attached: attached, &rest, &state)
    }

    private func short(_ word: String, _ rest: inout ArraySlice<String>, _ state: inout State) throws(UsageError) {
        var letters = word.dropFirst()
        while let letter = letters.popFirst() {
            guard let option = state.known.first(where: { $0.short == letter }) else {
                throw self.unknown("-\(letter)", candidates: [], state)
            }
            if option.valueName == nil {
                state.options[option.name, default: []].append("")
                continue
            }
            let attached = letters.isEmpty ? nil : String(letters.first == "=" ? letters.dropFirst() : letters)
            try self.take(option, spelled: "-\(letter)", attached: attached, &rest, &state)
            return
        }
    }

    private func take(
        _ option: OptionSpec, spelled: String, attached: String?, _ rest: inout ArraySlice<String>, _ state: inout State,
    ) throws(UsageError) {
        guard let valueName = option.valueName else {
            if attached != nil { throw UsageError("\(spelled) takes no value.", command: state.path) }
            state.options[option.name, default: []].append("")
            return
        }
        guard let value = attached ?? rest.popFirst() else {
            throw UsageError("\(spelled) needs a value: \(spelled) \(valueName).", command: state.path)
        }
        if case .choice(let choices) = option.valueKind, !choices.contains(value) {
            let near = Suggestion.nearest(to: value, in: choices).map { " Did you mean \($0)?" } ?? ""
            throw UsageError(
                "\(spelled) takes one of \(choices.joined(separator: ", ")), not '\(value)'.\(near)",
                command: state.path)
        }
        state.options[option.name, default: []].append(value)
    }

    private func finish(_ state: State) throws(UsageError) -> Invocation {
        let invocation = Invocation(path: state.path, options: state.options, arguments: state.positional)
        if invocation.has("help") { return invocation }
        let command = state.command
        if !command.isRunnable, let word = state.positional.first {
            throw self.unknown(word, candidates: command.visibleSubcommands.map(\.name), state, kind: "command")
        }
        let limit = command.arguments.contains(where: \.isRepeated) ? Int.max : command.arguments.count
        if state.positional.count > limit {
            let word = state.positional[limit]
            if limit == 0, !command.visibleSubcommands.isEmpty {
                throw self.unknown(word, candidates: command.visibleSubcommands.map(\.name), state, kind: "command")
            }
            throw UsageError("unexpected argument '\(word)'.", command: state.path)
        }
        let required = command.arguments.filter(\.isRequired)
        if state.positional.count < required.count {
            throw UsageError("\(required[state.positional.count].name) is missing.", command: state.path)
        }
        return invocation
    }

    private func unknown(
        _ word: String, candidates: [String], _ state: State, kind: String = "option",
    ) -> UsageError {
        let near = Suggestion.nearest(to: word, in: candidates).map { " Did you mean \($0)?" } ?? ""
        return UsageError("unknown \(kind) '\(word)'.\(near)", command: state.path)
    }
}
