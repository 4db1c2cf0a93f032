// SPDX-License-Identifier: Apache-2.0

package import GatewayConfig
internal import GatewayCore
internal import GatewayProviders

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
    }

    package let destinations: [Destination]

    package init(_ node: ConfigNode?) {
        self.destinations = (node?["forward_to"]?.list ?? []).map { entry in
            var url = entry["url"]?.string ?? ""
            while url.hasSuffix("/") { url.removeLast() }
            let isOn = { (signal: Signal) in entry[signal.rawValue]?.boolean ?? (signal == .metrics) }
            return Destination(
                url: url, headers: (entry["headers"]?.members ?? []).map { ($0.key, $0.value.string ?? "") },
                signals: Set(Signal.allCases.filter(isOn)))
        }
    }

    package func takes(_ signal: Signal) -> Bool {
        self.destinations.contains { $0.signals.contains(signal) }
    }

    package static let section = ConfigSection([
        ConfigKey(
            "forward_to",
            .list(
                of: .section(
                    ConfigSection([
                        ConfigKey(
                            "url", .string(minimum: 1), required: true,
                            "The collector's OTLP/HTTP base URL: https, or http on a loopback host.",
                            check: { node in
                                if let complaint = OutboundURL.check(node) { return complaint }
                                let url = node.string.flatMap(WebURL.init)
                                return url?.isSecure == true || url?.isLoopback == true
                                    ? nil : "must be https, or http on a loopback host."
                            }),
                        ConfigKey("headers", .map(of: .string()), "Headers for the collector, such as its credential."),
                        ConfigKey("metrics", .boolean, default: "true", "Whether it takes metrics."),
                        ConfigKey("logs", .boolean, default: "false", "Whether it takes logs."),
                        ConfigKey("traces", .boolean, default: "false", "Whether it takes traces."),
                    ]))),
            "Collectors. Developers' clients are told to export to the gateway, which passes it on.", example: "[]")
    ])
}
