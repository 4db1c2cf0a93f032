// SPDX-License-Identifier: Apache-2.0

internal import Foundation
internal import GatewayCore
internal import GatewayHTTPClient
internal import GatewayMetering
internal import GatewayProviders
internal import GatewayRelay
internal import GatewayStore
internal import GatewayTelemetry
internal import Logging
internal import NIOCore
internal import NIOHTTP1
internal import Synchronization

/// The gateway's own signals, for the life of the process: what is counted, where audit events and spans go, and the
/// listener for Prometheus.
final class Observability: Sendable {
    let audit: any AuditSink
    let services: RelayServices
    let telemetryMetrics: TelemetryMetrics?
    let registry: MetricRegistry?
    private let exporter: OTLPExporter?
    private let outputs: [AuditOutput]
    private let listener = Mutex<RelayServer?>(nil)
    /// The relay of developers' telemetry that is in use.
    private let relay = Mutex<TelemetryRelay?>(nil)
    private let configuration = Mutex<RelayConfiguration?>(nil)
    private let spend: SpendMetrics?
    private let exportsAudit: Bool
    /// Where `/metrics` is served.
    let metricsPort = Mutex<Int?>(nil)

    /// - Throws: `BootFailure` when an output cannot be opened.
    init(
        _ settings: ObservabilitySettings, audit console: any AuditSink, log: Logger, allowsLoopback: Bool,
    ) throws {
        let wantsMetrics = settings.metricsListen != nil || settings.collector?.metrics == true
        let registry = wantsMetrics || settings.collector != nil ? MetricRegistry() : nil
        self.registry = registry
        var sinks: [any AuditSink] = settings.auditToStderr ? [console] : []
        var outputs: [AuditOutput] = []
        if let file = settings.auditFile {
            do {
                outputs.append(
                    try AuditOutput.file(file) { reason in
                        log.error("the audit file cannot be written", metadata: ["reason": "\(reason)"])
                    })
            } catch {
                throw BootFailure(
                    "observability.audit.file.path: \(file.path.singleLine) cannot be opened (\(error.reason)). Check the path and its folder's permissions"
                )
            }
        }
        if let syslog = settings.syslog {
            outputs.append(
                AuditOutput.syslog(syslog) { reason in
                    log.error("the system logger takes no audit events", metadata: ["reason": "\(reason)"])
                })
        }
        self.outputs = outputs
        self.exportsAudit = settings.collector?.audit == true
        sinks += outputs
        if let collector = settings.collector, let registry {
            let client = OutboundClient(rule: .guarded(AddressGuard(allowsLoopback: allowsLoopback)))
            let exporter = OTLPExporter(
                settings: collector, registry: registry, client: client,
                instance: "\(ProcessInfo.processInfo.hostName)-\(ProcessInfo.processInfo.processIdentifier)", log: log)
            self.exporter = exporter
            if collector.audit { sinks.append(exporter) }
        } else {
            self.exporter = nil
        }
        // The usual case costs nothing more than before.
        self.audit = sinks.count == 1 && registry == nil ? sinks[0] : AuditFan(sinks, registry: registry)
        self.services = RelayServices(
            audit: self.audit, log: log, metrics: registry.map(RelayMetrics.init),
            spans: settings.collector?.traces == true ? self.exporter : nil,
            recordsOutcomes: settings.recordsOutcomes)
        self.telemetryMetrics = registry.map(TelemetryMetrics.init)
        self.spend = registry.map(SpendMetrics.init)
        if let registry { ProcessMetrics.observe(registry) }
    }

    /// Counts what is booked.
    var spendObserver: (@Sendable (SpendEntry) -> Void)? {
        guard let spend else { return nil }
        return { (entry: SpendEntry) in spend.booked(entry) }
    }

    /// Gives an event that was recorded on the console alone to the other outputs.
    func repeatForOutputs(_ event: AuditEvent) {
        for output in self.outputs { output.record(event) }
        if self.exportsAudit { self.exporter?.record(event) }
    }

    func begin(_ settings: ObservabilitySettings, log: Logger) async throws {
        self.exporter?.start()
        guard let (host, port) = settings.metricsListen, let registry = self.registry else { return }
        do {
            let (server, bound) = try await SideListener.start(
                MetricsResponder(registry: registry), on: RelayServer.Address(host: host, port: port), log: log)
            log.info("metrics: GET /metrics on \(host):\(bound)")
            self.listener.withLock { $0 = server }
            self.metricsPort.withLock { $0 = bound }
        } catch {
            throw BootFailure(
                "observability.metrics.listen: cannot listen on \(host):\(port) (\(error)). Choose another address or port"
            )
        }
    }

    func use(_ relay: TelemetryRelay) {
        self.relay.withLock { $0 = relay }
    }

    func use(_ configuration: RelayConfiguration) {
        self.configuration.withLock { $0 = configuration }
    }

