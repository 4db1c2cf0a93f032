// SPDX-License-Identifier: Apache-2.0

internal import GatewayConfig

/// Renders docs/configuration.md from the key table.
enum ConfigurationPage {
    static func markdown(_ section: ConfigSection) -> String {
        var out = """
            # Configuration

            Every key of `gateway.yaml`, from the table that the gateway itself reads it by; `gateway.yaml(5)` says the same, and
            `gateway.yaml.sample` shows all of it in one file. `claude config validate` checks a file without starting anything,
            `claude config explain KEY` says one key's text, and `claude config schema` writes a JSON Schema for editors.

            In a value, `${NAME}` is replaced by an environment variable, `${NAME:-default}` by a default where there is none,
            and `${file:/path}` by a file's content. Unknown keys are faults. `[]` stands for each item of a list.


            """
        for key in section.keys {
            out += "## \(key.name)\n\n"
            let rows = KeyListing.rows(ConfigSection([key]))
            out += "\(self.escaped(rows[0].text)) \(self.kind(rows[0].term))\n\n"
            guard rows.count > 1 else { continue }
            out += "| key | takes | |\n| --- | --- | --- |\n"
            for row in rows.dropFirst() {
                let (name, type) = self.split(row.term)
                out += "| `\(name)` | \(self.escaped(type)) | \(self.escaped(row.text)) |\n"
            }
            out += "\n"
        }
        while out.hasSuffix("\n\n") { out.removeLast() }
        return out
    }

    private static func kind(_ term: String) -> String {
        let type = self.split(term).type
        return ["section", "list of sections"].contains(type) || type.isEmpty ? "" : "Takes \(type)."
    }

    /// `name (type)`; names of variants have parentheses of their own.
    private static func split(_ term: String) -> (name: String, type: String) {
        guard term.hasSuffix(")"), let open = term.lastIndex(of: "(") else { return (term, "") }
        let type = term[term.index(after: open)...].dropLast()
        return (String(term[..<open].dropLast()), String(type))
    }

    private static func escaped(_ text: String) -> String {
        text.replacing("|", with: "\\|").replacing("<", with: "&lt;")
    }
}
