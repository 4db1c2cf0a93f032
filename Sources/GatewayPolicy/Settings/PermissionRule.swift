// SPDX-License-Identifier: Apache-2.0

internal import GatewayConfig

/// The grammar of `permissions.allow`, `deny` and `ask`: `Tool` or `Tool(content)`.
///
/// Source: <https://code.claude.com/docs/en/permissions>, and what the contract's release accepts, measured.
enum PermissionRule {
    static func inspect(_ list: ConfigNode, grants: Bool, into report: inout ConfigReport) {
        for entry in list.list where !entry.isUnresolved {
            if let text = entry.string, let complaint = self.complaint(text, grants: grants) {
                report.error(entry, complaint)
            }
        }
    }

    /// - Parameter grants: Whether the rule allows something; such rules must name their tool.
    static func complaint(_ rule: String, grants: Bool) -> String? {
        if rule.allSatisfy(\.isWhitespace) {
            return "is an empty rule; write one such as Bash(npm test), or remove it."
        }
        let characters = Array(rule)
        let open = self.unescaped("(", in: characters, last: false)
        let close = self.unescaped(")", in: characters, last: true)
        var name = rule
        var content: String?
        if open != nil || close != nil {
            guard let open, let close, close > open, close == characters.count - 1 else {
                return "is not of the form Tool or Tool(content); the rule must end at its closing parenthesis."
            }
            if close == open + 1 {
                return "has nothing between its parentheses; write \(String(characters[..<open])) alone."
            }
            name = String(characters[..<open])
            content = String(characters[(open + 1)..<close])
        }
        if name.hasPrefix("mcp__") {
            if content != nil, name.count > "mcp__".count {
                return "names an MCP tool, which takes no content in parentheses; write \(name)."
            }
        } else if !name.hasPrefix("mcp_"), let first = name.first, first.isLowercase {
            return "names a tool that begins in lower case; write \(first.uppercased() + name.dropFirst())."
        }
        if grants, name.contains("*"), !self.isServerGlob(name) {
            return "allows tools by a pattern, which only deny and ask rules may; name the tool."
        }
        return content.flatMap { self.complaint(aboutContent: $0, of: name) }
    }

    private static func complaint(aboutContent content: String, of tool: String) -> String? {
        switch tool {
        case "Bash" where content == ":*": return "has no command before :*; write Bash alone to mean every command."
        case "Read", "Write", "Edit", "Glob", "NotebookRead", "NotebookEdit", "Cd":
            return content.contains(":*") ? "takes a path pattern, in which :* has no meaning; use * or **." : nil
        case "WebSearch":
            return content.contains("*") && content != "*" ? "takes plain words, not a pattern." : nil
        case "WebFetch":
            if content.contains("://") || content.hasPrefix("http") {
                return "takes a host, not a URL; write WebFetch(domain:example.com)."
            }
            return content.hasPrefix("domain:") || content == "*"
                ? nil : "must be written as WebFetch(domain:example.com)."
        default: return nil
        }
    }

    /// `mcp__server__*`: any tool of one server.
    private static func isServerGlob(_ name: String) -> Bool {
        guard name.hasPrefix("mcp__") else { return false }
        let rest = name.dropFirst("mcp__".count)
        guard let split = rest.firstIndex(of: "_"), rest[split...].hasPrefix("__") else { return false }
        return split > rest.startIndex && !rest[..<split].contains("*")
    }

    /// The place of a parenthesis without a backslash that escapes it.
    private static func unescaped(_ wanted: Character, in text: [Character], last: Bool) -> Int? {
        var found: Int?
        var isEscaped = false
        for (index, character) in text.enumerated() {
            if character == wanted, !isEscaped {
                found = index
                if !last { return found }
            }
            isEscaped = character == "\\" && !isEscaped
        }
        return found
    }
}
