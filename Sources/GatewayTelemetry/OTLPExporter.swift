// SPDX-License-Identifier: Apache-2.0

package import GatewayCore
package import GatewayHTTPClient
package import Logging
internal import Synchronization

/// Sends the gateway's own metrics, spans and audit events to a collector, as OTLP in JSON
/// (<https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding>). What a collector does not take is dropped and
/// counted: nobody waits for it.
package final class OTLPExporter: SpanSink, AuditSink {
    private static let maximumSpans = 8192
    private static let maximumEvents = 8192
    /// How long spans and events are gathered.
    private static let pause = Duration.seconds(2)

    private struct Pending {
        var spans: [TraceSpan] = []
        var events: [(event: AuditEvent, at: Timestamp)] = []
    }

    private let settings: ObservabilitySettings.Collector
    private let registry: MetricRegistry
    private let client: OutboundClient
    private let log: Logger
    private let started = Timestamp.now
    private let pending = Mutex(Pending())
    private let drops: MetricFamily
    private let isFailing = Atomic(false)
    private let task = Mutex<Task<Void, Never>?>(nil)
    private let resource: JSONValue

    package init(
        settings: ObservabilitySettings.Collector, registry: MetricRegistry, client: OutboundClient, instance: String,
        log: Logger,
    ) {
        self.settings = settings
        self.registry = registry
        self.client = client
        self.log = log
        self.drops = registry.counter(
            "claude_gateway_own_signals_dropped_total",
            "Spans, audit events and metrics that the collector did not get.",
            labels: ["signal"])
        for signal in ["logs", "metrics", "traces"] { self.drops.add(0, signal) }
        self.resource = [
            "attributes": .array([
                Self.attribute("service.name", "claude-gateway"),
                Self.attribute("service.version", .string(GatewayVersion.current)),
                Self.attribute("service.instance.id", .string(instance)),
            ])
        ]
    }

    package func start() {
        let task = Task { [self] in
            var nextMetrics = ContinuousClock.now + self.settings.interval
            while !Task.isCancelled {
                try? await Task.sleep(for: min(Self.pause, self.settings.interval))
                await self.flush(metrics: ContinuousClock.now >= nextMetrics)
                if ContinuousClock.now >= nextMetrics { nextMetrics = .now + self.settings.interval }
            }
        }
        self.task.withLock { $0 = task }
    }

    package func stop() async {
        self.task.withLock { $0 }?.cancel()
        await self.flush(metrics: true)
    }

    // MARK: Taking

    package func samples() -> Bool {
        self.settings.traceRatio >= 1 || Double.random(in: 0..<1) < self.settings.traceRatio
    }

    package func record(_ span: TraceSpan) {
        guard self.settings.traces else { return }
        let isTaken = self.pending.withLock { pending in
            guard pending.spans.count < Self.maximumSpans else { return false }
            pending.spans.append(span)
            return true
        }
        if !isTaken { self.drops.add(1, "traces") }
    }

    package func record(_ event: AuditEvent) {
        guard self.settings.audit else { return }
        let isTaken = self.pending.withLock { pending in
            guard pending.events.count < Self.maximumEvents else { return false }
            pending.events.append((event, .now))
            return true
        }
        if !isTaken { self.drops.add(1, "logs") }
    }

    // MARK: Sending

    private func flush(metrics: Bool) async {
        let pending = self.pending.withLock { pending -> Pending in
            defer { pending = Pending() }
            return pending
        }
        if !pending.spans.isEmpty {
            await self.send(
                "traces", count: pending.spans.count,
                [
                    "resourceSpans": [
                        [
                            "resource": self.resource,
                            "scopeSpans": [
                                ["scope": Self.scope, "spans": .array(pending.spans.map(Self.span))]
                            ],
                        ]
                    ]
                ])
        }
        if !pending.events.isEmpty {
            await self.send(
                "logs", count: pending.events.count,
                [
                    "resourceLogs": [
                        [
                            "resource": self.resource,
                            "scopeLogs": [
                                [
                                    "scope": Self.scope,
                                    "logRecords": .array(pending.events.map { Self.record($0.event, at: $0.at) }),
                                ]
                            ],
                        ]
                    ]
                ])
        }
        if metrics, self.settings.metrics {
            let now = Timestamp.now
            let list = self.registry.read().map { self.metric($0, now) }
            await self.send(
                "metrics", count: 1,
                [
                    "resourceMetrics": [
                        [
                            "resource": self.resource,
                            "scopeMetrics": [["scope": Self.scope, "metrics": .array(list)]],
                        ]
                    ]
                ])
        }
    }

    private func send(_ signal: String, count: Int, _ body: JSONObject) async {
        let request = OutboundRequest(
            "POST", "\(self.settings.url)/v1/\(signal)",
            headers: [("content-type", "application/json")] + self.settings.headers,
            body: JSONValue.object(body).bytes(), timeout: .seconds(10))
        var reason: String?
        do {
            let response = try await self.client.send(request)
            if !(200..<300).contains(response.status) { reason = "HTTP \(response.status)" }
        } catch {
            reason = "\(error)"
        }
        if reason != nil { self.drops.add(Double(count), signal) }
        let wasFailing = self.isFailing.exchange(reason != nil, ordering: .relaxed)
        if let reason, !wasFailing {
            self.log.warning("the gateway's own signals cannot be sent", metadata: ["reason": "\(reason)"])
        } else if reason == nil, wasFailing {
            self.log.info("the gateway's own signals are sent again")
        }
    }

    // MARK: Encoding

    private static let scope: JSONValue = ["name": "claude-gateway"]

    private static func attribute(_ name: String, _ value: JSONValue) -> JSONValue {
        ["key": .string(name), "value": self.any(value)]
    }

    private static func any(_ value: JSONValue) -> JSONValue {
        switch value {
        case .string: ["stringValue": value]
        case .bool: ["boolValue": value]
        default:
            if let integer = value.integer {
                ["intValue": .string(String(integer))]
            } else if value.number != nil {
                ["doubleValue": value]
            } else {
                ["stringValue": .string(value.text())]
            }
        }
    }

    /// Nanoseconds as text, as the mapping of 64-bit numbers to JSON has it.
    private static func nanoseconds(_ time: Timestamp) -> JSONValue {
        .string("\(time.milliseconds)000000")
    }

    private static func span(_ span: TraceSpan) -> JSONValue {
        var object: JSONObject = [
            "traceId": .string(span.context.traceID), "spanId": .string(span.context.spanID),
            "name": .string(span.name), "kind": .integer(span.kind.rawValue),
            "startTimeUnixNano": self.nanoseconds(span.start), "endTimeUnixNano": self.nanoseconds(span.end),
            "attributes": .array(span.attributes.map { self.attribute($0.name, $0.value) }),
        ]
        object["parentSpanId"] = span.parent.map(JSONValue.string)
        if let failure = span.failure { object["status"] = ["code": 2, "message": .string(failure)] }
        return .object(object)
    }

    private static func record(_ event: AuditEvent, at time: Timestamp) -> JSONValue {
        [
            "timeUnixNano": self.nanoseconds(time), "severityNumber": 9, "severityText": "INFO",
            "eventName": .string(event.name), "body": ["stringValue": .string(event.name)],
            "attributes": .array(
                event.fields.filter { $0.value != .null }.map { self.attribute($0.name, $0.value) }),
        ]
    }

    private func metric(_ reading: MetricReading, _ now: Timestamp) -> JSONValue {
        let points = reading.series.map { series -> JSONValue in
            var point: JSONObject = [
                "attributes": .array(series.labels.map { Self.attribute($0.name, .string($0.value)) }),
                "startTimeUnixNano": Self.nanoseconds(self.started), "timeUnixNano": Self.nanoseconds(now),
            ]
            switch series.value {
            case .number(let value): point["asDouble"] = .number(value)
            case .histogram(let bounds, let counts, let sum):
                point["count"] = .string(String(counts.reduce(0, +)))
                point["sum"] = .number(sum)
                point["bucketCounts"] = .array(counts.map { .string(String($0)) })
                point["explicitBounds"] = .array(bounds.map(JSONValue.number))
            }
            return .object(point)
        }
        var metric: JSONObject = ["name": .string(reading.name), "description": .string(reading.help)]
        switch reading.kind {
        case .counter:
            metric["sum"] = ["aggregationTemporality": 2, "isMonotonic": true, "dataPoints": .array(points)]
        case .gauge: metric["gauge"] = ["dataPoints": .array(points)]
        case .histogram: metric["histogram"] = ["aggregationTemporality": 2, "dataPoints": .array(points)]
        }
        return .object(metric)
    }
}
