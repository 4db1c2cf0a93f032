// SPDX-License-Identifier: Apache-2.0

internal import GatewayCore
internal import GatewayIdentity
internal import GatewayPolicy
internal import GatewayProviders
internal import GatewayTelemetry

/// What the gateway says about itself once it serves.
enum Banner {
    private static let width = 76

    static func lines(_ settings: GatewaySettings, port: Int, notices: [String]) -> [String] {
        let text =
            ["Claude gateway \(GatewayVersion.current)", ""]
            + (notices.isEmpty
                ? [
                    "It can push settings that run commands on developers' machines.",
                    "Keep it on a private network; never expose it to the public internet.",
                ] : notices)
        let edge = String(repeating: "═", count: self.width)
        let body = text.map { "║  \($0.padding(to: self.width - 2))║" }
        return ["", "╔\(edge)╗"] + body + ["╚\(edge)╝"]
    }

    static func facts(_ settings: GatewaySettings, port: Int) -> [String] {
        let scheme = settings.listen.terminatesTLS ? "https" : "http"
        let host =
            settings.listen.host.contains(":") && !settings.listen.host.hasPrefix("[")
            ? "[\(settings.listen.host)]" : settings.listen.host
        let proxies = settings.access.trustedProxies.count
        let upstreams = settings.upstreams.map { upstream in
            let groups = upstream.groups.map { ", groups: \($0.joined(separator: ","))" } ?? ""
            return "\(upstream.name)(\(type(of: upstream.provider).name)\(groups))"
        }
        func list(_ values: [String]) -> String { values.isEmpty ? "(unrestricted)" : values.joined(separator: ",") }
        let signals = TelemetrySettings.Signal.allCases.filter(settings.telemetry.takes).map(\.rawValue)
        let destinations = settings.telemetry.destinations.count
        return [
            "claude gateway listening on \(scheme)://\(host):\(port)",
            "public_url \(settings.listen.publicURL)",
            proxies == 0
                ? "client IPs: TCP peer address (listen.trusted_proxies empty)"
                : "client IPs: X-Forwarded-For via listen.trusted_proxies (\(proxies) \(proxies == 1 ? "entry" : "entries"))",
            "oidc issuer \(settings.oidc.issuer)",
            "email domains \(list(settings.oidc.allowedEmailDomains))",
            "allowed groups \(list(settings.oidc.allowedGroups))",
            "upstreams \(upstreams.count): \(upstreams.joined(separator: ", "))",
            destinations == 0
                ? "telemetry relay: not configured"
                : "telemetry relay: \(destinations) destination(s), signals enabled: \(signals.isEmpty ? "none" : signals.joined(separator: ","))",
            "managed settings: \(settings.managed.isConfigured ? "configured" : "not configured")",
        ]
    }
}

extension String {
    fileprivate func padding(to width: Int) -> String {
        self + String(repeating: " ", count: max(0, width - self.count))
    }
}
