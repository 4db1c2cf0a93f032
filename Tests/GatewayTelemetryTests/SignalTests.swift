// SPDX-License-Identifier: Apache-2.0

import Foundation
import GatewayCore
import GatewayHTTPClient
import Logging
import Synchronization
import TestSupport
import Testing

@testable import GatewayTelemetry

@Suite("Metrics")
struct MetricTests {
    @Test("are written in Prometheus' text format")
    func text() {
        let registry = MetricRegistry()
        let counter = registry.counter("c_total", "Counts\nthings.", labels: ["a", "b"])
        counter.add(2, "x\"y\\z\n", "é")
        counter.add(0.5, "x\"y\\z\n", "é")
        let histogram = registry.histogram("h_seconds", "Times.", bounds: [0.1, 1])
        for value in [0.05, 0.1, 0.5, 7] { histogram.note(value) }
        registry.observe { [.init("g", "A gauge.", value: 3)] }
        #expect(
            PrometheusText.render(registry.read()) == """
                # HELP c_total Counts\\nthings.
                # TYPE c_total counter
                c_total{a="x\\"y\\\\z\\n",b="é"} 2.5
                # HELP h_seconds Times.
                # TYPE h_seconds histogram
                h_seconds_bucket{le="0.1"} 2
                h_seconds_bucket{le="1"} 3
                h_seconds_bucket{le="+Inf"} 4
                h_seconds_sum 7.65
                h_seconds_count 4
                # HELP g A gauge.
                # TYPE g gauge
                g 3

                """)
    }

    @Test("have a bounded number of series, whatever the labels")
    func bounded() {
        let family = MetricRegistry().counter("c", "", labels: ["l"])
        for number in 0..<5000 { family.add(1, "\(number)") }
        let series = family.read().series
        #expect(series.count == MetricFamily.maximumSeries + 1)
        let other = series.first { $0.labels.first?.value == "other" }
        guard case .number(3000.0)? = other?.value else {
            Issue.record("\(String(describing: other))")
            return
        }
    }

    @Test("count from many threads")
    func threads() async {
        let family = MetricRegistry().counter("c", "")
        await withTaskGroup(of: Void.self) { group in
            for _ in 0..<8 { group.addTask { for _ in 0..<1000 { family.add() } } }
        }
        guard case .number(8000.0)? = family.read().series.first?.value else {
            Issue.record("lost counts")
            return
        }
    }
}

@Suite("Trace contexts")
struct TraceContextTests {
    /// Examples of <https://www.w3.org/TR/trace-context/#examples-of-http-traceparent-headers>, and their like.
    @Test(
        "are read as the recommendation says",
        arguments: [
            ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", true),
            ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00", false),
            ("cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-what-the-future-holds", true),
            ("ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", nil),
            ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more", nil),
            ("00-00000000000000000000000000000000-00f067aa0ba902b7-01", nil),
            ("00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01", nil),
            ("00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01", nil), ("", nil), ("00---", nil),
        ] as [(String, Bool?)])
    func reading(_ header: String, _ isSampled: Bool?) {
        #expect(TraceContext(header: header)?.isSampled == isSampled)
    }

    @Test("of children keep the trace and the decision")
    func children() throws {
        let root = try #require(TraceContext(header: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"))
        let child = root.child()
        #expect(child.traceID == root.traceID && child.spanID != root.spanID && child.isSampled)
        #expect(TraceContext(header: child.header) == child)
        #expect(TraceContext(header: TraceContext.root(isSampled: false).header)?.isSampled == false)
    }
}

@Suite("Collectors")
struct TelemetryDestinationTests {
    private func destination(_ url: String, _ registry: MetricRegistry = MetricRegistry()) -> TelemetryDestination {
        TelemetryDestination(
            host: "c", client: OutboundClient(rule: .any), credential: nil, metrics: TelemetryMetrics(registry),
            log: Logger(label: "t") { _ in SwiftLogNoOpLogHandler() })
    }

