// SPDX-License-Identifier: Apache-2.0

import Foundation
import GatewayConfig
import GatewayCore
import GatewayHTTPClient
import GatewayMetering
import GatewayServer
import GatewayTelemetry
import TestSupport
import Testing

@Suite("The gateway's own signals")
struct ObservabilityTests {
    private static let trace = "4bf92f3577b34da6a3ce929d0e0e4736"

    private func metrics(_ gateway: TestGateway) async throws -> String {
        let port = try #require(gateway.gateway.metricsPort)
        let answer = try await OutboundClient(rule: .any).send(
            OutboundRequest("GET", "http://127.0.0.1:\(port)/metrics", timeout: .seconds(5)))
        #expect(answer.status == 200)
        #expect(answer.header("content-type") == "text/plain; version=0.0.4; charset=utf-8")
        return answer.text
    }

    private static let usage = #""usage":{"input_tokens":7,"output_tokens":3}"#

    @Test(
        "are served to Prometheus: requests, attempts, failovers, tokens, spend, sign-ins, on a listener of their own")
    func prometheus() async throws {
        let bad = try await ScriptedServer { _ in [.answer(503, "{}")] }
        let good = try await ScriptedServer { _ in
            [.answer(200, "{\"type\":\"message\",\"model\":\"m\",\"content\":[],\(Self.usage)}")]
        }
        try await withGateway(
            upstreams: [bad.url, good.url],
            configure: { settings in
                settings.observability.metricsListen = ("127.0.0.1", 0)
                settings.admin = AdminSettings()
            }
        ) { gateway in
            let bearer = try await gateway.signIn().bearer
            for _ in 0..<3 { #expect(try await gateway.message(bearer).status == 200) }
            #expect(try await gateway.message(bearer, #"{"model":"no-such"}"#).status == 400)
            _ = try await gateway.send("GET", "/secret/path/of/a/stranger?x=1")
            _ = try await gateway.message("no bearer")
            let text = try await self.metrics(gateway)
            for line in [
                #"http_server_request_duration_seconds_count{http_request_method="POST",http_route="/v1/messages",http_response_status_code="200"} 3"#,
                #"http_server_request_duration_seconds_count{http_request_method="POST",http_route="/v1/messages",http_response_status_code="400"} 1"#,
                #"http_server_request_duration_seconds_count{http_request_method="POST",http_route="/v1/messages",http_response_status_code="401"} 1"#,
                #"http_server_request_duration_seconds_count{http_request_method="GET",http_route="other",http_response_status_code="401"} 1"#,
                #"gen_ai_client_operation_duration_seconds_count{upstream="u0",gen_ai_request_model="claude-sonnet-4-6",error_type="503"} 3"#,
                #"gen_ai_client_operation_duration_seconds_count{upstream="u1",gen_ai_request_model="claude-sonnet-4-6",error_type=""} 3"#,
                #"gen_ai_server_time_to_first_token_seconds_count{upstream="u1",gen_ai_request_model="claude-sonnet-4-6"} 3"#,
                #"claude_gateway_failovers_total{upstream="u0",reason="503"} 3"#,
                #"claude_gateway_answers_total{outcome="complete"} 3"#,
                "claude_gateway_streams_open 0",
                #"claude_gateway_tokens_total{upstream="u1",gen_ai_request_model="claude-sonnet-4-6",type="input"} 21"#,
                #"claude_gateway_tokens_total{upstream="u1",gen_ai_request_model="claude-sonnet-4-6",type="output"} 9"#,
                #"claude_gateway_audit_events_total{event="session.mint",reason="#,
                #"claude_gateway_audit_events_total{event="auth.denied",reason="#,
                #"claude_gateway_upstream_resting{upstream="u0"} 0"#, "process_resident_memory_bytes ",
                #"claude_gateway_build_info{version=""#,
            ] {
                #expect(text.contains(line), "\(line)")
            }
            #expect(!text.contains("stranger") && !text.contains("no-such"))
            let cost = text.split(separator: "\n").first { $0.hasPrefix("claude_gateway_spend_usd_total{") }
            #expect(cost?.hasSuffix("0.000198") == true, "\(cost ?? "")")
            // The gateway's own address serves none.
            #expect(try await gateway.send("GET", "/metrics").status == 401)
        }
        await bad.stop()
        await good.stop()
    }

    @Test("are spans of the caller's trace, and the upstream gets a part in it", arguments: [true, false])
    func traces(_ isSampled: Bool) async throws {
        let collector = try await ScriptedServer { _ in [.answer(200, "{}")] }
        let upstream = try await ScriptedServer { _ in [.answer(200, "{}")] }
        let bad = try await ScriptedServer { _ in [.answer(500, "{}")] }
        try await withGateway(
            upstreams: [bad.url, upstream.url],
            configure: { settings in
                settings.observability.collector = .init(
                    url: collector.url, headers: [("x-key", "secret")], metrics: true, traces: true, audit: true,
                    interval: .seconds(1), traceRatio: 0)
            }
        ) { gateway in
            let bearer = try await gateway.signIn().bearer
            let parent = "00-\(Self.trace)-00f067aa0ba902b7-0\(isSampled ? 1 : 0)"
            _ = try await gateway.message(bearer, headers: [("traceparent", parent)])
            let sent = try #require(upstream.seen.first?.header("traceparent").flatMap(TraceContext.init(header:)))
            #expect(sent.traceID == Self.trace && sent.isSampled == isSampled)
            #expect(sent.spanID != "00f067aa0ba902b7")
            let other = bad.seen.first?.header("traceparent").flatMap(TraceContext.init(header:))
            #expect(other?.traceID == Self.trace && other?.spanID != sent.spanID)
            #expect(
                await eventually {
                    let targets = Set(collector.seen.map(\.target))
                    return targets.isSuperset(of: ["/v1/metrics", "/v1/logs"])
                        && targets.contains("/v1/traces") == isSampled
                })
            #expect(collector.seen.allSatisfy { $0.header("x-key") == "secret" })
            let bodies = collector.seen.map { ($0.target, try? JSONValue(parsing: $0.body)) }
            #expect(bodies.allSatisfy { $0.1 != nil })
            guard isSampled else { return }
            let spans = bodies.filter { $0.0 == "/v1/traces" }.flatMap { body in
                body.1?["resourceSpans"]?.array?.first?["scopeSpans"]?.array?.first?["spans"]?.array ?? []
            }
            #expect(spans.count == 3 && spans.allSatisfy { $0["traceId"] == .string(Self.trace) })
            let server = spans.first { $0["kind"] == 2 }
            #expect(server?["parentSpanId"] == "00f067aa0ba902b7")
            #expect(spans.count { $0["kind"] == 3 && $0["parentSpanId"] == server?["spanId"] } == 2)
            #expect(spans.contains { $0["spanId"] == .string(sent.spanID) && $0["status"] == nil })
            #expect(spans.contains { $0["status"]?["message"] == "500" })
        }
        for server in [collector, upstream, bad] { await server.stop() }
    }

