// SPDX-License-Identifier: Apache-2.0

package import GatewayConfig
internal import GatewayCore

/// The top-level keys of a Claude Code settings document.
///
/// Source: the public settings reference, <https://code.claude.com/docs/en/settings>, and the keys that the measured
/// gateway serves. A key outside this table is most likely a misspelling, and a policy that silently does nothing is
/// worse than a gateway that does not start.
package enum SettingsKeys {
    package static let known: Set<String> = [
        "$schema", "advisorModel", "agent", "allowManagedHooksOnly", "allowManagedMcpServersOnly",
        "allowManagedPermissionRulesOnly", "allowedChannelPlugins", "allowedHttpHookUrls", "allowedMcpServers",
        "alwaysThinkingEnabled", "apiKeyHelper", "attribution", "attributionProject", "autoMemoryDirectory",
        "autoMemoryEnabled", "autoMode", "autoUpdatesChannel", "availableModels", "awsAuthRefresh",
        "awsCredentialExport", "blockedMarketplaces", "channelsEnabled", "claudeMd", "claudeMdExcludes",
        "cleanupPeriodDays", "companyAnnouncements", "defaultShell", "deniedMcpServers", "disableAllHooks",
        "disableAutoMode", "disableDeepLinkRegistration", "disableSkillShellExecution", "disabledMcpjsonServers",
        "editorMode", "effortLevel", "enableAllProjectMcpServers", "enabledMcpjsonServers", "enabledPlugins",
        "enforceAvailableModels", "env", "extraKnownMarketplaces", "fallbackModel", "fastMode",
        "fastModePerSessionOptIn", "feedbackSurveyRate", "fileSuggestion", "forceLoginGatewayUrl", "forceLoginMethod",
        "forceLoginOrgUUID", "forceRemoteSettingsRefresh", "gcpAuthRefresh", "hooks", "httpHookAllowedEnvVars",
        "includeCoAuthoredBy", "includeGitInstructions", "language", "managedMcpServers", "minimumVersion", "model",
        "modelOverrides", "modelPicker", "modelPricing", "otelHeadersHelper", "outputStyle", "parentSettingsBehavior",
        "permissions", "plansDirectory", "pluginConfigs", "pluginTrustMessage", "policyHelper", "prefersReducedMotion",
        "promptSuggestionEnabled", "remote", "requiredMinimumVersion", "respectGitignore", "sandbox",
        "showClearContextOnPlanAccept", "showThinkingSummaries", "showTurnDuration", "skillOverrides",
        "skipAutoPermissionPrompt", "skipDangerousModePermissionPrompt", "skippedMarketplaces", "skippedPlugins",
        "spinnerTipsEnabled", "spinnerTipsOverride", "spinnerVerbs", "sshConfigs", "statusLine",
        "strictKnownMarketplaces", "strictPluginOnlyCustomization", "subagentModel", "syntaxHighlightingDisabled",
        "teammateMode", "terminalProgressBarEnabled", "tui", "useAutoModeDuringPlan", "viewMode", "voiceEnabled",
        "worktree",
    ]

    package static func validate(_ block: ConfigNode, into report: inout ConfigReport) {
        guard case .mapping(let members) = block.value else {
            report.error(block, "expected a mapping of Claude Code settings, found \(block.kind).")
            return
        }
        for member in members where !self.known.contains(member.key) {
            let path = block.path.appending(member.key.singleLine)
            let remedy: String
            if member.key == "mcpServers" {
                remedy = "is not a managed setting; write managedMcpServers."
            } else if let near = Suggestion.nearest(to: member.key, in: self.known) {
                remedy = "is not a known Claude Code setting; did you mean \(near)?"
            } else {
                remedy =
                    "is not a known Claude Code setting; remove it, or update the gateway if it is newer than this build."
            }
            report.add(ConfigFault(.error, at: member.position, path, remedy))
        }
        if let models = block["availableModels"], case .list = models.value {
        } else if let models = block["availableModels"] {
            report.error(models, "expected a list of model names, found \(models.kind).")
        }
    }
}