    /// The store's pool, and the breakers of the configuration in use.
    func watch(_ store: any GatewayStore) {
        self.registry?.observe { [weak self] in
            var found: [MetricRegistry.Observation] = []
            if let load = store.load {
                let name = "claude_gateway_store_connections"
                let help = "Connections to the store."
                found = [
                    .init(name, help, labels: [("state", "busy")], value: Double(load.busy)),
                    .init(name, help, labels: [("state", "idle")], value: Double(load.connections - load.busy)),
                    .init(
                        "claude_gateway_store_waiting", "Jobs that wait for a connection to the store.",
                        value: Double(load.waiting)),
                    .init(
                        "claude_gateway_store_up", "1 while the store takes connections, else 0.",
                        value: load.isDown ? 0 : 1),
                ]
            }
            guard let configuration = self?.configuration.withLock({ $0 }) else { return found }
            let open = configuration.health.openBreakers()
            for (index, upstream) in configuration.upstreams.enumerated() {
                found.append(
                    .init(
                        "claude_gateway_upstream_resting",
                        "How many of an upstream's models are tried last because of failures; an upstream that is silent as a whole counts as one.",
                        labels: [("upstream", upstream.name)], value: Double(open[index, default: 0])))
            }
            return found
        }
    }

    func stop() async {
        if let relay = self.relay.withLock({ $0 }) { await relay.stop(within: .seconds(2)) }
        await self.exporter?.stop()
        if let server = self.listener.withLock({ $0 }) { _ = await server.drain(within: .zero) { true } }
        for output in self.outputs { output.close() }
    }
}

/// `GET /metrics`, and nothing else.
private struct MetricsResponder: PlainResponder {
    let registry: MetricRegistry

    func immediateAnswer(to request: PlainRequest) -> PlainResponse? {
        guard request.path == "/metrics" else { return .text(.notFound, "not found") }
        guard request.method == .GET || request.method == .HEAD else {
            var response = PlainResponse.text(.methodNotAllowed, "method not allowed")
            response.headers.add(name: "allow", value: "GET, HEAD")
            return response
        }
        return nil
    }

    func respond(to request: PlainRequest) async -> PlainResponse {
        PlainResponse(
            status: .ok, headers: ["content-type": PrometheusText.contentType],
            body: .bytes(ByteBuffer(string: PrometheusText.render(self.registry.read()))))
    }
}

/// What is booked, by model and upstream: both come from the configuration.
final class SpendMetrics: Sendable {
    private let tokens: MetricFamily
    private let dollars: MetricFamily
    private let estimates: MetricFamily

    init(_ registry: MetricRegistry) {
        self.tokens = registry.counter(
            "claude_gateway_tokens_total",
            "Tokens of metered answers. type is input, output, cache_read, cache_write_5m or cache_write_1h.",
            labels: ["upstream", "gen_ai_request_model", "type"])
        self.dollars = registry.counter(
            "claude_gateway_spend_usd_total", "What metered answers cost, in US dollars.",
            labels: ["upstream", "gen_ai_request_model"], divisor: 1e9)
        self.estimates = registry.counter(
            "claude_gateway_estimated_answers_total", "Metered answers whose tokens are estimated.",
            labels: ["upstream", "gen_ai_request_model"])
    }

    func booked(_ entry: SpendEntry) {
        let (upstream, model) = (entry.upstream, entry.upstreamModel)
        for (type, count) in [
            ("input", entry.input), ("output", entry.output), ("cache_read", entry.cacheRead),
            ("cache_write_5m", entry.cacheWrite5m), ("cache_write_1h", entry.cacheWrite1h),
        ] where count > 0 {
            self.tokens.add(Double(count), upstream, model, type)
        }
        self.dollars.add(Double(entry.amount.nanodollars), upstream, model)
        if entry.estimates > 0 { self.estimates.add(1, upstream, model) }
    }
}

/// What every process has, under Prometheus' usual names.
enum ProcessMetrics {
    static func observe(_ registry: MetricRegistry) {
        let start = Double(Timestamp.now.milliseconds) / 1000
        registry.observe {
            var found = [
                MetricRegistry.Observation(
                    "claude_gateway_build_info", "The version that runs.",
                    labels: [("version", GatewayVersion.current)], value: 1),
                MetricRegistry.Observation(
                    "process_start_time_seconds", "When the process began, in seconds since 1970.", value: start),
            ]
            if let cpu = self.processorSeconds() {
                found.append(
                    MetricRegistry.Observation(
                        "process_cpu_seconds_total", "Processor time, user and system.", .counter, value: cpu))
            }
            if let pages = self.numbers("/proc/self/statm").dropFirst().first {
                found.append(
                    MetricRegistry.Observation(
                        "process_resident_memory_bytes", "Memory that is resident.",
                        value: Double(pages * sysconf(Int32(_SC_PAGESIZE)))))
            }
            var limit = rlimit()
            if getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 {
                found.append(
                    MetricRegistry.Observation(
                        "process_max_fds", "The most file descriptors that may be open.", value: Double(limit.rlim_cur))
                )
            }
            if let files = try? FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd") {
                found.append(
                    MetricRegistry.Observation("process_open_fds", "Open file descriptors.", value: Double(files.count))
                )
            }
            return found
        }
    }

    private static func numbers(_ path: String) -> [Int] {
        (FileManager.default.contents(atPath: path).map { String(decoding: $0, as: UTF8.self) } ?? "")
            .split(separator: " ").compactMap { Int($0.trimmingCharacters(in: .whitespacesAndNewlines)) }
    }

    private static func processorSeconds() -> Double? {
        var usage = rusage()
        guard getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage) == 0 else { return nil }
        func seconds(_ time: timeval) -> Double { Double(time.tv_sec) + Double(time.tv_usec) / 1e6 }
        return seconds(usage.ru_utime) + seconds(usage.ru_stime)
    }
}
