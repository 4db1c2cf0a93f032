// SPDX-License-Identifier: Apache-2.0

package import GatewayConfig
internal import GatewayCore
package import GatewayProviders

/// The `telemetry` section: where developers' OTLP exports go.
package struct TelemetrySettings: Sendable {
    package enum Signal: String, Sendable, CaseIterable {
        case metrics
        case logs
        case traces
    }

    package struct Destination: Sendable {
        /// Without a trailing slash; `/v1/<signal>` follows.
        package let url: String
        package let headers: [(name: String, value: String)]
        package let signals: Set<Signal>
        package let google: GoogleAuthentication?
    }

    package let destinations: [Destination]
    package let identityMode: ExportIdentity.Mode
    /// `name=value,…`, for OTEL_RESOURCE_ATTRIBUTES; `nil` without labels.
    package let resourceAttributes: String?

    package init(_ node: ConfigNode?) {
        self.destinations = (node?["forward_to"]?.list ?? []).map { entry in
            var url = entry["url"]?.string ?? ""
            while url.hasSuffix("/") { url.removeLast() }
            let isOn = { (signal: Signal) in entry[signal.rawValue]?.boolean ?? (signal == .metrics) }
            return Destination(
                url: url, headers: (entry["headers"]?.members ?? []).map { ($0.key, $0.value.string ?? "") },
                signals: Set(Signal.allCases.filter(isOn)),
                google: entry["auth"]?["google"].map(GoogleAuthentication.init))
        }
        self.identityMode = node?["verify_identity"]?.string.flatMap(ExportIdentity.Mode.init) ?? .off
        let labels = node?["resource_attributes"]?.members ?? []
        self.resourceAttributes =
            labels.isEmpty || self.destinations.isEmpty
            ? nil : labels.map { "\($0.key)=\($0.value.string ?? "")" }.joined(separator: ",")
    }

    package func takes(_ signal: Signal) -> Bool {
        self.destinations.contains { $0.signals.contains(signal) }
    }

    package static let section = ConfigSection(
        [
            ConfigKey(
                "forward_to", .list(of: .section(destination)),
                "Collectors. Developers' clients are told to export to the gateway, which passes it on.", example: "[]"),
            ConfigKey(
                "resource_attributes", .map(of: .string()),
                "Labels that clients put on everything they export (OTEL_RESOURCE_ATTRIBUTES), such as team: platform.",
                inspect: inspectLabels),
            ConfigKey(
                "verify_identity", .choice(ExportIdentity.Mode.allCases.map(\.rawValue)), default: "off",
                "Whether the user attributes of an export's resource are held against the developer who sends it: stamp replaces them, reject refuses an export with others."
            ),
        ],
        rules: [
            { node, report in
                if let labels = node["resource_attributes"], !labels.members.isEmpty,
                    node["forward_to"]?.list.isEmpty != false
                {
                    report.warning(labels, "has no effect, because forward_to is empty; add a collector.")
                }
            }
        ])

    private static let destination = ConfigSection(
        [
            ConfigKey(
                "url", .outboundURL, required: true,
                "The collector's OTLP/HTTP base URL: https, or http on a loopback host.",
                example: "https://otel.example.com",
                check: { node in
                    guard let url = node.string.flatMap(WebURL.init) else { return nil }
                    return url.isSecure || ["localhost", "127.0.0.1", "::1"].contains(url.host)
                        ? nil : "must be https, or http on localhost, 127.0.0.1 or [::1]."
                }),
            ConfigKey(
                "headers", .map(of: .string()), "Headers for the collector, such as its credential.",
                inspect: { node, report in HeaderFields.inspect(node, takesEmpty: true, into: &report) }),
            ConfigKey("metrics", .boolean, default: "true", "Whether it takes metrics."),
            ConfigKey("logs", .boolean, default: "false", "Whether it takes logs."),
            ConfigKey("traces", .boolean, default: "false", "Whether it takes traces."),
            ConfigKey(
                "auth",
                .section(
                    ConfigSection([
                        ConfigKey(
                            "google",
                            .section(
                                ConfigSection([
                                    ConfigKey(
                                        "service_account_json", .string(minimum: 1),
                                        "Path of a service account's key file. Without it, application default credentials."
                                    )
                                ])), required: true, "A Google access token is sent with each export.")
                    ])), "How the gateway signs in at the collector."),
        ],
        rules: [
            { node, report in
                guard let google = node["auth"]?["google"], let url = node["url"]?.string.flatMap(WebURL.init) else {
                    return
                }
                if !url.isSecure {
                    report.error(
                        google, "needs an https url, or the access token would cross the network in the clear.")
                } else if url.host != "googleapis.com", !url.host.hasSuffix(".googleapis.com") {
                    report.error(
                        google,
                        "sends a Google access token, so url must be a googleapis.com host, such as https://telemetry.googleapis.com."
                    )
                }
                if node["headers"]?.members.contains(where: { $0.key.lowercased() == "authorization" }) == true {
                    report.error(
                        google, "sets the Authorization header itself; remove Authorization from headers, or auth.")
                }
            }
        ])

    private static let ownLabels: Set<String> = [
        "service.name", "service.version", "os.type", "host.arch", "enduser.id",
    ]

    /// OpenTelemetry's OTEL_RESOURCE_ATTRIBUTES is a comma-separated list without escapes that clients agree on.
    private static let inspectLabels: ConfigKey.Inspection = { node, report in
        for member in node.members {
            func fault(_ message: String) {
                report.add(ConfigFault(.error, at: member.position, member.value.path, message))
            }
            let name = member.key
            let isPlain = name.unicodeScalars.allSatisfy {
                $0.isASCII
                    && ($0.properties.isAlphabetic || ("0"..."9").contains($0) || "._-".unicodeScalars.contains($0))
            }
            if name.isEmpty || name.count > 255 || !isPlain {
                fault("is not a label's name; use up to 255 letters, digits, dots, underscores and hyphens.")
                continue
            }
            if Self.ownLabels.contains(name) || name.hasPrefix("user.") {
                fault("is set by the gateway or by Claude; use another name.")
                continue
            }
            guard !member.value.isUnresolved else { continue }
            let value = member.value.string ?? ""
            let isValue =
                !value.isEmpty
                && value.utf8.allSatisfy { (0x21...0x7E).contains($0) && !#",;=\"%"#.utf8.contains($0) }
            if !isValue {
                let hint = member.value.isExpanded ? "; check the variable or file it comes from" : ""
                fault(
                    "needs a value of printable ASCII without spaces and without , ; = \\ \" %\(hint).")
            }
        }
    }
}
