// SPDX-License-Identifier: Apache-2.0

package import GatewayConfig
internal import GatewayIdentity
internal import GatewayMetering
internal import GatewayPolicy
internal import GatewayProviders
internal import GatewayStore
internal import GatewayTelemetry

extension GatewaySettings {
    /// Every key of `gateway.yaml`. Validation, suggestions, the man page and the sample file read this.
    package static let section = ConfigSection(
        [
            ConfigKey(
                "listen", .section(ListenSettings.section), required: true,
                "Where the gateway listens and how it is reached."),
            ConfigKey(
                "oidc", .section(OIDCSettings.section), required: true,
                "The identity provider that developers sign in with."),
            ConfigKey("session", .section(SessionSettings.section), required: true, "The bearers that developers get."),
            ConfigKey(
                "store", .section(StoreSettings.section), required: true,
                "What replicas share: sign-ins, sessions, counters."),
            ConfigKey(
                "upstreams", .list(of: UpstreamSettings.shape(), minimum: 1), required: true,
                "The model providers, in the order in which they are tried."),
            ConfigKey(
                "models", .list(of: .section(CustomModel.section)),
                "Models of your own, and other names for known ones."),
            ConfigKey(
                "auto_include_builtin_models", .boolean, default: "true",
                "Whether models that the gateway knows need no entry under models.", example: "true"),
            ConfigKey(
                "managed", .section(ManagedSection.section),
                "Claude Code settings for developers, enforced by the gateway."),
            ConfigKey("telemetry", .section(TelemetrySettings.section), "Where developers' telemetry goes."),
            ConfigKey(
                "observability", .section(ObservabilitySettings.section),
                "The gateway's own metrics, traces, audit events and log. A change needs a restart."),
            ConfigKey(
                "login_notice", .string(minimum: 1), "A sentence shown to whoever signs in, of at most 500 characters.",
                check: { node in
                    let text = GatewaySettings.oneLine(node.string ?? "")
                    if text.isEmpty { return "must not be empty; write a sentence, or remove the key." }
                    return text.count > 500 ? "must have at most 500 characters and has \(text.count)." : nil
                }),
            ConfigKey("access_control", .section(AccessControl.section), "Which addresses may connect."),
            ConfigKey("limits", .section(limits), "Bounds on requests."),
            ConfigKey("timeouts", .section(timeouts), "Bounds on waiting."),
            ConfigKey("routing", .section(routing), "How requests are spread over upstreams."),
            ConfigKey("rate_limits", .section(RateLimit.section), "Bounds on sign-ins and on developers' requests."),
            ConfigKey(
                "admin", .section(AdminSettings.section),
                "Spend limits and their administration; the section turns metering on."),
            ConfigKey(
                "enforcement", .section(EnforcementSettings.section), "How spend limits behave when the store fails."),
            ConfigKey("pricing", .section(PricingSettings.section), "Prices that differ from the list prices."),
            ConfigKey(
                "cri", .section(CustomerRoutedInference.section),
                "Customer-routed inference; read for compatibility, not served."),
        ],
        stranger: { name in
            name == "dev"
                ? (
                    .error,
                    "was removed; set store.postgres_url or store.sqlite_path, or run claude gateway --dev to try it."
                ) : nil
        },
        rules: [
            { root, report in
                if let upstreams = root["upstreams"] { UpstreamSettings.rules(upstreams, into: &report) }
                if let managed = root["managed"] { ManagedSection.rules(managed, into: &report) }
                checkModels(root, into: &report)
                checkSpend(root, into: &report)
                if root["telemetry"]?["forward_to"]?.list.isEmpty == false, root["listen"]?["public_url"] == nil {
                    report.warning(
                        root["telemetry"]!,
                        "clients are not told to export, because listen.public_url is not set; set it.")
                }
            }
        ])