    @Test("go to a file besides, with how each answer ended")
    func auditFile() async throws {
        let path = NSTemporaryDirectory() + "audit-\(RandomToken.make()).jsonl"
        defer { try? FileManager.default.removeItem(atPath: path) }
        let upstream = try await ScriptedServer { _ in
            [.streamHead, .chunk("event: x\ndata: {}\n\n"), .pause(.milliseconds(50)), .reset]
        }
        try await withGateway(
            upstreams: [upstream.url],
            configure: { settings in
                settings.observability.auditToStderr = false
                settings.observability.auditFile = .init(path: path, maximumBytes: 1 << 20, keep: 1)
            }
        ) { gateway in
            let bearer = try await gateway.signIn().bearer
            _ = try? await gateway.message(bearer)
            #expect(
                await eventually {
                    (try? String(contentsOfFile: path, encoding: .utf8))?.contains("inference.end") == true
                })
            let lines = try String(contentsOfFile: path, encoding: .utf8).split(separator: "\n").map {
                try JSONValue(parsing: Array($0.utf8))
            }
            #expect(lines.contains { $0["evt"] == "session.mint" })
            let end = try #require(lines.first { $0["evt"] == "inference.end" })
            #expect(end["outcome"] == "interrupted" && end["upstream"] == "u0")
            #expect(end["bytes"]?.integer ?? 0 > 0)
            #expect(end["first_byte_ms"]?.integer != nil, "without metrics too")
            #expect(gateway.audit.events("inference").isEmpty)
        }
        await upstream.stop()
    }
}

@Suite("Developers' telemetry")
struct TelemetryRelayTests {
    @Test("cannot be attributed to somebody else")
    func identity() async throws {
        let collector = try await ScriptedServer { _ in [.answer(200, "")] }
        let destination = #"{"url":"\#(collector.url)","metrics":true}"#
        for (mode, status) in [("off", 200), ("stamp", 200), ("reject", 400)] {
            try await withGateway(configure: { settings in
                var report = ConfigReport()
                settings.telemetry = TelemetrySettings(
                    YAMLReader.read(
                        #"{"forward_to":[\#(destination)],"verify_identity":"\#(mode)"}"#, expanding: .skipping,
                        into: &report))
            }) { gateway in
                let bearer = try await gateway.signIn().bearer
                let body =
                    #"{"resourceMetrics":[{"resource":{"attributes":[{"key":"user.email","value":{"stringValue":"ceo@example.com"}}]}}]}"#
                let before = collector.seen.count
                let answer = try await gateway.send(
                    "POST", "/v1/metrics",
                    headers: [("authorization", "Bearer " + bearer), ("content-type", "application/json")], body: body)
                #expect(answer.status == status, "\(mode)")
                if mode == "reject" {
                    let event = try #require(gateway.audit.events("telemetry.refused").first)
                    #expect(event["attribute"] == "user.email" && event["sub"] == "u-1")
                    return
                }
                #expect(await eventually { collector.seen.count == before + 1 })
                let text = String(decoding: collector.seen.last?.body ?? [], as: UTF8.self)
                #expect(text.contains("ceo@") == (mode == "off"))
                #expect(text.contains("dev@example.com") == (mode == "stamp"))
            }
        }
        await collector.stop()
    }
}
