// SPDX-License-Identifier: Apache-2.0

package import GatewayConfig
internal import GatewayCore

/// Claude Desktop's managed configuration, as far as a gateway delivers it: a policy's `desktop` block.
///
/// Source: Claude Desktop's configuration reference, and what the contract's release accepts, measured key by key. A key
/// that is not in the table may be newer than this build, and is sent as written; one that is nearly a known key is a
/// misspelling.
package enum DesktopSettings {
    package static let section = ConfigSection(keys, stranger: { judge($0) })

    // MARK: Keys that are not settings of a policy

    /// gateway.yaml's own keys, which land here by a wrong indentation.
    private static let ownKeys: Set<String> = [
        "$schema", "access_control", "admin", "auto_include_builtin_models", "cli", "code", "cri", "desktop",
        "enforcement", "limits", "listen", "login_notice", "managed", "match", "models", "oidc", "pricing",
        "rate_limits",
        "serve_to_desktop", "session", "settings", "store", "telemetry", "timeouts", "upstreams",
    ]
    private static let localOnly: Set<String> = [
        "bootstrapEnabled", "bootstrapHeaders", "bootstrapHeadersHelper", "bootstrapOidc", "bootstrapUrl",
        "egressProxyPacUrl", "egressProxyUrl", "forceLoginOrgUUID", "isDesktopExtensionDirectoryEnabled",
        "requireCoworkFullVmSandbox", "secureVmFeaturesEnabled", "trustBootstrapDelivery",
    ]
    private static let renamed = [
        "enduserAttribution": "endUserAttribution", "isDxtEnabled": "isDesktopExtensionEnabled",
        "isDxtSignatureRequired": "isDesktopExtensionSignatureRequired",
    ]
    private static let retired: Set<String> = [
        "disableMobileSimulatorTools", "isDxtDirectoryEnabled", "inferenceGatewayHeaders", "trustBootstrapLocalExec",
    ]
    /// Names of the sections in which Claude Desktop groups its settings; they hold nothing by themselves.
    private static let groups: Set<String> = [
        "appearance", "authentication", "autoUpdate", "bootstrap", "builtinBrowser", "chatSurface", "codeSurface",
        "coworkSurface", "dictation", "extensions", "featureDiscovery", "inference", "lifecycle", "mcp", "otlp",
        "plugins", "tokenLimits", "workspace",
    ]

    private static func judge(_ name: String) -> (ConfigFault.Severity, String)? {
        if self.ownKeys.contains(name) {
            return (.error, "is a key of gateway.yaml, not of Claude Desktop; check the indentation.")
        }
        if self.localOnly.contains(name) {
            return (.error, "cannot be delivered by a gateway; set it in the machine's own managed configuration.")
        }
        if let new = self.renamed[name] { return (.error, "has another name now; write \(new).") }
        if self.retired.contains(name) { return (.error, "no longer exists; remove it.") }
        if self.groups.contains(name) {
            return (.error, "is a group of settings, not a setting; write the settings themselves.")
        }
        let lower = name.lowercased()
        if lower.hasPrefix("inference") {
            return (.error, "is set by the gateway from upstreams and models; configure those.")
        }
        if lower.hasPrefix("otlp") {
            return (.error, "is set by the gateway, which relays telemetry itself; configure telemetry.forward_to.")
        }
        if name == "expiresAt" { return (.error, "is set by the gateway; remove it.") }
        if let near = self.nearMiss(name) { return (.error, "is not a known key; did you mean \(near)?") }
        return (.warning, "is not known to this build, which may be older than Claude Desktop; it is sent as written.")
    }

    /// A known key that differs by two letters at most.
    private static func nearMiss(_ name: String) -> String? {
        func reduced(_ text: String) -> String {
            text.lowercased().filter { $0.isASCII && ($0.isLetter || $0.isNumber) }
        }
        let wanted = reduced(name)
        return self.keys.map(\.name).first { Suggestion.distance(wanted, reduced($0)) <= 2 }
    }

    // MARK: Shapes

    private static func key(
        _ name: String, _ shape: ConfigShape, required: Bool = false, check: ConfigKey.Check? = nil,
        inspect: ConfigKey.Inspection? = nil,
    ) -> ConfigKey {
        ConfigKey(name, shape, required: required, "", check: check, inspect: inspect)
    }

    /// A switch. The managed configurations of operating systems know no booleans, so text and numbers are taken too.
    private static func flag(_ name: String) -> ConfigKey {
        self.key(
            name, .open,
            check: { node in
                switch node.value {
                case .boolean: return nil
                case .number(let number) where number == 0 || number == 1: return nil
                case .string(let text) where ["true", "false", "1", "0"].contains(text.trimmingSpaces.lowercased()):
                    return nil
                default: return "expected true or false, found \(node.kind)."
                }
            })
    }

    private static func text(_ name: String, maximum: Int? = nil) -> ConfigKey {
        self.key(
            name, .string(minimum: 1),
            check: { node in
                let length = (node.string ?? "").trimmingSpaces.count
                if length == 0 { return "must not be blank." }
                return maximum.map { length > $0 } == true ? "must have at most \(maximum!) characters." : nil
            })
    }

    private static func whole(_ name: String, _ minimum: Int, _ maximum: Int) -> ConfigKey {
        self.key(
            name, .integer(minimum: minimum, maximum: maximum),
            check: { node in
                node.isNull || node.string?.trimmingSpaces == "" ? "expected a whole number, found nothing." : nil
            })
    }

    /// A list or a mapping, which may also be written as JSON text.
    private static func structure(_ name: String, _ shape: ConfigShape, also inspect: ConfigKey.Inspection? = nil)
        -> ConfigKey
    {
        self.key(
            name, .open,
            inspect: { node, report in
                var value = node
                if let text = node.string, let parsed = ConfigNode(json: text, at: node) { value = parsed }
                let before = report.errors.count
                ConfigValidator.validate(value, as: shape, into: &report)
                if report.errors.count == before { inspect?(value, &report) }
            })
    }

    /// An object whose other keys are passed on, unless they are nearly one of its own.
    private static func object(_ keys: [ConfigKey], rules: [ConfigSection.Rule] = []) -> ConfigShape {
        .section(
            ConfigSection(
                keys,
                stranger: { name in
                    if let near = Suggestion.nearest(to: name, in: keys.map(\.name)) {
                        return (.error, "is not a known key; did you mean \(near)?")
                    }
                    return (.warning, "is not known to this build; it is sent as written.")
                }, rules: rules))
    }

    private enum HostRule {
        case any
        case noLocalhost
        case noLocalhostAndNoStar
    }

    /// `*`, `localhost[:port]`, `host[:port]` or `*.host[:port]`.
    private static func hosts(_ name: String, _ rule: HostRule) -> ConfigKey {
        self.structure(
            name, .list(of: .string()),
            also: { node, report in
                for entry in node.list where !entry.isUnresolved && !self.isHost(entry.string ?? "", rule) {
                    report.error(
                        entry, "is not a host; write it like example.com, *.example.com or example.com:8443.")
                }
            })
    }

    private static func isHost(_ text: String, _ rule: HostRule) -> Bool {
        if text == "*" { return rule != .noLocalhostAndNoStar }
        let parts = text.split(separator: ":", omittingEmptySubsequences: false)
        guard (1...2).contains(parts.count) else { return false }
        if parts.count == 2 {
            guard let port = Int(parts[1]), (1...65535).contains(port), parts[1].allSatisfy(\.isNumber) else {
                return false
            }
        }
        if parts[0] == "localhost" { return rule == .any }
        var labels = parts[0].split(separator: ".", omittingEmptySubsequences: false)
        let isWild = labels.first == "*"
        if isWild { labels.removeFirst() }
        return labels.count >= 2
            && labels.allSatisfy { label in
                !label.isEmpty
                    && label.unicodeScalars.allSatisfy {
                        $0.isASCII && ($0.properties.isAlphabetic || ("0"..."9").contains($0) || $0 == "-" || $0 == "_")
                    }
            }
    }

    private static func isHex(_ text: Substring) -> Bool {
        text.allSatisfy { $0.isASCII && $0.isHexDigit }
    }

    private static let banner = object(
        [
            key("enabled", .boolean), key("text", .string()), key("backgroundColor", .string()),
            key("textColor", .string()), key("linkUrl", .string()),
        ],
        rules: [
            { node, report in
                let length = node["text"]?.string?.trimmingSpaces.count ?? 0
                guard node["enabled"]?.boolean == true else {
                    if let text = node["text"], length > 0 {
                        report.warning(text, "is shown nowhere, because the banner is not enabled; set enabled: true.")
                    }
                    return
                }
                if length == 0 || length > 200 {
                    report.error(node["text"] ?? node, "an enabled banner needs a text of 1 to 200 characters.")
                }
                for name in ["backgroundColor", "textColor"] {
                    guard let color = node[name], let text = color.string else { continue }
                    if text.count != 7 || !text.hasPrefix("#") || !isHex(text.dropFirst()) {
                        report.error(color, "is not a color; write it like #1A2B3C.")
                    }
                }
                if let link = node["linkUrl"], WebURL(link.string ?? "")?.isSecure != true {
                    report.error(link, "must be an https URL.")
                }
            }
        ])

    private static let builtinTools: Set<String> = [
        "AskUserQuestion", "Bash", "Edit", "Glob", "Grep", "JavaScript", "NotebookEdit", "REPL", "Read", "Skill",
        "Task", "TaskCreate", "TaskGet", "TaskList", "TaskStop", "TaskUpdate", "TodoWrite", "ToolSearch", "WebFetch",
        "WebSearch", "Write",
    ]

    private static let toolPolicies: ConfigKey.Inspection = { node, report in
        for member in node.members {
            let tool = String(member.key.prefix { $0 != "(" })
            let isRule = member.key == tool || (member.key.hasSuffix(")") && !["WebFetch", "WebSearch"].contains(tool))
            if !builtinTools.contains(tool) || !isRule {
                report.add(
                    ConfigFault(
                        .error, at: member.position, member.value.path,
                        "is not a built-in tool of Claude Desktop; write one such as Bash or WebFetch."))
            }
        }
    }

    private static let permission = ConfigShape.choice(["allow", "ask", "blocked", "ask-session"])

    private static let server = object([
        key("name", .string(minimum: 1), required: true), key("transport", .open), key("server", .string()),
        key("url", .string(minimum: 1)), key("headers", .map(of: .string())), key("headersHelper", .string(minimum: 1)),
        key("headersHelperTtlSec", .plainNumber(above: 0, whole: true)),
        key("headersHelperRefreshBufferSec", .plainNumber(above: 0, whole: true)),
        key("toolPolicy", .map(of: permission)), key("oauth", .open), key("command", .string(minimum: 1)),
        key("args", .list(of: .string())), key("env", .map(of: .string())), key("envHelper", .string(minimum: 1)),
        key("envHelperTtlSec", .plainNumber(above: 0, whole: true)),
        key("startupTimeoutSec", .plainNumber(minimum: 5, maximum: 600, whole: true)),
        key("tenantId", .string(minimum: 1)), key("clientId", .string(minimum: 1)), key("azureCloud", .string()),
        key("scope", .string()),
    ])

    private static let marketplace = object([
        key("source", .string(minimum: 1), required: true), key("repo", .string(minimum: 1)),
        key("url", .string(minimum: 1)), key("ref", .string(minimum: 1)), key("path", .string(minimum: 1)),
        key("expectedName", .string(minimum: 1)), key("manifestSha256", .string(minimum: 1)),
        key("installationPreference", .choice(["available", "auto_install", "required"])),
        key("credentialKind", .choice(["anonymous", "userGit", "credentialHelper", "inferenceCredential"])),
        key("credentialHelper", .string(minimum: 1)),
    ])

    private static let serverURLs = ConfigShape.list(
        of: .section(ConfigSection([key("serverUrl", .string(minimum: 1), required: true)])))

    // MARK: The keys

    package static let keys: [ConfigKey] =
        [
            "autoModeEnabled", "blockReadsOutsideWorkingDirectories", "builtinBrowserEnabled",
            "chatAdvancedFileAnalysisEnabled", "chatTabEnabled", "coworkTabEnabled", "coworkVmIpv6Enabled",
            "disableAutoUpdates", "disableBundledSkills", "disableBypassPermissionsMode",
            "disableConfigDeprecationWarnings", "disableDeepLinkRegistration", "disableDeploymentModeChooser",
            "disableEssentialTelemetry", "disableFeatureDiscovery", "disableNonessentialServices",
            "disableNonessentialTelemetry", "endUserAttribution", "inferenceModelPricingEnabled",
            "isClaudeCodeForDesktopEnabled", "isDesktopExtensionEnabled", "isDesktopExtensionSignatureRequired",
            "isLocalDevMcpEnabled", "keepAwakeEnabled", "mcpPersistentAlwaysAllowEnabled", "modelDiscoveryEnabled",
            "modelPrefer1mContext", "otlpTracesEnabled", "scheduledTasksEnabled", "sessionRetentionHold",
            "skillCreationEnabled", "skipWebFetchPreflight", "toolSearchEnabled", "updateViaUpdatesHost",
            "userPluginMarketplacesEnabled", "userPluginUploadsEnabled",
        ].map(flag)
        + [
            structure("allowedPluginMarketplaces", .list(of: marketplace)),
            structure("allowedPluginMcpServers", serverURLs), structure("deniedPluginMcpServers", serverURLs),
            structure(
                "allowedWorkspaceFolders",
                .list(
                    of: .either([
                        .string(minimum: 1),
                        object([
                            key("path", .string(minimum: 1), required: true), key("mode", .choice(["ro", "rw"])),
                            key("isDefaultSelected", .boolean),
                        ]),
                    ]))),
            whole("autoUpdaterEnforcementHours", 1, 72),
            structure("banner", banner),
            hosts("builtinBrowserAllowedDomains", .noLocalhostAndNoStar),
            hosts("builtinBrowserBlockedDomains", .noLocalhost),
            key("builtinBrowserDefaultDomainPolicy", .choice(["allow", "block"])),
            structure("builtinToolPolicy", .map(of: .choice(["allow", "ask", "ask-session"])), also: toolPolicies),
            whole("chatSessionRetentionDays", 1, 3650),
            structure(
                "claudeAiImport",
                object([
                    key("enabled", .boolean), key("exportEnabled", .boolean), key("automatic3pImport", .boolean),
                    key("bannerBehavior", .choice(["off", "detect", "show"])), key("url", .string()),
                    key("oauthIssuer", .string()), key("oauthClientId", .string(minimum: 1)),
                ])),
            whole("codeSessionRetentionDays", 1, 3650),
            whole("configRecheckIntervalMinutes", 2, 30),
            hosts("coworkEgressAllowedHosts", .any),
            whole("coworkSessionRetentionDays", 1, 3650),
            key("defaultModelEffort", .choice(["low", "medium", "high", "xhigh", "max"])),
            text("deploymentDisplayName", maximum: 60), text("deploymentDisplaySubtitle", maximum: 60),
            key("deploymentOrganizationUuid", .string(minimum: 1)),
            structure("disabledBuiltinTools", .list(of: .string())),
            whole("inferenceMaxTokensPerWindow", 1, 1 << 53 - 1),
            structure(
                "inferenceModelPricing",
                .list(
                    of: object([
                        key("name", .string(minimum: 1), required: true),
                        key("inputPerMtok", .plainNumber(minimum: 0, maximum: 10000), required: true),
                        key("outputPerMtok", .plainNumber(minimum: 0, maximum: 10000), required: true),
                        key("cacheReadPerMtok", .plainNumber(minimum: 0, maximum: 10000), required: true),
                        key("cacheWritePerMtok", .plainNumber(minimum: 0, maximum: 10000), required: true),
                    ]))),
            key("inferenceModelPricingMultiplier", .number(above: 0, maximum: 1)),
            whole("inferenceTokenWindowHours", 1, 720),
            structure("managedMcpServers", .list(of: server)),
            whole("mcpScheduledTaskApprovalLifetimeDays", 0, 3650),
            whole("mcpToolTimeoutSec", 60, 3600),
            key("microsoftAuthBroker", .choice(["auto", "disabled", "required"])),
            structure("orgPluginSettings", .either([.list(of: .map(of: .open)), .map(of: .open)])),
            text("organizationInstructions", maximum: 3000),
            key(
                "organizationPluginsUrl", .string(minimum: 1),
                check: { _ in "is no longer taken from a gateway; remove it." }),
            structure(
                "otlpContentCapture",
                .list(
                    of: .choice([
                        "userPrompts", "assistantResponses", "toolDetails", "toolContent", "rawApiBodies",
                    ]))),
            key("otlpDesktopLogLevel", .choice(["off", "error", "warn", "info", "debug"])),
            whole("relaunchEnforcementHours", 0, 336),
            key("sshClientPath", .string(minimum: 1)),
            structure("sshHostAllowlist", .list(of: .string(minimum: 1))),
            key("sshTransport", .choice(["auto", "builtin", "system-openssh"])),
            key("userContentRendererUrl", .string(minimum: 1)),
        ]
}
