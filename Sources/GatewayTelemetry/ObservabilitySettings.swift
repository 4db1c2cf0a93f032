// SPDX-License-Identifier: Apache-2.0

package import GatewayConfig
internal import GatewayCore

/// The `observability` section: the gateway's own signals.
package struct ObservabilitySettings: Sendable {
    package struct Collector: Sendable {
        /// Without a trailing slash; `/v1/<signal>` follows.
        package let url: String
        package let headers: [(name: String, value: String)]
        package let metrics: Bool
        package let traces: Bool
        package let audit: Bool
        package let interval: Duration
        /// Of requests that come without a decision of their caller's.
        package let traceRatio: Double

        package init(
            url: String, headers: [(name: String, value: String)], metrics: Bool, traces: Bool, audit: Bool,
            interval: Duration, traceRatio: Double,
        ) {
            self.url = url
            self.headers = headers
            self.metrics = metrics
            self.traces = traces
            self.audit = audit
            self.interval = interval
            self.traceRatio = traceRatio
        }
    }

    package struct File: Sendable {
        package let path: String
        package let maximumBytes: Int
        package let keep: Int

        package init(path: String, maximumBytes: Int, keep: Int) {
            self.path = path
            self.maximumBytes = maximumBytes
            self.keep = keep
        }
    }

    package struct Syslog: Sendable {
        let address: SyslogOutput.Address
        let facility: Int
    }

    /// Where `/metrics` is served; `nil` for nowhere.
    package var metricsListen: (host: String, port: Int)?
    package var collector: Collector?
    package var auditToStderr = true
    package var recordsOutcomes = true
    package var auditFile: File?
    package var syslog: Syslog?
    package var logsJSON = false

    package init() {}

    package init(_ node: ConfigNode?) {
        self.metricsListen = (node?["metrics"]?["listen"]?.string).flatMap(Self.address)
        self.collector = node?["otlp"].map { otlp in
            var url = otlp["url"]?.string ?? ""
            while url.hasSuffix("/") { url.removeLast() }
            return Collector(
                url: url, headers: (otlp["headers"]?.members ?? []).map { ($0.key, $0.value.string ?? "") },
                metrics: otlp["metrics"]?.boolean ?? true, traces: otlp["traces"]?.boolean ?? false,
                audit: otlp["audit"]?.boolean ?? false,
                interval: .seconds(otlp["interval_seconds"]?.integer ?? 15),
                traceRatio: otlp["trace_ratio"]?.number ?? 1)
        }
        let audit = node?["audit"]
        self.auditToStderr = audit?["stderr"]?.boolean ?? true
        self.recordsOutcomes = audit?["outcomes"]?.boolean ?? true
        self.auditFile = audit?["file"].map { file in
            File(
                path: file["path"]?.string ?? "", maximumBytes: file["max_bytes"]?.integer ?? 100 << 20,
                keep: file["keep"]?.integer ?? 5)
        }
        self.syslog = audit?["syslog"].flatMap { syslog in
            Self.syslogAddress(syslog["address"]?.string ?? "unix:/dev/log").map {
                Syslog(
                    address: $0, facility: Self.facilities.firstIndex(of: syslog["facility"]?.string ?? "local0") ?? 16)
            }
        }
        self.logsJSON = node?["log"]?["format"]?.string == "json"
    }

    /// `host:port`, `[v6]:port`, `:port`.
    static func address(_ text: String) -> (host: String, port: Int)? {
        guard let colon = text.lastIndex(of: ":"), let port = Int(text[text.index(after: colon)...]),
            (0...65535).contains(port)
        else { return nil }
        var host = String(text[..<colon])
        if host.hasPrefix("["), host.hasSuffix("]") { host = String(host.dropFirst().dropLast()) }
        return (host.isEmpty ? "0.0.0.0" : host, port)
    }

    static func syslogAddress(_ text: String) -> SyslogOutput.Address? {
        if text.hasPrefix("unix:/") { return .unix(String(text.dropFirst("unix:".count))) }
        guard text.hasPrefix("udp:"), let (host, port) = self.address(String(text.dropFirst("udp:".count))) else {
            return nil
        }
        return .udp(host: host, port: String(port))
    }

    /// By their numbers (RFC 5424 §6.2.1).
    private static let facilities = [
        "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp", "ntp",
        "security", "console", "clock", "local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7",
    ]

    package static let section = ConfigSection([
        ConfigKey(
            "metrics",
            .section(
                ConfigSection([
                    ConfigKey(
                        "listen", .string(minimum: 1), required: true,
                        "host:port on which GET /metrics answers Prometheus, apart from the gateway's own address and without a bearer.",
                        example: "127.0.0.1:9464",
                        check: { node in
                            address(node.string ?? "") != nil
                                ? nil : "is not host:port; write it like 127.0.0.1:9464."
                        })
                ])), "Metrics for Prometheus."),
        ConfigKey(
            "otlp",
            .section(
                ConfigSection([
                    ConfigKey(
                        "url", .outboundURL, required: true, "The collector's OTLP/HTTP base URL.",
                        example: "https://otel.example.com"),
                    ConfigKey(
                        "headers", .map(of: .string()), "Headers for the collector, such as its credential.",
                        inspect: { node, report in HeaderFields.inspect(node, takesEmpty: true, into: &report) }),
                    ConfigKey("metrics", .boolean, default: "true", "Whether it gets the metrics."),
                    ConfigKey(
                        "traces", .boolean, default: "false",
                        "Whether it gets a span for each model request and for each attempt at an upstream."),
                    ConfigKey("audit", .boolean, default: "false", "Whether it gets the audit events, as log records."),
                    ConfigKey(
                        "interval_seconds", .integer(minimum: 1, maximum: 3600), default: "15",
                        "How often metrics are sent."),
                    ConfigKey(
                        "trace_ratio", .number(minimum: 0, maximum: 1), default: "1",
                        "The share of requests that are traced when the caller's traceparent does not decide."),
                ])), "The gateway's own signals by OTLP."),
        ConfigKey(
            "audit",
            .section(
                ConfigSection([
                    ConfigKey("stderr", .boolean, default: "true", "Whether audit events go to standard error."),
                    ConfigKey(
                        "outcomes", .boolean, default: "true",
                        "Whether the end of each answer is an event too (inference.end)."),
                    ConfigKey(
                        "file",
                        .section(
                            ConfigSection([
                                ConfigKey(
                                    "path", .string(minimum: 1), required: true, "The file; its folder must exist.",
                                    example: "/var/log/claude-gateway/audit.jsonl"),
                                ConfigKey(
                                    "max_bytes", .integer(minimum: 4096), default: "104857600",
                                    "It is renamed to path.1 before it grows beyond this."),
                                ConfigKey(
                                    "keep", .integer(minimum: 0, maximum: 1000), default: "5",
                                    "How many renamed files are kept."),
                            ])), "A file of audit events, one JSON object a line."),
                    ConfigKey(
                        "syslog",
                        .section(
                            ConfigSection([
                                ConfigKey(
                                    "address", .string(minimum: 1), default: "unix:/dev/log",
                                    "unix:/path or udp:host:port.",
                                    check: { node in
                                        syslogAddress(node.string ?? "") != nil
                                            ? nil : "is no syslog address; write unix:/dev/log or udp:host:514."
                                    }),
                                ConfigKey("facility", .choice(facilities), default: "local0", "The facility."),
                            ])), "A system logger (RFC 5424)."),
                ])), "Where audit events go besides standard error."),
        ConfigKey(
            "log",
            .section(
                ConfigSection([
                    ConfigKey(
                        "format", .choice(["text", "json"]), default: "text", "The form of operational log lines.")
                ])), "The operational log on standard error."),
    ])
}