    private func request(_ server: ScriptedServer, _ body: String = "x") -> OutboundRequest {
        OutboundRequest("POST", server.url + "/v1/metrics", body: Array(body.utf8), timeout: .seconds(5))
    }

    private func counts(_ registry: MetricRegistry, _ name: String) -> [String: Double] {
        var counts: [String: Double] = [:]
        for series in registry.read().first(where: { $0.name == name })?.series ?? [] {
            if case .number(let value) = series.value, value > 0 { counts[series.labels.last?.value ?? ""] = value }
        }
        return counts
    }

    @Test("get an export again after 503, as soon as they say")
    func retry() async throws {
        let calls = Counter()
        let server = try await ScriptedServer { _ in
            calls.next() < 2 ? [.answer(503, "", headers: [("retry-after", "1")])] : [.answer(200, "")]
        }
        let registry = MetricRegistry()
        let destination = self.destination(server.url, registry)
        destination.take(self.request(server))
        #expect(await eventually { destination.isIdle })
        #expect(server.seen.count == 3)
        #expect(self.counts(registry, "claude_gateway_telemetry_exports_total") == ["failure": 2, "success": 1])
        #expect(self.counts(registry, "claude_gateway_telemetry_dropped_total").isEmpty)
        await server.stop()
    }

    @Test("do not get again what they refuse for what it is", arguments: [400, 413, 422, 401, 500])
    func refusals(_ status: Int) async throws {
        let server = try await ScriptedServer { _ in [.answer(status, "")] }
        let registry = MetricRegistry()
        let destination = self.destination(server.url, registry)
        for _ in 0..<3 { destination.take(self.request(server)) }
        #expect(await eventually { destination.isIdle })
        #expect(server.seen.count == 3)
        let reason = [400, 413, 422].contains(status) ? "refused" : "failed"
        #expect(self.counts(registry, "claude_gateway_telemetry_dropped_total") == [reason: 3])
        await server.stop()
    }

    @Test("that are dead cost a bounded memory, and what is too much is counted")
    func dead() async throws {
        let server = try await ScriptedServer { _ in [.hang] }
        let registry = MetricRegistry()
        let destination = self.destination(server.url, registry)
        let big = String(repeating: "x", count: 1 << 20)
        for _ in 0..<50 { destination.take(self.request(server, big)) }
        #expect(self.counts(registry, "claude_gateway_telemetry_dropped_total") == ["queue_full": 18])
        for _ in 0..<3000 { destination.take(self.request(server)) }
        let queued = registry.read().first { $0.name == "claude_gateway_telemetry_queue_bytes" }?.series.first?.value
        guard case .number(let bytes)? = queued else {
            Issue.record("no queue")
            return
        }
        #expect(bytes <= Double(32 << 20))
        destination.close()
        await server.stop()
    }

    @Test("that fail five times rest, and get what waited afterwards")
    func rest() async throws {
        let server = try await ScriptedServer { _ in [.answer(502, "", headers: [("retry-after", "0")])] }
        let registry = MetricRegistry()
        let destination = self.destination(server.url, registry)
        destination.take(self.request(server))
        // The fifth request's arrival is not yet its failure.
        let exports = "claude_gateway_telemetry_exports_total"
        #expect(await eventually { self.counts(registry, exports) == ["failure": 5] })
        #expect(server.seen.count == 5)
        for _ in 0..<5 { destination.take(self.request(server)) }
        try await Task.sleep(for: .milliseconds(500))
        #expect(server.seen.count == 5)
        // A gateway that stops waits for no better time.
        destination.drain()
        #expect(await eventually { destination.isIdle })
        await server.stop()
    }
}

@Suite("Audit outputs")
struct AuditOutputTests {
    private let event = AuditEvent("test", ["n": 1])

