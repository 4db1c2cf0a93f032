// SPDX-License-Identifier: Apache-2.0

internal import CommandLineSyntax
internal import GatewayConfig
internal import GatewayCore
internal import GatewayServer

/// The committed files that follow from the sources. A test fails when they differ.
package enum GeneratedFiles {
    /// The date of the manual pages: of the last change of their content, not of the build.
    private static let date = "2026-11-24"

    /// Paths from the checkout's top, with their content.
    package static var all: [(path: String, text: String)] {
        let root = CommandTable.root
        let pages = ManPageRenderer(root: root, date: date, version: GatewayVersion.current)
        return [
            ("completions/claude.bash", CompletionRenderer.bash(root)),
            ("completions/_claude", CompletionRenderer.zsh(root)),
            ("completions/claude.fish", CompletionRenderer.fish(root)),
            ("man/claude.1", pages.page(for: [], sections: self.common)),
            ("man/claude-gateway.1", pages.page(for: ["gateway"], sections: self.server + self.common)),
            ("man/gateway.yaml.5", self.configurationPage(pages)),
            ("gateway.yaml.sample", SampleRenderer.sample(GatewaySettings.section)),
            ("docs/protocol.md", ProtocolDocument.text),
            ("docs/configuration.md", ConfigurationPage.markdown(GatewaySettings.section)),
        ]
    }

    private static var common: [ManPageRenderer.Section] {
        [
            .init(
                "environment",
                [
                    (
                        "CLAUDE_GATEWAY_ADMIN_KEY",
                        "A key of admin.write_keys or admin.read_keys, for claude spend instead of a sign-in."
                    ),
                    ("CLAUDE_GATEWAY_URL", "The gateway that claude login signs in to when no URL is given."),
                    (
                        "CLAUDE_GATEWAY_HOME",
                        "The folder of the stored credential. Default: $XDG_CONFIG_HOME/claude-gateway, or ~/.config/claude-gateway."
                    ),
                    ("HTTPS_PROXY, NO_PROXY", "Forward proxy of the client commands, as libcurl reads them."),
                    ("NO_COLOR", "Turns colours off when it is set and not empty."),
                ]),
            .init("exit status", ExitCode.allCases.map { (String($0.rawValue), $0.meaning) }),
            .init(
                "files",
                [
                    ("~/.config/claude-gateway/credentials.json", "The stored credential, readable by its owner only."),
                    (
                        "/etc/claude-code/managed-settings.json",
                        "The machine's managed settings; forceLoginGatewayUrl names the only gateway that is taken."
                    ),
                ]),
            .init("see also", [("", "claude(1), claude-gateway(1), gateway.yaml(5)")]),
        ]
    }

    private static var server: [ManPageRenderer.Section] {
        [
            .init(
                "server environment",
                [
                    (
                        "CLAUDE_GATEWAY_ALLOW_LOOPBACK",
                        "1 or true lets the gateway connect to loopback addresses: an identity provider, a model provider or a collector on the same machine."
                    ),
                    (
                        "CLAUDE_GATEWAY_DRAIN_TIMEOUT_MS",
                        "How long open requests may go on after SIGTERM, in milliseconds. Default: 25000."
                    ),
                    (
                        "CLAUDE_GATEWAY_LOG_LEVEL",
                        "debug, info, warn or error. Default: info. Audit events are always written."
                    ),
                ]),
            .init(
                "signals",
                [
                    (
                        "SIGTERM, SIGINT",
                        "Stop: new requests are refused, open ones finish. A second one cuts them."
                    ),
                    ("SIGHUP", "Read the configuration again. A bad file is refused, and the last good one stays."),
                ]),
        ]
    }

    private static func configurationPage(_ pages: ManPageRenderer) -> String {
        pages.filePage(
            "gateway.yaml", summary: "configuration of the Claude gateway",
            sections: [
                .init(
                    "description",
                    [
                        (
                            "",
                            "A YAML 1.2 document, read once when the gateway starts. claude config validate checks it without starting anything."
                        ),
                        (
                            "",
                            "In string values ${NAME} is replaced by an environment variable, and ${file:/path}, as the whole value, by a file's trimmed content. An undefined variable or a missing file keeps the gateway from starting."
                        ),
                        ("", "Unknown keys are faults."),
                    ]),
                .init("keys", KeyListing.rows(GatewaySettings.section)),
                .init("see also", [("", "claude-gateway(1)")]),
            ])
    }
}

/// Walks the key table for documents.
enum KeyListing {
    struct Entry {
        let name: String
        let type: String
        let text: String
    }

    /// As manual pages list them.
    static func rows(_ section: ConfigSection) -> [(term: String, text: String)] {
        self.entries(section).map { ("\($0.name) (\($0.type))", $0.text) }
    }

    static func entries(_ section: ConfigSection, under path: String = "") -> [Entry] {
        section.keys.flatMap { key -> [Entry] in
            let name = path.isEmpty ? key.name : "\(path).\(key.name)"
            var text = key.summary
            if key.isRequired { text += " Required." }
            if let value = key.defaultText { text += " Default: \(value)." }
            return [Entry(name: name, type: self.typeName(key.shape), text: text)] + self.below(key.shape, name)
        }
    }

    private static func below(_ shape: ConfigShape, _ name: String) -> [Entry] {
        switch shape {
        case .section(let section): self.entries(section, under: name)
        case .list(let item, _): self.below(item, name + "[]")
        case .variants(_, let variants):
            variants.flatMap { self.entries($0.section, under: variants.count > 1 ? "\(name) (\($0.name))" : name) }
        default: []
        }
    }

    private static func typeName(_ shape: ConfigShape) -> String {
        switch shape {
        case .string: "text"
        case .outboundURL: "URL"
        case .boolean: "true or false"
        case .number, .plainNumber: "number"
        case .integer: "whole number"
        case .choice(let words): words.joined(separator: " | ")
        case .list(let item, _): "list of " + self.typeName(item)
        case .map(let value): "mapping of " + self.typeName(value)
        case .section, .variants: "mapping"
        case .either(let shapes): shapes.map(self.typeName).joined(separator: " or ")
        case .document, .open: "document"
        }
    }
}
