// SPDX-License-Identifier: Apache-2.0

import GatewayCore
import GatewayHTTPClient
import GatewayMetering
import GatewayProviders
import GatewayRelay
import GatewayServer
import TestSupport
import Testing

@Suite("Routing")
struct RoutingTests {
    /// Runs a test over two upstreams, the first of which lacks and fails as told.
    private func withTwo(
        lacks: Set<Capability> = [], second: Set<Capability> = [],
        first status: Int = 200,
        routing: RoutingSettings = RoutingSettings(),
        _ body: (TestGateway, String, ScriptedServer, ScriptedServer) async throws -> Void,
    ) async throws {
        let one = try await ScriptedServer { _ in [.answer(status, "{}")] }
        let two = try await ScriptedServer { _ in [.answer(200, "{}")] }
        func upstream(_ name: String, _ url: String, _ lacks: Set<Capability>) -> UpstreamSettings {
            UpstreamSettings(
                name: name, provider: AnthropicProvider(credential: .apiKey(Secret("k"))), baseURL: WebURL(url)!,
                lacks: lacks)
        }
        try await withGateway(configure: { settings in
            settings.upstreams = [upstream("one", one.url, lacks), upstream("two", two.url, second)]
            settings.routing = routing
        }) { try await body($0, try await $0.signIn().bearer, one, two) }
        await one.stop()
        await two.stop()
    }

