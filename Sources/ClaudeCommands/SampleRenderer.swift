// SPDX-License-Identifier: Apache-2.0

internal import CommandLineSyntax
internal import GatewayConfig

/// Renders `gateway.yaml.sample` from the key table: every key with a line of why. Keys that a gateway needs stand with
/// an example; the others are commented out.
enum SampleRenderer {
    static func sample(_ section: ConfigSection) -> String {
        """
        # yaml-language-server: $schema=gateway.schema.json
        # SPDX-License-Identifier: Apache-2.0
        # The line above is for editors; write the schema with: claude config schema > gateway.schema.json
        #
        # gateway.yaml for the Claude gateway. Check it with: claude config validate gateway.yaml
        #
        # In a value, ${NAME} is replaced by an environment variable, ${NAME:-default} by a default where there is none,
        # and ${file:/path} by a file's content.
        # Lines that begin with "#" and a key show the defaults, or what a key looks like.


        """ + self.lines(section, indent: 0).joined(separator: "\n") + "\n"
    }

    private static func lines(_ section: ConfigSection, indent: Int, asItem: Bool = false) -> [String] {
        let margin = String(repeating: " ", count: indent)
        var out: [String] = []
        var isFirst = true
        for key in section.keys {
            let isShown = key.isRequired || key.example != nil
            for line in self.wrapped(key.summary, width: 110 - indent) { out.append("\(margin)# \(line)") }
            let hash = isShown ? "" : "# "
            // The first key of a list's item carries the hyphen.
            let lead = asItem && isFirst ? String(margin.dropLast(2)) + "- " : margin
            let prefix = isShown ? lead : margin + hash
            switch key.shape {
            case .section(let below) where isShown:
                out.append("\(prefix)\(key.name):")
                out += self.lines(below, indent: indent + 2)
            case .list(.variants(_, let variants), _) where isShown:
                out.append("\(prefix)\(key.name):")
                out += self.lines(variants[0].section, indent: indent + 4, asItem: true)
            case .section(let below), .list(.section(let below), _):
                // Not needed: the whole section is shown, commented out.
                let isItem = if case .list = key.shape { true } else { false }
                out.append("\(margin)# \(key.name):")
                let inner = self.lines(below, indent: isItem ? 4 : 2, asItem: isItem)
                out += inner.map { $0.isEmpty ? margin + "#" : "\(margin)# \($0)" }
            default:
                let value = key.example ?? self.placeholder(key)
                out.append("\(prefix)\(key.name): \(value)")
            }
            if isShown { isFirst = false }
            if indent == 0 { out.append("") }
        }
        return out
    }

    private static func placeholder(_ key: ConfigKey) -> String {
        switch key.shape {
        case .boolean, .number, .integer, .plainNumber:
            key.defaultText.flatMap { Double($0) != nil || ["true", "false"].contains($0) ? $0 : nil } ?? "1000"
        case .choice(let words): key.defaultText.flatMap { words.contains($0) ? $0 : nil } ?? words[0]
        case .list: key.defaultText.flatMap { $0.hasPrefix("[") ? $0 : nil } ?? "[]"
        case .map, .section, .document, .variants, .open: "{}"
        case .string, .outboundURL, .either: key.defaultText.map { $0.contains(" ") ? "\"…\"" : $0 } ?? "\"…\""
        }
    }

    private static func wrapped(_ text: String, width: Int) -> [String] {
        var lines = [""]
        for word in text.split(separator: " ") {
            if !lines[lines.count - 1].isEmpty, lines[lines.count - 1].count + 1 + word.count > width {
                lines.append("")
            }
            lines[lines.count - 1] += (lines[lines.count - 1].isEmpty ? "" : " ") + word
        }
        return lines
    }
}
