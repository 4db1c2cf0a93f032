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
            let entries = KeyListing.entries(ConfigSection([key]))
            out += "\(self.escaped(entries[0].text)) Takes \(self.escaped(entries[0].type)).\n\n"
            guard entries.count > 1 else { continue }
            out += "| key | takes | |\n| --- | --- | --- |\n"
            for entry in entries.dropFirst() {
                out += "| `\(entry.name)` | \(self.escaped(entry.type)) | \(self.escaped(entry.text)) |\n"
            }
            out += "\n"
        }
        while out.hasSuffix("\n\n") { out.removeLast() }
        return out
    }

    private static func escaped(_ text: String) -> String {
        text.replacing("|", with: "\\|").replacing("<", with: "&lt;")
    }
}