    private static let limits = ConfigSection([
        ConfigKey("max_request_bytes", .integer(above: 0), default: "33554432", "Largest request body, in bytes."),
        ConfigKey(
            "max_request_header_bytes", .integer(above: 0), default: "no bound of its own",
            "Largest sum of a request's headers, in bytes."),
        ConfigKey(
            "max_url_length", .integer(above: 0), default: "no bound of its own",
            "Longest URL, scheme and host included."),
    ])

    private static let routing = ConfigSection([
        ConfigKey(
            "session_affinity", .boolean, default: "false",
            "Whether a client's session stays with one of several weighted upstreams, so that its prompt cache stays warm. Failures still move it.",
            example: nil),
        ConfigKey(
            "circuit_breaker",
            .section(
                ConfigSection([
                    ConfigKey(
                        "failures", .integer(minimum: 1, maximum: 10_000), required: true,
                        "So many failed requests in a row open the breaker: no answer, 429, or a server error."),
                    ConfigKey(
                        "rest_seconds", .number(above: 0, maximum: 86_400), default: "30",
                        "How long the upstream then is tried last, before one request tries it again."),
                ])),
            "Takes an upstream's model out of turn after repeated failures. Without it only upstreams that do not answer in time rest.",
            example: nil),
        ConfigKey(
            "retry_budget",
            .section(
                ConfigSection([
                    ConfigKey(
                        "percent", .number(above: 0, maximum: 1000), required: true,
                        "So many attempts at further upstreams for each hundred requests."),
                    ConfigKey(
                        "minimum_per_second", .number(minimum: 0, maximum: 100_000), default: "10",
                        "So many attempts a second are always allowed."),
                ])),
            "Bounds how often requests are sent to a further upstream, so that an outage of all does not multiply the load. Counted in each process.",
            example: nil),
    ])

    private static let timeouts = ConfigSection([
        ConfigKey(
            "upstream_ttfb_ms", .integer(above: 0), default: "120000",
            "How long an upstream may take to begin its answer, in milliseconds. What follows may take any time.")
    ])

    /// Sections that only have a meaning together.
    private static func checkSpend(_ root: ConfigNode, into report: inout ConfigReport) {
        if root["admin"] == nil, let key = root["rate_limits"]?["inference"]?["tokens_per_minute"] {
            report.error(
                key, "has no effect without an admin section, which turns metering on; add admin: {}, or remove this.")
        }
        if root["admin"] == nil, let key = root["enforcement"]?["fail_closed_on_error"], key.boolean == true {
            report.error(
                key, "has no effect without an admin section, which turns metering on; add it, or remove this.")
        }
        guard let pricing = root["pricing"] else { return }
        if root["admin"] == nil, root["managed"]?["policies"]?.list.isEmpty != false {
            report.error(
                pricing,
                "has no effect without an admin section or a managed policy, which are what reads prices; add one, or remove this."
            )
        }
        let names = self.upstreamNames(root)
        var seen: Set<String> = []
        for row in pricing["overrides"]?.list ?? [] {
            guard let upstream = row["upstream"], let name = upstream.string, let model = row["model"]?.string else {
                continue
            }
            if !names.contains(name), !upstream.isUnresolved {
                report.error(
                    upstream, "no upstream has this name; write one of \(names.sorted().joined(separator: ", ")).")
            }
            let meant = BuiltInModel.spelled(model)?.id ?? model.lowercased()
            if !seen.insert("\(name) \(meant)").inserted {
                report.error(row, "another row has the price of this model at this upstream; keep one of them.")
            }
        }
    }

    private static func upstreamNames(_ root: ConfigNode) -> Set<String> {
        Set((root["upstreams"]?.list ?? []).compactMap { ($0["name"] ?? $0["provider"])?.string })
    }

    private static func checkModels(_ root: ConfigNode, into report: inout ConfigReport) {
        let names = self.upstreamNames(root)
        for model in root["models"]?.list ?? [] {
            for target in model["upstream_model"]?.members ?? [] where !names.contains(target.key) {
                report.add(
                    ConfigFault(
                        .error, at: target.position, target.value.path,
                        "no upstream is named '\(target.key)'; write one of \(names.sorted().joined(separator: ", ")).")
                )
            }
        }
    }
}
