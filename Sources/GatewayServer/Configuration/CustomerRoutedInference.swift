// SPDX-License-Identifier: Apache-2.0

internal import GatewayConfig
internal import GatewayCore

/// The `cri` section: inference for callers who hold a token of Anthropic's for an organization.
///
/// The section is read and judged, so that a file that has it keeps working; the feature itself is not part of this
/// gateway, and such tokens are refused like any other that it has not issued.
enum CustomerRoutedInference {
    static let section = ConfigSection(
        [
            ConfigKey("enabled", .boolean, default: "false", "Whether such tokens are to be accepted."),
            ConfigKey("audience", .list(of: .string(minimum: 1)), "The audiences that a token must name one of."),
            ConfigKey("org_allowlist", .list(of: .string()), "The organizations whose tokens are accepted."),
            ConfigKey("issuer", .string(), "The issuer of the tokens."),
            ConfigKey("jwks_url", .string(), "Another place of the issuer's keys; loopback only."),
            ConfigKey(
                "policy",
                .section(
                    ConfigSection([
                        ConfigKey(
                            "webhook",
                            .section(
                                ConfigSection([
                                    ConfigKey(
                                        "url", .outboundURL, required: true, "Asked before each request.",
                                        example: "https://policy.example.com",
                                        check: { node in
                                            let url = node.string.flatMap(WebURL.init)
                                            return url?.isSecure == true || url?.isLoopback == true
                                                ? nil : "must be https, or http on a loopback host."
                                        }),
                                    ConfigKey(
                                        "timeout_ms", .integer(above: 0, maximum: 30_000),
                                        "How long it may take, in milliseconds."),
                                    ConfigKey("fail_closed", .boolean, "Whether its silence refuses the request."),
                                ])), required: true, "The service that decides.")
                    ])), "A service that is asked about each request."),
        ],
        rules: [
            { node, report in
                guard node["enabled"]?.boolean == true else {
                    report.warning(node, "has no effect, because cri.enabled is not true; remove the section.")
                    return
                }
                for (name, what) in [("audience", "audience"), ("org_allowlist", "organization")]
                where node[name]?.list.isEmpty != false {
                    report.add(
                        ConfigFault(
                            .error, at: node[name]?.position ?? node.position, node.path.appending(name),
                            "must list at least one \(what) when cri.enabled is true, or nobody would be admitted."))
                }
                if let issuer = node["issuer"], let complaint = issuerComplaint(issuer.string ?? "") {
                    report.error(issuer, complaint)
                }
                if let keys = node["jwks_url"], keys.string.flatMap(WebURL.init)?.isLoopback != true {
                    report.error(keys, "must be a URL on a loopback host; it is for tests only.")
                }
                report.warning(
                    node,
                    "customer-routed inference is not part of this gateway: the section is read, but such tokens are refused."
                )
            }
        ])

    private static func issuerComplaint(_ text: String) -> String? {
        guard let url = WebURL(text), url.isSecure || url.isLoopback else {
            return "must be an https URL; http is for loopback hosts only."
        }
        if text.contains("?") || text.contains("#") || url.path.isEmpty || text.hasSuffix("/") {
            return "must be a URL with a path, and without a query, a fragment, or a slash at its end."
        }
        return nil
    }
}