    private func withFolder(_ body: (String) async throws -> Void) async throws {
        let folder = NSTemporaryDirectory() + "audit-" + RandomToken.make()
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: folder) }
        try await body(folder)
    }

    private func lines(_ path: String) -> Int {
        (try? String(contentsOfFile: path, encoding: .utf8))?.split(separator: "\n").count ?? 0
    }

    @Test("rotate, keep as many as they are told, lose nothing that is kept, and are for the owner only")
    func rotation() async throws {
        try await self.withFolder { folder in
            let path = folder + "/audit.jsonl"
            let file = RotatingFile(path: path, maximumBytes: 100, keep: 2) { _ in }
            #expect(file.open() == nil)
            for _ in 0..<10 { file.put(Array("0123456789012345678901234567890123456789\n".utf8)) }
            #expect(
                try FileManager.default.contentsOfDirectory(atPath: folder).sorted() == [
                    "audit.jsonl", "audit.jsonl.1", "audit.jsonl.2",
                ])
            #expect([path, path + ".1", path + ".2"].map(self.lines) == [2, 2, 2])
            let mode = try FileManager.default.attributesOfItem(atPath: path)[.posixPermissions] as? Int
            #expect(mode == 0o600)
        }
    }

    @Test("are made anew when somebody has moved them away")
    func moved() async throws {
        try await self.withFolder { folder in
            let path = folder + "/audit.jsonl"
            let file = RotatingFile(path: path, maximumBytes: 1 << 20, keep: 1) { _ in }
            file.put(Array("a\n".utf8))
            try FileManager.default.moveItem(atPath: path, toPath: path + ".moved")
            try await Task.sleep(for: .milliseconds(1100))
            file.put(Array("b\n".utf8))
            #expect(self.lines(path) == 1 && self.lines(path + ".moved") == 1)
        }
    }

    @Test("that cannot be opened say so at once")
    func unopened() {
        #expect(throws: AuditOutputFailure.self) {
            try AuditOutput.file(.init(path: "/nonexistent/audit", maximumBytes: 9999, keep: 1)) { _ in }
        }
    }

    @Test("of system loggers are messages of RFC 5424")
    func syslog() async throws {
        try await self.withFolder { folder in
            let path = folder + "/log"
            let descriptor = socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue), 0)
            defer { close(descriptor) }
            var address = sockaddr_un()
            address.sun_family = sa_family_t(AF_UNIX)
            withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: Array(path.utf8)) }
            let bound = withUnsafePointer(to: &address) { pointer in
                pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    bind(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
                }
            }
            try #require(bound == 0)
            let output = SyslogOutput(address: .unix(path), facility: 16) { _ in }
            output.put(self.event.line)
            var buffer = [UInt8](repeating: 0, count: 4096)
            let count = recv(descriptor, &buffer, buffer.count, Int32(MSG_DONTWAIT))
            let text = String(decoding: buffer.prefix(max(0, count)), as: UTF8.self)
            #expect(text.hasPrefix("<133>1 "))
            #expect(text.contains(" claude-gateway \(getpid()) audit - {\"ts\":"))
            #expect(text.hasSuffix("\"evt\":\"test\",\"n\":1}"))
        }
    }

    @Test("are counted by event and reason, and by nothing that came from outside")
    func counting() {
        let registry = MetricRegistry()
        let fan = AuditFan([], registry: registry)
        fan.record(AuditEvent("auth.denied", ["reason": "missing"]))
        fan.record(AuditEvent("auth.denied", ["reason": "Whatever <somebody> wrote"]))
        fan.record(AuditEvent("auth.denied", ["reason": .string(String(repeating: "a", count: 99))]))
        let labels = registry.read().first?.series.map { $0.labels.map(\.value) }
        #expect(labels == [["auth.denied", "missing"], ["auth.denied", "other"]])
    }

    @Test("that a thread gathers go to each sink once, and are counted")
    func gathered() throws {
        #expect(AuditFan([CapturingAudit()], registry: nil).gathering() == nil)
        let path = NSTemporaryDirectory() + "/lines-\(RandomToken.make())"
        _ = FileManager.default.createFile(atPath: path, contents: nil)
        defer { try? FileManager.default.removeItem(atPath: path) }
        let handle = try #require(FileHandle(forWritingAtPath: path))
        let writer = LineWriter(descriptor: handle.fileDescriptor)
        let (captured, registry) = (CapturingAudit(), MetricRegistry())
        let fan = AuditFan([captured, AuditLog(writer: writer)], registry: registry)
        let gathering = try #require(fan.gathering())
        for number in 0..<3 { gathering.record(AuditEvent("x", ["n": .integer(number)])) }
        #expect(captured.events("x").count == 3)
        #expect(try String(contentsOfFile: path, encoding: .utf8).isEmpty)
        gathering.flush()
        writer.close()
        let lines = try String(contentsOfFile: path, encoding: .utf8).split(separator: "\n")
        #expect(lines.map { $0.suffix(6) } == ["\"n\":0}", "\"n\":1}", "\"n\":2}"])
        guard case .number(3.0)? = registry.read().first?.series.first?.value else {
            Issue.record("\(registry.read())")
            return
        }
    }

    @Test("are in a file when they have been written, and in a pipe as far as it has room")
    func atOnce() throws {
        let path = NSTemporaryDirectory() + "/lines-\(RandomToken.make())"
        _ = FileManager.default.createFile(atPath: path, contents: nil)
        defer { try? FileManager.default.removeItem(atPath: path) }
        let handle = try #require(FileHandle(forWritingAtPath: path))
        let file = LineWriter(descriptor: handle.fileDescriptor)
        for number in 0..<8 {
            file.write("line \(number)")
            #expect(try String(contentsOfFile: path, encoding: .utf8).hasSuffix("line \(number)\n"))
        }
        file.close()
        // Nobody reads: what the pipe does not take must not hold the writer of a line.
        let pipe = Pipe()
        let lines = LineWriter(descriptor: pipe.fileHandleForWriting.fileDescriptor)
        let long = String(repeating: "x", count: 3000)
        for _ in 0..<100 { lines.write(long) }
        let some = pipe.fileHandleForReading.availableData
        #expect(some.count >= 3001 && some.count <= 1 << 16)
        let rest = Thread { while !pipe.fileHandleForReading.availableData.isEmpty {} }
        rest.start()
        lines.close()
        try pipe.fileHandleForWriting.close()
    }

    @Test("of an output that was slow are left to the thread")
    func slowOutputs() {
        final class Output: LineOutput {
            let threads = Mutex<[pthread_t]>([])
            func takesAtOnce(_ count: Int) -> Bool { true }
            func put(_ lines: [UInt8]) {
                let isFirst = self.threads.withLock { threads in
                    threads.append(pthread_self())
                    return threads.count == 1
                }
                if isFirst { Thread.sleep(forTimeInterval: 0.02) }
            }
        }
        let output = Output()
        let writer = LineWriter(output)
        writer.write("one")
        writer.write("two")
        writer.close()
        let threads = output.threads.withLock { $0 }
        #expect(threads.count == 2 && threads[0] == pthread_self() && threads[1] != pthread_self())
    }

    @Test("of the operational log can be JSON")
    func jsonLog() throws {
        let lines = Mutex<[UInt8]>([])
        struct Output: LineOutput {
            let body: @Sendable ([UInt8]) -> Void
            func put(_ bytes: [UInt8]) { self.body(bytes) }
        }
        let writer = LineWriter(Output { bytes in lines.withLock { $0 += bytes } })
        let format = LogFormat()
        let log = Logger(label: "x") { _ in OperationalLog(writer: writer, level: .info, format: format) }
        format.useJSON(true)
        log.warning("a \"message\"", metadata: ["request_id": "r", "msg": "not mine", "k": "two\nlines"])
        writer.close()
        let json = try JSONValue(parsing: lines.withLock { $0 }.split(separator: 0x0A).first ?? [])
        #expect(json["level"] == "warn" && json["msg"] == "a \"message\"" && json["k"] == "two\nlines")
        #expect(json["request_id"] == "r")
    }
}
