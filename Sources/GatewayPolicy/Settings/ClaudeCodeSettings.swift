// SPDX-License-Identifier: Apache-2.0

package import GatewayConfig
internal import GatewayCore

/// Claude Code's settings: the document that a policy's `cli` or `code` block is, and that `managed.settings` names.
///
/// Source: the public settings reference, <https://code.claude.com/docs/en/settings>, and what the contract's release
/// accepts, measured key by key. A key outside this table is most likely a misspelling, and a policy that silently does
/// nothing is worse than a gateway that does not start. What the client itself leaves open stays open.
package enum ClaudeCodeSettings {
    package static let section = ConfigSection(
        keys,
        stranger: { name in
            if name == "mcpServers" {
                return (.error, "is not a managed setting; write managedMcpServers, which takes http and sse servers.")
            }
            let near = Suggestion.nearest(to: name, in: keys.map(\.name))
            let remedy =
                near.map { "did you mean \($0)?" } ?? "remove it, or update the gateway if it is newer than this build."
            return (.error, "is not a known Claude Code setting; \(remedy)")
        },
        rules: [
            { node, report in
                for (name, other) in [
                    ("additionalMarketplaces", "extraKnownMarketplaces"),
                    ("allowedMarketplaces", "strictKnownMarketplaces"),
                ] where node[other] != nil {
                    if let alias = node[name] {
                        report.error(alias, "is another name of \(other), which is there too; keep one of them.")
                    }
                }
            }
        ])

    private static func key(
        _ name: String, _ shape: ConfigShape, required: Bool = false, check: ConfigKey.Check? = nil,
        inspect: ConfigKey.Inspection? = nil,
    ) -> ConfigKey {
        ConfigKey(name, shape, required: required, "", check: check, inspect: inspect)
    }

    /// An object of which some keys have a type, and any others may stand beside them.
    private static func open(_ keys: [ConfigKey]) -> ConfigSection {
        ConfigSection(keys, isOpen: true)
    }

    // MARK: Parts

    private static let variableName: ConfigKey.Check = { node in
        let text = node.string ?? ""
        let isName =
            text.utf8.first.map { !(0x30...0x39).contains($0) } == true
            && text.unicodeScalars.allSatisfy {
                $0.isASCII && ($0.properties.isAlphabetic || $0 == "_" || ("0"..."9").contains($0))
            }
        return isName ? nil : "is not the name of an environment variable; use letters, digits and underscores."
    }

    private static let serverName: ConfigKey.Check = { node in
        isServerName(node.string ?? "") ? nil : "is not a server's name; use letters, digits, hyphens and underscores."
    }

    private static func isServerName(_ text: String) -> Bool {
        !text.isEmpty
            && text.unicodeScalars.allSatisfy {
                $0.isASCII && ($0.properties.isAlphabetic || ("0"..."9").contains($0) || $0 == "-" || $0 == "_")
            }
    }

    private static let permissions = ConfigShape.section(
        open([
            key("allow", .list(of: .string()), inspect: { PermissionRule.inspect($0, grants: true, into: &$1) }),
            key("deny", .list(of: .string()), inspect: { PermissionRule.inspect($0, grants: false, into: &$1) }),
            key("ask", .list(of: .string()), inspect: { PermissionRule.inspect($0, grants: false, into: &$1) }),
            key("additionalDirectories", .list(of: .string())),
            key("defaultMode", .choice(["acceptEdits", "auto", "bypassPermissions", "default", "dontAsk", "plan"])),
            key("disableAutoMode", .choice(["disable"])),
            key("disableBypassPermissionsMode", .choice(["disable"])),
            key("blockReadsOutsideWorkingDirectories", .boolean),
        ]))

    private static let hook = ConfigShape.variants(
        discriminator: "type",
        [
            (
                "command",
                open([
                    key("type", .string(), required: true),
                    key("args", .list(of: .string())),
                    key("async", .boolean),
                    key("asyncRewake", .boolean),
                    key("command", .string(), required: true),
                    key("if", .string()),
                    key("onFailure", .choice(["block", "continue"])),
                    key("once", .boolean),
                    key("rewakeMessage", .string(minimum: 1)),
                    key("rewakeSummary", .string(minimum: 1)),
                    key("shell", .choice(["bash", "powershell"])),
                    key("statusMessage", .string()),
                    key("timeout", .plainNumber(above: 0)),
                ])
            ),
            (
                "prompt",
                open([
                    key("type", .string(), required: true),
                    key("continueOnBlock", .boolean),
                    key("if", .string()),
                    key("model", .string()),
                    key("once", .boolean),
                    key("prompt", .string(), required: true),
                    key("statusMessage", .string()),
                    key("timeout", .plainNumber(above: 0)),
                ])
            ),
            (
                "agent",
                open([
                    key("type", .string(), required: true),
                    key("if", .string()),
                    key("model", .string()),
                    key("once", .boolean),
                    key("prompt", .string(), required: true),
                    key("statusMessage", .string()),
                    key("timeout", .plainNumber(above: 0)),
                ])
            ),
            (
                "http",
                open([
                    key("type", .string(), required: true),
                    key("allowedEnvVars", .list(of: .string())),
                    key("headers", .map(of: .string())),
                    key("if", .string()),
                    key("onFailure", .choice(["block", "continue"])),
                    key("once", .boolean),
                    key("statusMessage", .string()),
                    key("timeout", .plainNumber(above: 0)),
                    key("url", .string(), required: true),
                ])
            ),
            (
                "mcp_tool",
                open([
                    key("type", .string(), required: true),
                    key("if", .string()),
                    key("input", .section(open([]))),
                    key("once", .boolean),
                    key("server", .string(), required: true),
                    key("statusMessage", .string()),
                    key("timeout", .plainNumber(above: 0)),
                    key("tool", .string(), required: true),
                ])
            ),
        ])

    private static let hooks = ConfigShape.section(
        ConfigSection(
            [
                "ConfigChange", "CwdChanged", "DirectoryAdded", "Elicitation", "ElicitationResult", "FileChanged",
                "InstructionsLoaded", "MessageDisplay", "Notification", "PermissionDenied", "PermissionRequest",
                "PostCompact", "PostModelSwitch", "PostToolBatch", "PostToolUse", "PostToolUseFailure", "PreCompact",
                "PreModelSwitch", "PreToolUse", "SessionEnd", "SessionStart", "Setup", "Stop", "StopFailure",
                "SubagentStart", "SubagentStop", "TaskCompleted", "TaskCreated", "TeammateIdle", "UserPromptExpansion",
                "UserPromptSubmit", "WorktreeCreate", "WorktreeRemove",
            ].map { event in
                key(
                    event,
                    .list(
                        of: .section(
                            open([key("hooks", .list(of: hook), required: true), key("matcher", .string())]))))
            }))

    /// Exactly one way to name a server.
    private static let serverReference = ConfigSection(
        [
            key("serverName", .string(), check: serverName),
            key("serverCommand", .list(of: .string(), minimum: 1)),
            key("serverUrl", .string()),
        ],
        isOpen: true,
        rules: [
            { node, report in
                let named = ["serverName", "serverCommand", "serverUrl"].filter { node[$0] != nil }
                if named.count != 1 {
                    report.error(node, "must have exactly one of serverName, serverCommand and serverUrl.")
                }
            }
        ])

    private static let httpsURL: ConfigKey.Check = { node in
        WebURL(node.string ?? "")?.isSecure == true ? nil : "must be an https URL."
    }

    private static let managedServer = ConfigSection(
        [
            key("type", .choice(["http", "sse", "streamable-http"]), required: true),
            key("url", .string(), required: true, check: httpsURL),
            key("headers", .map(of: .string())),
            key(
                "oauth",
                .section(
                    open([
                        key("clientId", .string()), key("callbackPort", .plainNumber(above: 0, whole: true)),
                        key("authServerMetadataUrl", .string(), check: httpsURL), key("scopes", .string()),
                    ]))),
            key("timeout", .plainNumber(above: 0, whole: true)),
            key("alwaysLoad", .boolean),
        ],
        isOpen: true,
        rules: [
            { node, report in
                for name in ["command", "args", "env", "headersHelper"] {
                    if let forbidden = node[name] {
                        report.error(forbidden, "cannot be managed: only http and sse servers are; remove it.")
                    }
                }
            }
        ])

    private static let managedServers: ConfigKey.Inspection = { node, report in
        for member in node.members where !isServerName(member.key) {
            report.add(
                ConfigFault(
                    .error, at: member.position, member.value.path,
                    "is not a server's name; use letters, digits, hyphens and underscores."))
        }
    }

    private static let marketplace = ConfigShape.variants(
        discriminator: "source",
        [
            (
                "url",
                open([
                    key("source", .string(), required: true),
                    key("headers", .map(of: .string())),
                    key("headersHelper", .string()),
                    key("url", .string(), required: true),
                ])
            ),
            (
                "github",
                open([
                    key("source", .string(), required: true),
                    key("path", .string()),
                    key("ref", .string()),
                    key("repo", .string(), required: true),
                    key("skipLfs", .boolean),
                    key("sparsePaths", .list(of: .string())),
                ])
            ),
            (
                "git",
                open([
                    key("source", .string(), required: true),
                    key("path", .string()),
                    key("ref", .string()),
                    key("skipLfs", .boolean),
                    key("sparsePaths", .list(of: .string())),
                    key("url", .string(), required: true),
                ])
            ),
            (
                "npm",
                open([
                    key("source", .string(), required: true),
                    key("package", .string(), required: true),
                    key("registry", .string()),
                    key("version", .string()),
                ])
            ),
            (
                "file",
                open([
                    key("source", .string(), required: true),
                    key("path", .string(), required: true),
                ])
            ),
            (
                "directory",
                open([
                    key("source", .string(), required: true),
                    key("path", .string(), required: true),
                ])
            ),
            (
                "skills-dir",
                open([
                    key("source", .string(), required: true)
                ])
            ),
            (
                "hostPattern",
                open([
                    key("source", .string(), required: true),
                    key("hostPattern", .string(), required: true),
                ])
            ),
            (
                "pathPattern",
                open([
                    key("source", .string(), required: true),
                    key("pathPattern", .string(), required: true),
                ])
            ),
            (
                "settings",
                open([
                    key("source", .string(), required: true),
                    key("name", .string(minimum: 1), required: true),
                    key(
                        "owner",
                        .section(
                            open([
                                key("email", .string()),
                                key("name", .string(minimum: 1), required: true),
                                key("url", .string()),
                            ]))),
                    key(
                        "plugins",
                        .list(
                            of: .section(
                                open([
                                    key("description", .string()),
                                    key("headers", .map(of: .string())),
                                    key("headersHelper", .string()),
                                    key("name", .string(minimum: 1), required: true),
                                    key("source", .section(open([])), required: true),
                                    key("strict", .boolean),
                                    key("version", .string()),
                                ]))), required: true),
                ])
            ),
        ])

    private static let blockedMarketplace: ConfigShape = {
        guard case .variants(let discriminator, let known) = marketplace else { return marketplace }
        return .variants(
            discriminator: discriminator,
            known + [("pluginDirectory", open([key("source", .string(), required: true)]))])
    }()

    // MARK: The keys

    package static let keys: [ConfigKey] = [
        key("$schema", .string()),
        key(
            "additionalMarketplaces",
            .map(
                of: .section(
                    open([
                        key("autoUpdate", .boolean), key("installLocation", .string()),
                        key("source", marketplace, required: true),
                    ])))),
        key("advisorModel", .string()),
        key("agent", .string()),
        key("agentPushNotifEnabled", .boolean),
        key("allowAllClaudeAiMcps", .boolean),
        key("allowManagedHooksOnly", .boolean),
        key("allowManagedMcpServersOnly", .boolean),
        key("allowManagedPermissionRulesOnly", .boolean),
        key(
            "allowedChannelPlugins",
            .list(
                of: .section(
                    open([
                        key("marketplace", .string(), required: true),
                        key("plugin", .string(), required: true),
                    ])))),
        key("allowedHttpHookUrls", .list(of: .string())),
        key("allowedMarketplaces", .list(of: marketplace)),
        key("allowedMcpServers", .list(of: .section(serverReference))),
        key(
            "allowedProviders",
            .list(
                of: .choice([
                    "anthropic", "customEndpoint", "bedrock", "vertex", "foundry", "anthropicAws", "mantle", "gateway",
                    "anthropicGoogleCloud",
                ]))),
        key("alwaysThinkingEnabled", .boolean),
        key("apiKeyHelper", .string()),
        key("askUserQuestionTimeout", .open),
        key(
            "attribution",
            .either([
                .boolean,
                .section(
                    open([
                        key("commit", .string()),
                        key("pr", .string()),
                        key("sessionUrl", .boolean),
                    ])),
            ])),
        key("attributionProject", .string()),
        key("autoCompactEnabled", .boolean),
        key("autoCompactWindow", .open),
        key("autoContinueAtUsageLimit", .boolean),
        key("autoDreamEnabled", .boolean),
        key("autoMemoryDirectory", .string()),
        key("autoMemoryEnabled", .boolean),
        key(
            "autoMode",
            .section(
                open([
                    key("allow", .list(of: .string())),
                    key("classifyAllShell", .boolean),
                    key("environment", .list(of: .string())),
                    key("hard_deny", .list(of: .string())),
                    key("soft_deny", .list(of: .string())),
                ]))),
        key("autoScrollEnabled", .boolean),
        key("autoUpdatesChannel", .choice(["latest", "rc", "stable"])),
        key("availableModels", .list(of: .string())),
        key("awaySummaryEnabled", .boolean),
        key("awsAuthRefresh", .string()),
        key("awsCredentialExport", .string()),
        key("axScreenReader", .boolean),
        key("bashEditDiffEnabled", .boolean),
        key("bashOutputMaxChars", .open),
        key("blockedMarketplaces", .list(of: blockedMarketplace)),
        key("channelsEnabled", .boolean),
        key("claudeMd", .string()),
        key("claudeMdExcludes", .list(of: .string())),
        key("cleanupPeriodDays", .plainNumber(above: 0, whole: true)),
        key("companyAnnouncements", .list(of: .string())),
        key("crossSessionInbound", .choice(["accept", "hold", "refuse"])),
        key("defaultShell", .choice(["bash", "powershell"])),
        key("deniedMcpServers", .list(of: .section(serverReference))),
        key("deniedModels", .list(of: .string())),
        key("desktopSessionCleanupPeriodDays", .plainNumber(minimum: 0, whole: true)),
        key("dialogExpiry", .open),
        key("disableAgentView", .boolean),
        key("disableAllHooks", .boolean),
        key("disableArtifact", .boolean),
        key("disableAutoMode", .choice(["disable"])),
        key("disableBundledSkills", .boolean),
        key("disableClaudeAiConnectors", .boolean),
        key("disableCommandPluginSources", .boolean),
        key("disableDeepLinkRegistration", .choice(["disable"])),
        key("disableRemoteControl", .boolean),
        key("disableSideloadFlags", .boolean),
        key("disableSkillShellExecution", .boolean),
        key("disableWorkflows", .boolean),
        key("disabledMcpjsonServers", .list(of: .string())),
        key("editorMode", .open),
        key("effortLevel", .open),
        key("emojiCompletionEnabled", .boolean),
        key("enableAllProjectMcpServers", .boolean),
        key("enableArtifact", .boolean),
        key("enableWorkflows", .boolean),
        key("enabledMcpjsonServers", .list(of: .string())),
        key("enabledPlugins", .map(of: .either([.boolean, .list(of: .string())]))),
        key("enforceAvailableModels", .boolean),
        key("env", .map(of: .open)),
        key(
            "extraKnownMarketplaces",
            .map(
                of: .section(
                    open([
                        key("autoUpdate", .boolean), key("installLocation", .string()),
                        key("source", marketplace, required: true),
                    ])))),
        key("fallbackModel", .list(of: .string())),
        key("fastMode", .boolean),
        key("fastModePerSessionOptIn", .boolean),
        key("feedbackDrafts", .choice(["notify", "off", "quiet"])),
        key("feedbackSurveyRate", .plainNumber(minimum: 0, maximum: 1)),
        key("fileCheckpointingEnabled", .boolean),
        key(
            "fileSuggestion",
            .section(
                open([
                    key("command", .string(), required: true),
                    key("type", .choice(["command"]), required: true),
                ]))),
        key("footerLinksRegexes", .open),
        key("forceLoginGatewayUrl", .open),
        key("forceLoginMethod", .open),
        key("forceLoginOrgUUID", .either([.string(), .list(of: .string())])),
        key("forceRemoteSettingsRefresh", .boolean),
        key("gatewayInternalNetworks", .open),
        key("gcpAuthRefresh", .string()),
        key("hooks", hooks),
        key("httpHookAllowedEnvVars", .list(of: .string())),
        key("idleCompaction", .boolean),
        key("includeCoAuthoredBy", .boolean),
        key("includeGitInstructions", .boolean),
        key("inputNeededNotifEnabled", .boolean),
        key("isolatePeerMachines", .boolean),
        key("keybindingFlavor", .open),
        key("language", .string()),
        key("managedMcpServers", .map(of: .section(managedServer)), inspect: managedServers),
        key("managedSourcesBehavior", .choice(["first-wins", "merge"])),
        key("maxEffortLevel", .open),
        key("minimumVersion", .string()),
        key("model", .string()),
        key("modelOverrides", .map(of: .string())),
        key(
            "modelPicker",
            .section(
                open([
                    key(
                        "options",
                        .list(
                            of: .section(
                                open([
                                    key("description", .string()),
                                    key("label", .string()),
                                    key("model", .string(), required: true),
                                ]))), required: true)
                ]))),
        key(
            "modelPricing",
            .section(
                open([
                    key("multiplier", .plainNumber(above: 0, maximum: 10)),
                    key(
                        "overrides",
                        .map(
                            of: .section(
                                open([
                                    key("cacheRead", .plainNumber(minimum: 0, maximum: 10000), required: true),
                                    key("cacheWrite", .plainNumber(minimum: 0, maximum: 10000), required: true),
                                    key("input", .plainNumber(minimum: 0, maximum: 10000), required: true),
                                    key("output", .plainNumber(minimum: 0, maximum: 10000), required: true),
                                ])))),
                ]))),
        key("modelSettings", .open),
        key("otelHeadersHelper", .string()),
        key("outputStyle", .string()),
        key("parentSettingsBehavior", .choice(["first-wins", "merge"])),
        key("permissions", permissions),
        key("plansDirectory", .string()),
        key(
            "pluginConfigs",
            .map(
                of: .section(
                    open([
                        key("options", .map(of: .either([.string(), .plainNumber(), .boolean, .list(of: .string())]))),
                        key("mcpServers", .map(of: .map(of: .open))),
                    ])))),
        key("pluginSuggestionMarketplaces", .list(of: .string())),
        key("pluginTrustMessage", .string()),
        key("policyHelper", .open),
        key("prUrlTemplate", .string()),
        key("preferredNotifChannel", .open),
        key("prefersReducedMotion", .boolean),
        key("processWrapper", .string()),
        key("promptCacheTtl", .open),
        key("promptSuggestionEnabled", .boolean),
        key(
            "remote",
            .section(
                open([
                    key("defaultEnvironmentId", .string())
                ]))),
        key("remoteControlAtStartup", .boolean),
        key("requiredMaximumVersion", .string()),
        key("requiredMinimumVersion", .string()),
        key("respectGitignore", .boolean),
        key("respondToBashCommands", .boolean),
        key(
            "sandbox",
            .section(
                open([
                    key("allowAppleEvents", .boolean),
                    key("allowUnsandboxedCommands", .boolean),
                    key("autoAllowBashIfSandboxed", .boolean),
                    key(
                        "credentials",
                        .section(
                            open([
                                key("allowPlaintextInject", .boolean),
                                key(
                                    "awsPairs",
                                    .list(
                                        of: .section(
                                            open([
                                                key("accessKeyIdVar", .string(), required: true, check: variableName),
                                                key(
                                                    "secretAccessKeyVar", .string(), required: true, check: variableName
                                                ),
                                                key("sessionTokenVar", .string(), check: variableName),
                                            ])))),
                                key(
                                    "envVars",
                                    .list(
                                        of: .section(
                                            open([
                                                key("decode", .choice(["jwt"])),
                                                key("extract", .string()),
                                                key("injectHosts", .list(of: .string())),
                                                key("maskClaims", .list(of: .string())),
                                                key("mode", .choice(["deny", "mask"]), required: true),
                                                key("name", .string(), required: true, check: variableName),
                                                key("onExtractNoMatch", .choice(["deny", "error", "warn"])),
                                            ])))),
                                key(
                                    "files",
                                    .list(
                                        of: .section(
                                            open([
                                                key("decode", .choice(["jwt"])),
                                                key("extract", .string()),
                                                key("injectHosts", .list(of: .string())),
                                                key("maskClaims", .list(of: .string())),
                                                key("maskDuplicates", .boolean),
                                                key("mode", .choice(["deny", "mask"]), required: true),
                                                key("onExtractNoMatch", .choice(["deny", "error", "warn"])),
                                                key("path", .string(minimum: 1), required: true),
                                            ])))),
                                key(
                                    "sigv4",
                                    .section(
                                        open([
                                            key("presigned", .choice(["deny", "passthrough"])),
                                            key("sigv4a", .choice(["deny", "passthrough"])),
                                            key("streaming", .choice(["deny", "passthrough"])),
                                        ]))),
                            ]))),
                    key("enableWeakerNestedSandbox", .boolean),
                    key("enableWeakerNetworkIsolation", .boolean),
                    key("enabled", .boolean),
                    key("excludedCommands", .list(of: .string())),
                    key("failIfUnavailable", .boolean),
                    key(
                        "filesystem",
                        .section(
                            open([
                                key("allowManagedReadPathsOnly", .boolean),
                                key("allowRead", .list(of: .string())),
                                key("allowWrite", .list(of: .string())),
                                key("denyRead", .list(of: .string())),
                                key("denyWrite", .list(of: .string())),
                                key("disabled", .boolean),
                            ]))),
                    key("ignoreViolations", .map(of: .list(of: .string()))),
                    key(
                        "network",
                        .section(
                            open([
                                key("allowAllUnixSockets", .boolean),
                                key("allowLocalBinding", .boolean),
                                key("allowMachLookup", .list(of: .string())),
                                key("allowManagedDomainsOnly", .boolean),
                                key("allowUnixSockets", .list(of: .string())),
                                key("allowedDomains", .list(of: .string())),
                                key("deniedDomains", .list(of: .string())),
                                key("httpProxyPort", .plainNumber()),
                                key("socksProxyPort", .plainNumber()),
                                key("strictAllowlist", .boolean),
                                key(
                                    "tlsTerminate",
                                    .section(
                                        open([
                                            key("caCertPath", .string(minimum: 1)),
                                            key("caKeyPath", .string(minimum: 1)),
                                        ]))),
                            ]))),
                    key(
                        "ripgrep",
                        .section(
                            open([
                                key("args", .list(of: .string())),
                                key("command", .string(), required: true),
                            ]))),
                    key(
                        "windows",
                        .section(
                            open([
                                key("backend", .choice(["mxc", "sandboxuser"]))
                            ]))),
                ]))),
        key("showClearContextOnPlanAccept", .boolean),
        key("showThinkingSummaries", .boolean),
        key("showTurnDuration", .boolean),
        key("skillListingBudgetFraction", .plainNumber(above: 0, maximum: 1)),
        key("skillListingMaxDescChars", .plainNumber(above: 0, whole: true)),
        key("skillOverrides", .map(of: .choice(["name-only", "off", "on", "user-invocable-only"]))),
        key("skipAutoPermissionPrompt", .boolean),
        key("skipDangerousModePermissionPrompt", .boolean),
        key("skipWebFetchPreflight", .boolean),
        key("skipWorkflowUsageWarning", .boolean),
        key("spellcheck", .open),
        key("spinnerTipsEnabled", .boolean),
        key("spinnerTipsOverride", .open),
        key(
            "spinnerVerbs",
            .section(
                open([
                    key("mode", .choice(["append", "replace"]), required: true),
                    key("verbs", .list(of: .string()), required: true),
                ]))),
        key(
            "sshConfigs",
            .list(
                of: .section(
                    open([
                        key("id", .string(), required: true),
                        key("name", .string(), required: true),
                        key("sshHost", .string(), required: true),
                        key("sshIdentityFile", .string()),
                        key("sshPort", .plainNumber(whole: true)),
                        key("startDirectory", .string()),
                    ])))),
        key(
            "statusLine",
            .section(
                open([
                    key("command", .string(), required: true),
                    key("hideVimModeIndicator", .boolean),
                    key("padding", .plainNumber()),
                    key("type", .choice(["command"]), required: true),
                ]))),
        key("strictKnownMarketplaces", .list(of: marketplace)),
        key("strictPluginOnlyCustomization", .either([.boolean, .list(of: .open)])),
        key("subagentPromptCacheTtl", .open),
        key("subagentStatusLine", .open),
        key("switchModelsOnFlag", .boolean),
        key("syncClaudeAiPlugins", .boolean),
        key("syncClaudeAiSkills", .boolean),
        key("syntaxHighlightingDisabled", .boolean),
        key("taskOutputMaxChars", .open),
        key("teammateMode", .open),
        key("terminalProgressBarEnabled", .boolean),
        key("terminalTitleFromRename", .boolean),
        key("theme", .open),
        key("timeFormat", .string()),
        key("timeZone", .string()),
        key("todoFeatureEnabled", .boolean),
        key("tui", .choice(["default", "fullscreen"])),
        key("ultracode", .open),
        key("useAutoModeDuringPlan", .boolean),
        key("verbose", .boolean),
        key("viewMode", .open),
        key("vimInsertModeRemaps", .open),
        key(
            "voice",
            .section(
                open([
                    key("autoSubmit", .boolean),
                    key("enabled", .boolean),
                    key("mode", .choice(["hold", "tap"])),
                ]))),
        key("voiceEnabled", .boolean),
        key("wheelScrollAccelerationEnabled", .boolean),
        key("workflowKeywordTriggerEnabled", .boolean),
        key("workflowSizeGuideline", .choice(["large", "medium", "small", "unrestricted"])),
        key(
            "worktree",
            .section(
                open([
                    key("baseRef", .choice(["fresh", "head"])),
                    key("sparsePaths", .list(of: .string())),
                    key("symlinkDirectories", .list(of: .string())),
                ]))),
        key("wslInheritsWindowsSettings", .boolean),
    ]
}