    private static let needs: [(Capability, String)] = [
        (.webSearch, #""tools":[{"name":"a","input_schema":{}},{"type":"web_search_20250305","name":"web_search"}]"#),
        (.webFetch, #""tools":[{"type":"web_fetch_20250910","name":"web_fetch"}]"#),
        (.codeExecution, #""tools":[{"type":"code_execution_20250825","name":"code_execution"}]"#),
        (.longCache, #""system":[{"type":"text","text":"x","cache_control":{"type":"ephemeral","ttl":"1h"}}]"#),
        (
            .longCache,
            #""messages":[{"role":"user","content":[{"type":"text","text":"x","cache_control":{"ttl":"1h","type":"ephemeral"}}]}]"#
        ),
    ]

    @Test("sends what needs something only to upstreams that have it, or says which would", arguments: needs)
    func capabilities(_ need: Capability, _ members: String) async throws {
        let body = "{\"model\":\"claude-haiku-4-5\",\"max_tokens\":1,\(members)}"
        try await self.withTwo(lacks: [need]) { gateway, bearer, one, two in
            let answer = try await gateway.message(bearer, body)
            #expect(answer.status == 200)
            #expect(one.seen.isEmpty && two.seen.count == 1)
            // Words about it are no need of it.
            let words = body.replacing(
                "\"type\":\"\(need.rawValue)_", with: "\"name\":\"x\\\"type\\\":\\\"\(need.rawValue)_"
            )
            .replacing("\"ttl\":\"1h\"", with: "\"ttl\":\"5m\",\"x\":\"1h\"")
            let other = try await gateway.message(bearer, words)
            #expect(other.status == 200)
            #expect(one.seen.count == 1)
        }
        try await self.withTwo(lacks: [need], second: [need]) { gateway, bearer, one, two in
            let answer = try await gateway.message(bearer, body)
            #expect(answer.status == 400)
            #expect(answer.json?["error"]?["type"] == "invalid_request_error")
            let message = answer.json?["error"]?["message"]?.string ?? ""
            #expect(message.contains(need.noun) && message.contains("anthropic"))
            #expect(one.seen.isEmpty && two.seen.isEmpty)
        }
    }

    @Test("leaves a failing upstream alone while its breaker is open")
    func breaker() async throws {
        var routing = RoutingSettings()
        routing.breaker = .init(failures: 3, restSeconds: 1)
        try await self.withTwo(first: 500, routing: routing) { gateway, bearer, one, two in
            for _ in 0..<10 { #expect(try await gateway.message(bearer).status == 200) }
            #expect(one.seen.count == 3 && two.seen.count == 10)
            try await Task.sleep(for: .milliseconds(1100))
            for _ in 0..<3 { #expect(try await gateway.message(bearer).status == 200) }
            #expect(one.seen.count == 4)
        }
    }

    @Test("tries no further upstream when the budget for it is used up")
    func budget() async throws {
        var routing = RoutingSettings()
        routing.retryBudget = .init(percent: 1, minimumPerSecond: 0)
        try await self.withTwo(first: 503, routing: routing) { gateway, bearer, one, two in
            var statuses: [Int: Int] = [:]
            for _ in 0..<30 { statuses[try await gateway.message(bearer).status, default: 0] += 1 }
            #expect(statuses == [200: 10, 502: 20])
            #expect(one.seen.count == 30 && two.seen.count == 10)
        }
    }

    private static let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
    private static let broken: [(String, [ScriptedServer.Step])] = [
        ("refuses", []), ("closes at once", [.close]), ("resets", [.reset]), ("hangs", [.hang]),
        ("answers garbage", [.bytes("\u{1}\u{2}garbage\r\n\r\n")]),
        ("dribbles its head", "HTTP/1.1 200 OK\r\nx: ".map { ScriptedServer.Step.bytes(String($0)) } + [.hang]),
        ("is slow to begin", [.pause(.seconds(9)), .answer(200, "{}")]),
        ("ends in its head", [.bytes("HTTP/1.1 200 OK\r\ncontent-le"), .close]),
        ("resets a stream before it says anything", [.bytes(head), .chunk(": hello\n\n"), .reset]),
        ("ends an error in the middle", [.bytes("HTTP/1.1 500 X\r\ncontent-length: 90\r\n\r\n{"), .reset]),
        ("stalls in an error", [.bytes("HTTP/1.1 529 X\r\ncontent-length: 90\r\n\r\n{"), .hang]),
    ]

    @Test("an upstream that is broken costs no request that another can serve", arguments: broken)
    func brokenUpstreams(_ name: String, _ steps: [ScriptedServer.Step]) async throws {
        let bad = try await ScriptedServer { _ in steps }
        if name == "refuses" { await bad.stop() }
        let good = try await ScriptedServer { _ in
            [.streamHead, .chunk("event: message_start\ndata: {\"type\":\"message_start\"}\n\n"), .lastChunk]
        }
        try await withGateway(
            upstreams: [bad.url, good.url], configure: { $0.firstByteTimeout = .seconds(2) }
        ) { gateway in
            let bearer = try await gateway.signIn().bearer
            for _ in 0..<3 {
                let answer = try await gateway.message(
                    bearer, #"{"model":"claude-haiku-4-5","stream":true,"max_tokens":1,"messages":[]}"#)
                #expect(answer.status == 200)
                #expect(answer.text.contains("message_start"))
            }
            #expect(good.seen.count == 3)
            // Silence costs the first request only.
            if name == "hangs" || name == "is slow to begin" { #expect(bad.seen.count == 1) }
        }
        await bad.stop()
        await good.stop()
    }

    @Test("a developer's rate limit is a 429 with a time to come back, and counting tokens is free")
    func rateLimit() async throws {
        let upstream = try await ScriptedServer { _ in [.answer(200, #"{"input_tokens":1}"#)] }
        try await withGateway(
            upstreams: [upstream.url], configure: { $0.inferenceLimits = .init(requestsPerMinute: 3) }
        ) { gateway in
            let bearer = try await gateway.signIn().bearer
            let headers = [("authorization", "Bearer " + bearer)]
            for _ in 0..<33 {
                let count = try await gateway.send(
                    "POST", "/v1/messages/count_tokens", headers: headers,
                    body: #"{"model":"claude-haiku-4-5","messages":[]}"#)
                #expect(count.status == 200)
            }
            var statuses: [Int] = []
            for _ in 0..<4 { statuses.append(try await gateway.message(bearer).status) }
            #expect(statuses == [200, 200, 200, 429])
            let refused = try await gateway.message(bearer)
            #expect(refused.json?["error"]?["type"] == "rate_limit_error")
            #expect(Int(refused.header("retry-after") ?? "").map { (1...60).contains($0) } == true)
            #expect(gateway.audit.events("rate.limited").count == 2)
        }
        await upstream.stop()
    }
}
