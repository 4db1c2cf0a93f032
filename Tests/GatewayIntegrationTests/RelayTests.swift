// SPDX-License-Identifier: Apache-2.0

import Foundation
import GatewayCore
import GatewayHTTPClient
import GatewayPolicy
import GatewayRelay
import GatewayServer
import Synchronization
import TestSupport
import Testing

/// The pieces of an answer with the time at which each arrived.
final class Arrivals: Sendable {
    private let pieces = Mutex<[(text: String, at: ContinuousClock.Instant)]>([])

    func add(_ bytes: [UInt8]) {
        self.pieces.withLock { $0.append((String(decoding: bytes, as: UTF8.self), .now)) }
    }

    var text: String { self.pieces.withLock { $0.map(\.text).joined() } }
    func time(of needle: String) -> ContinuousClock.Instant? {
        self.pieces.withLock { $0.first { $0.text.contains(needle) }?.at }
    }
}

@Suite("Relaying")
struct RelayTests {
    private func withUpstream(
        _ behaviour: @escaping @Sendable (ScriptedServer.Seen) async -> [ScriptedServer.Step],
        configure: (inout GatewaySettings) -> Void = { _ in },
        _ body: (TestGateway, ScriptedServer, String) async throws -> Void,
    ) async throws {
        let upstream = try await ScriptedServer(behaviour)
        try await withGateway(upstreams: [upstream.url], configure: configure) { gateway in
            try await body(gateway, upstream, try await gateway.signIn().bearer)
        }
        await upstream.stop()
    }

    private func stream(_ gateway: TestGateway, _ bearer: String, into arrivals: Arrivals) async throws
        -> OutboundResponse
    {
        let request = OutboundRequest(
            "POST", gateway.base + "/v1/messages", headers: [("authorization", "Bearer " + bearer)],
            body: Array(#"{"model":"claude-sonnet-4-6","stream":true,"messages":[]}"#.utf8), timeout: .seconds(20))
        return try await OutboundClient(rule: .any).send(request) { arrivals.add($0) }
    }

    @Test("sends the client's bytes as they are, and the answer's bytes back")
    func bytesPass() async throws {
        let body =
            "{ \"model\":\"claude-sonnet-4-6\",\n \"x\":1.0, \"y\":12345678901234567890, \"z\":\"\\u00e9\\/ é \\ud800\", \"x\":-0 }"
        try await self.withUpstream({ _ in
            [
                .answer(
                    200, "{ \"a\" : 1.0 }",
                    headers: [("x-thing", "kept"), ("set-cookie", "a=b"), ("request-id", "req_up")])
            ]
        }) { gateway, upstream, bearer in
            let answer = try await gateway.message(bearer, body, headers: [("x-client-request-id", "mine")])
            #expect(answer.text == "{ \"a\" : 1.0 }")
            #expect(upstream.seen.map { String(decoding: $0.body, as: UTF8.self) } == [body])
            #expect(
                (
                    answer.header("x-thing"), answer.header("set-cookie"), answer.header("request-id"),
                    answer.header("x-request-id")
                ) == ("kept", nil, "mine", "mine"))
            #expect(upstream.seen[0].header("authorization") == nil)
            #expect(upstream.seen[0].header("x-api-key") == "key-0")
            let line = try #require(gateway.audit.events("inference").first)
            #expect(
                line.fields.map(\.name) == [
                    "request_id", "sub", "email", "path", "model", "upstream", "upstream_request_id",
                    "upstream_cloud_request_id", "status", "ms",
                ])
            #expect((line["upstream_request_id"], line["status"], line["upstream"]) == ("req_up", 200, "u0"))
        }
    }

    @Test("changes only the model's string where it must")
    func splicesTheModel() async throws {
        try await self.withUpstream({ _ in [.answer(200, "{}")] }) { gateway, upstream, bearer in
            _ = try await gateway.message(bearer, "{\"a\": 1.0, \"model\" : \"claude-sonnet-4-5\" ,\"b\":[ ]}")
            #expect(
                String(decoding: upstream.seen[0].body, as: UTF8.self)
                    == "{\"a\": 1.0, \"model\" : \"claude-sonnet-4-5-20250929\" ,\"b\":[ ]}")
        }
    }

    @Test("passes a stream on as it arrives")
    func streamsAsItArrives() async throws {
        try await self.withUpstream({ _ in
            [
                .streamHead, .chunk("event: a\ndata: one\n\n"), .pause(.seconds(2)), .chunk("data: two\n\n"),
                .lastChunk,
            ]
        }) { gateway, _, bearer in
            let arrivals = Arrivals()
            let answer = try await self.stream(gateway, bearer, into: arrivals)
            #expect(answer.header("content-type") == "text/event-stream", "\(answer.status) \(answer.text)")
            #expect(arrivals.text == "event: a\ndata: one\n\ndata: two\n\n")
            let gap = try #require(arrivals.time(of: "one")).duration(to: #require(arrivals.time(of: "two")))
            #expect(gap > .milliseconds(500), "the first piece was held back")
        }
    }

    @Test("tells the client when the upstream dies in the middle", arguments: [ScriptedServer.Step.reset, .close])
    func tellsOfBrokenStreams(_ end: ScriptedServer.Step) async throws {
        try await self.withUpstream({ _ in
            [.streamHead, .chunk("event: x\ndata: {\"a\""), .pause(.milliseconds(50)), end]
        }) { gateway, _, bearer in
            let arrivals = Arrivals()
            #expect(try await self.stream(gateway, bearer, into: arrivals).status == 200)
            #expect(
                arrivals.text.contains("\n\nevent: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"api_error\""))
            let line = try #require(gateway.audit.events("inference.interrupted").first)
            #expect(line["bytes"] == .integer("event: x\ndata: {\"a\"".utf8.count))
        }
    }

    @Test("never takes a cut body for a whole one")
    func cutsWhatIsCut() async throws {
        try await self.withUpstream({ _ in
            [
                .bytes("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 500\r\n\r\n{\"a\""),
                .pause(.milliseconds(50)), .close,
            ]
        }) { gateway, _, bearer in
            await #expect(throws: OutboundError.self) { try await gateway.message(bearer) }
        }
    }

    @Test("cancels the upstream when the client leaves, before and after the first byte", arguments: [true, false])
    func cancels(_ hasBegun: Bool) async throws {
        try await self.withUpstream({ _ in (hasBegun ? [.streamHead, .chunk("data: x\n\n")] : []) + [.hang] }) {
            gateway, upstream, bearer in
            let arrivals = Arrivals()
            let task = Task { try await self.stream(gateway, bearer, into: arrivals) }
            #expect(await eventually { !upstream.seen.isEmpty && (!hasBegun || !arrivals.text.isEmpty) })
            task.cancel()
            #expect(await eventually(within: .seconds(3)) { upstream.hangUps == 1 })
            if !hasBegun {
                #expect(await eventually { gateway.audit.events("inference").contains { $0["status"] == 499 } })
            }
        }
    }

    @Test(
        "holds little in memory for a client that reads slowly, and loses nothing",
        arguments: [[], [.close]] as [[ScriptedServer.Step]])
    func backpressure(_ end: [ScriptedServer.Step]) async throws {
        let piece = String(repeating: "x", count: 60_000)
        try await self.withUpstream({ _ in
            [.streamHead] + Array(repeating: .chunk(piece), count: 1000) + [.lastChunk] + end
        }) { gateway, _, bearer in
            let before = Self.residentBytes()
            let reader = try self.rawStream(gateway, bearer)
            // 60 MB are on their way to somebody who does not read.
            try await Task.sleep(for: .seconds(1))
            #expect(Self.residentBytes() - before < 30 << 20)
            let total = try await reader.drain(until: "\r\n0\r\n\r\n")
            #expect(total > 60_000_000, "\(gateway.audit.events("inference.interrupted"))")
        }
    }

    /// A request whose answer nobody reads yet.
    private func rawStream(_ gateway: TestGateway, _ bearer: String) throws -> RawClient {
        let client = try RawClient(port: gateway.gateway.port)
        let body = #"{"model":"claude-sonnet-4-6"}"#
        try client.send(
            "POST /v1/messages HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer \(bearer)\r\nContent-Length: \(body.utf8.count)\r\n\r\n\(body)"
        )
        return client
    }

    @Test("ends a stream in which the upstream falls silent")
    func silentUpstreams() async throws {
        try await self.withUpstream(
            { _ in [.streamHead, .chunk("data: one\n\n"), .hang] },
            configure: { $0.connectionTimeouts.stall = .milliseconds(400) }
        ) { gateway, upstream, bearer in
            let arrivals = Arrivals()
            let answer = try await self.stream(gateway, bearer, into: arrivals)
            #expect(answer.status == 200)
            #expect(arrivals.text.contains("event: error"))
            #expect(gateway.audit.events("inference.interrupted").count == 1)
            #expect(await eventually { upstream.hangUps == 1 })
        }
    }

    @Test("ends the connection of a client that takes nothing, and its upstream's")
    func deafClients() async throws {
        let piece = String(repeating: "x", count: 60_000)
        try await self.withUpstream(
            { _ in [.streamHead] + Array(repeating: .chunk(piece), count: 1000) + [.lastChunk] },
            configure: { $0.connectionTimeouts.stall = .milliseconds(600) }
        ) { gateway, upstream, bearer in
            let reader = try self.rawStream(gateway, bearer)
            #expect(await eventually { upstream.hangUps == 1 })
            #expect(try await reader.drain(until: "\r\n0\r\n\r\n") < 60_000_000)
        }
    }

    @Test(
        "ends a connection on which nothing more comes",
        arguments: [
            "", "GET /healthz HTT", "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n",
            "POST /oauth/token HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\ngrant",
            "POST /v1/messages HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{",
        ])
    func idleClients(_ text: String) async throws {
        let limit = ContinuousClock.Duration.milliseconds(500)
        try await withGateway(configure: { settings in
            settings.connectionTimeouts.firstRequest = .milliseconds(500)
            settings.connectionTimeouts.idle = .milliseconds(500)
            settings.connectionTimeouts.body = .milliseconds(500)
        }) { gateway in
            let client = try RawClient(port: gateway.gateway.port)
            if !text.isEmpty { try client.send(text) }
            let begin = ContinuousClock.now
            _ = try await client.readAll()
            let waited = begin.duration(to: .now)
            #expect(waited > limit * 0.5 && waited < .seconds(4), "\(waited)")
        }
    }

    @Test("lets a client take its last answer before it stops")
    func drainsSlowReaders() async throws {
        let text = String(repeating: "x", count: 8_000_000)
        let upstream = try await ScriptedServer { _ in [.answer(200, text)] }
        let provider = FakeIdentityProvider()
        try await provider.start()
        let settings = TestGateway.settings(provider: provider, upstreams: [upstream.url], port: try FreePort.take())
        let gateway = try await TestGateway.start(settings, provider: provider)
        let bearer = try await gateway.signIn().bearer
        let reader = try self.rawStream(gateway, bearer)
        #expect(await eventually { !gateway.audit.events("inference").isEmpty })
        async let cut = gateway.gateway.stop(within: .seconds(20))
        try await Task.sleep(for: .milliseconds(300))
        #expect(try await reader.drain(until: "never") > 8_000_000)
        #expect(await cut == 0)
        await upstream.stop()
        await provider.stop()
    }

    private static func residentBytes() -> Int {
        let text = (try? String(contentsOfFile: "/proc/self/statm", encoding: .utf8)) ?? ""
        return (text.split(separator: " ").dropFirst().first.flatMap { Int($0) } ?? 0) * 4096
    }

    @Test("goes on to the next upstream, whole body and all")
    func failsOver() async throws {
        let second = try await ScriptedServer { _ in [.answer(200, "{\"from\":2}")] }
        let first = try await ScriptedServer { _ in [.answer(503, "secret")] }
        try await withGateway(upstreams: [first.url, second.url]) { gateway in
            let bearer = try await gateway.signIn().bearer
            let body = "{\"model\":\"claude-sonnet-4-6\",\"pad\":\"\(String(repeating: "é", count: 100_000))\"}"
            let answer = try await gateway.message(bearer, body)
            #expect(answer.text == "{\"from\":2}")
            #expect(first.seen[0].body == second.seen[0].body)
        }
        await first.stop()
        await second.stop()
    }

    @Test("takes long bodies whole however they come, and the requests behind them")
    func longBodies() async throws {
        try await self.withUpstream({ _ in [.answer(200, "{}")] }) { gateway, upstream, bearer in
            // Longer than the memory that is given ahead, around the sizes of reads, and hardly long at all.
            let lengths = [1_300_000, 16 << 10, (16 << 10) - 300, (16 << 10) + 1, 70_000, 20_480, 5000]
            let bodies = lengths.map { length in
                let text = (0..<length / 8).map { String(format: "%07d ", $0) }.joined()
                return "{\"model\":\"claude-sonnet-4-6\",\"pad\":\"\(text)\"}"
            }
            let requests = bodies.map { body in
                "POST /v1/messages HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer \(bearer)\r\n"
                    + "Content-Type: application/json\r\nContent-Length: \(body.utf8.count)\r\n\r\n\(body)"
            }
            let client = try RawClient(port: gateway.gateway.port)
            let all = Array((requests.joined() + "GET /readyz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").utf8)
            let writer = Task {
                try await offPool {
                    let pieces = [1, 700, 4096, 16 << 10, 17_000, 70_000, 300_000]
                    var (at, turn) = (0, 0)
                    while at < all.count {
                        let end = min(all.count, at + pieces[turn % pieces.count])
                        try? client.send(String(decoding: all[at..<end], as: UTF8.self))
                        (at, turn) = (end, turn + 1)
                    }
                }
            }
            let answers = try await client.readAll()
            _ = try await writer.value
            #expect(answers.components(separatedBy: "HTTP/1.1 200").count == bodies.count + 2)
            #expect(upstream.seen.map(\.body) == bodies.map { Array($0.utf8) })
        }
    }

    @Test("never shows an upstream's 401 as the developer's own")
    func hidesCredentialFailures() async throws {
        try await self.withUpstream({ _ in
            [.answer(401, #"{"type":"error","error":{"type":"authentication_error","message":"invalid x-api-key"}}"#)]
        }) { gateway, _, bearer in
            let answer = try await gateway.message(bearer)
            #expect(answer.status == 502)
            #expect(answer.json?["error"]?["type"] == "api_error")
        }
    }

    @Test("bounds the wait for the first byte")
    func boundsTheFirstByte() async throws {
        try await self.withUpstream({ _ in [.hang] }, configure: { $0.firstByteTimeout = .milliseconds(400) }) {
            gateway, _, bearer in
            let begin = ContinuousClock.now
            let answer = try await gateway.message(bearer)
            #expect(answer.status == 502)
            #expect(begin.duration(to: .now) < .seconds(3))
        }
    }

    @Test("answers 401 without reading the body, and says not to retry")
    func refusesStrangers() async throws {
        try await self.withUpstream({ _ in [.answer(200, "{}")] }) { gateway, upstream, _ in
            let answer = try await gateway.message("x.y.z", String(repeating: " ", count: 3_000_000))
            #expect(answer.status == 401)
            #expect(answer.header("x-should-retry") == "false")
            #expect(upstream.seen.isEmpty)
        }
    }

    @Test("holds no large bodies for strangers")
    func refusesLargeForms() async throws {
        try await withGateway { gateway in
            let answer = try await gateway.send("POST", "/oauth/token", body: String(repeating: "a", count: 3 << 20))
            #expect(answer.status == 413)
            #expect(answer.json?["error"]?["type"] == "request_too_large")
        }
    }

    @Test("ends an upstream's stalled error by the deadline, and goes on to the next")
    func stalledErrors() async throws {
        let second = try await ScriptedServer { _ in [.answer(200, "{\"from\":2}")] }
        let first = try await ScriptedServer { _ in [.bytes("HTTP/1.1 503 X\r\ncontent-length: 100\r\n\r\n"), .hang] }
        try await withGateway(
            upstreams: [first.url, second.url], configure: { $0.firstByteTimeout = .seconds(3) }
        ) { gateway in
            let bearer = try await gateway.signIn().bearer
            let answer = try await gateway.message(bearer)
            #expect(answer.text == "{\"from\":2}")
        }
        await first.stop()
        await second.stop()
    }

    @Test("answers every request of a client that reads late")
    func pipelinesWithinBounds() async throws {
        try await withGateway { gateway in
            let client = try RawClient(port: gateway.gateway.port)
            let flood = String(repeating: "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", count: 20_000)
            let writer = Task { try await offPool { try? client.send(flood) } }
            try await Task.sleep(for: .seconds(1))
            let total = try await client.drain(until: "never")
            #expect(total > 20_000 * 250, "some requests were not answered")
            _ = try await writer.value
        }
    }

    /// What is known from the request before must not decide a request that is another.
    @Test("decides each request of a connection by its own model")
    func decidesEachRequest() async throws {
        let bodies: [(body: String, status: Int)] = [
            (#"{"model":"claude-haiku-4-5"}"#, 200), (#"{"model":"claude-haiku-4-5"}"#, 200),
            (#"{"model":"claude-opus-4-8"}"#, 400), (#"{"model":"claude-haiku-4-5"}"#, 200),
            (#"{"model":"claude-haiku-4-5","fallbacks":[{"model":"claude-opus-4-8"}]}"#, 400),
            (#"{"model":"claude-haiku-4-5","model":"claude-opus-4-8"}"#, 400), (#"{"model":5}"#, 400), ("{}", 400),
            (#"{"model":"claude-haiku-4-5"}"#, 200),
        ]
        try await self.withUpstream(
            { _ in [.answer(200, "{}")] },
            configure: {
                $0.managed = ManagedPolicies(policies: [
                    .init(match: PolicyMatch(), settings: ["availableModels": ["haiku"]])
                ])
            }
        ) { gateway, upstream, bearer in
            let client = try RawClient(port: gateway.gateway.port)
            for (body, status) in bodies {
                try client.send(
                    "POST /v1/messages HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer \(bearer)\r\nContent-Length: \(body.utf8.count)\r\n\r\n\(body)"
                )
                let answer = try await client.receive(until: "}")
                #expect(answer.hasPrefix("HTTP/1.1 \(status)"), "\(body): \(answer)")
            }
            #expect(upstream.seen.count == 4)
        }
    }

    @Test(
        "serves what is sent right behind a body, however long that is", arguments: [4_000, 100_000, 131_072, 700_000])
    func servesBehindBodies(_ size: Int) async throws {
        try await self.withUpstream({ seen in
            [.answer(200, "{\"length\":\(seen.body.count)}")]
        }) { gateway, upstream, bearer in
            let start = #"{"model":"claude-sonnet-4-6","x":""#
            let body = start + String(repeating: "x", count: size - start.utf8.count - 2) + "\"}"
            let request =
                "POST /v1/messages HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer \(bearer)\r\nContent-Length: \(size)\r\n\r\n\(body)"
            let client = try RawClient(port: gateway.gateway.port)
            let all = request + request + "GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
            let writer = Task { try await offPool { try client.send(all) } }
            let answers = try await client.readAll()
            try await writer.value
            #expect(answers.components(separatedBy: "HTTP/1.1 200").count == 4, "\(answers)")
            #expect(answers.components(separatedBy: "{\"length\":\(size)}").count == 3, "\(answers)")
        }
    }

    @Test("ignores an upgrade, and serves what follows it")
    func upgrades() async throws {
        try await withGateway { gateway in
            let client = try RawClient(port: gateway.gateway.port)
            try client.send("GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n")
            _ = try await client.receive(until: "ok")
            try client.send("GET /nowhere HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            let answer = try await client.readAll()
            #expect(answer.hasPrefix("HTTP/1.1 401"), "\(answer)")
        }
    }

    @Test(
        "refuses smuggled and broken requests",
        arguments: [
            "POST /v1/messages HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{}",
            "POST /v1/messages HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
            "GET /healthz HTTP/1.1\r\n\r\n", "GET /healthz HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", "GET\r\n\r\n",
            "GET /healthz HTTP/1.1\r\nHost: a b\r\n\r\n", "GET /healthz HTTP/1.1\r\nHost: a/b\r\n\r\n",
            "GET /healthz HTTP/1.1\r\nHost: u@a\r\n\r\n", "GET /healthz HTTP/1.1\r\nHost: a:b\r\n\r\n",
            "GET /healthz HTTP/1.1\r\nHost: [::1\r\n\r\n", "GET /healthz HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n",
            "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            "GET /healthz HTTP/1.1\r\nHost : x\r\n\r\n",
            "GET /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        ])
    func refusesBrokenRequests(_ text: String) async throws {
        try await withGateway { gateway in
            let client = try RawClient(port: gateway.gateway.port)
            try client.send(text)
            let answer = try await client.readAll()
            #expect(answer.isEmpty || answer.hasPrefix("HTTP/1.1 400"), "\(answer)")
        }
    }

    @Test("lets open streams finish when it stops, and takes nobody new")
    func drains() async throws {
        let upstream = try await ScriptedServer { _ in
            [.streamHead, .chunk("data: one\n\n"), .pause(.seconds(3)), .chunk("data: two\n\n"), .lastChunk]
        }
        let provider = FakeIdentityProvider()
        try await provider.start()
        let settings = TestGateway.settings(provider: provider, upstreams: [upstream.url], port: try FreePort.take())
        let gateway = try await TestGateway.start(settings, provider: provider)
        let bearer = try await gateway.signIn().bearer
        let arrivals = Arrivals()
        async let answer = self.stream(gateway, bearer, into: arrivals)
        #expect(await eventually { arrivals.text.contains("one") })
        async let cut = gateway.gateway.stop(within: .seconds(10))
        try await Task.sleep(for: .milliseconds(300))
        await #expect(throws: OutboundError.self) { try await gateway.send("GET", "/healthz") }
        #expect(try await gateway.send("GET", "/readyz").status == 503)
        #expect(try await gateway.send("GET", "/healthz").status == 200)
        await #expect(throws: OutboundError.self) { try await gateway.message(bearer) }
        #expect(try await answer.status == 200)
        #expect(arrivals.text.contains("two"))
        #expect(await cut == 0)
        await upstream.stop()
        await provider.stop()
    }

    @Test("answers a request that is still arriving when it stops")
    func drainsArrivingRequests() async throws {
        let upstream = try await ScriptedServer { _ in [.answer(200, "{\"from\":1}")] }
        let provider = FakeIdentityProvider()
        try await provider.start()
        let settings = TestGateway.settings(provider: provider, upstreams: [upstream.url], port: try FreePort.take())
        let gateway = try await TestGateway.start(settings, provider: provider)
        let bearer = try await gateway.signIn().bearer
        let client = try RawClient(port: gateway.gateway.port)
        let body = #"{"model":"claude-sonnet-4-6","max_tokens":1,"messages":[]}"#
        try client.send(
            "POST /v1/messages HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer \(bearer)\r\nContent-Type: application/json\r\nContent-Length: \(body.utf8.count)\r\n\r\n\(body.prefix(20))"
        )
        try await Task.sleep(for: .milliseconds(300))
        async let cut = gateway.gateway.stop(within: .seconds(10))
        try await Task.sleep(for: .milliseconds(300))
        try client.send(String(body.dropFirst(20)))
        let answer = try await client.readAll()
        #expect(answer.hasPrefix("HTTP/1.1 200") && answer.hasSuffix("{\"from\":1}"), "\(answer)")
        #expect(answer.contains("connection: close"))
        #expect(await cut == 0)
        await upstream.stop()
        await provider.stop()
    }

    @Test("cuts what is still open at the deadline, and counts it")
    func cutsAtTheDeadline() async throws {
        let upstream = try await ScriptedServer { _ in [.streamHead, .chunk("data: one\n\n"), .hang] }
        let provider = FakeIdentityProvider()
        try await provider.start()
        let settings = TestGateway.settings(provider: provider, upstreams: [upstream.url], port: try FreePort.take())
        let gateway = try await TestGateway.start(settings, provider: provider)
        let bearer = try await gateway.signIn().bearer
        let arrivals = Arrivals()
        let open = Task { try await self.stream(gateway, bearer, into: arrivals) }
        #expect(await eventually { arrivals.text.contains("one") })
        #expect(await gateway.gateway.stop(within: .milliseconds(300)) == 1)
        _ = await open.result
        await upstream.stop()
        await provider.stop()
    }

    @Test("keeps many streams open at once")
    func manyStreams() async throws {
        try await self.withUpstream({ _ in [.streamHead, .chunk("data: one\n\n"), .pause(.seconds(2)), .lastChunk] }) {
            gateway, _, bearer in
            let statuses = try await withThrowingTaskGroup(of: Int.self) { group in
                for _ in 0..<400 { group.addTask { try await self.stream(gateway, bearer, into: Arrivals()).status } }
                return try await group.reduce(into: []) { $0.append($1) }
            }
            #expect(statuses == Array(repeating: 200, count: 400))
        }
    }

    @Test("is reloaded every moment without losing a request or mixing two configurations")
    func reloads() async throws {
        let upstream = try await ScriptedServer { _ in
            [.streamHead, .chunk("data: one\n\n"), .pause(.milliseconds(20)), .chunk("data: two\n\n"), .lastChunk]
        }
        try await withGateway(upstreams: [upstream.url]) { gateway in
            let bearer = try await gateway.signIn().bearer
            let other = TestGateway.settings(
                provider: gateway.provider, upstreams: [upstream.url, upstream.url], port: gateway.gateway.port)
            let same = TestGateway.settings(
                provider: gateway.provider, upstreams: [upstream.url], port: gateway.gateway.port)
            let isDone = Mutex(false)
            let progress = Counter()
            async let reloads: Void = {
                while !isDone.withLock({ $0 }) {
                    let pending = try await gateway.gateway.reload(progress.value % 2 == 0 ? other : same)
                    #expect(pending.isEmpty)
                    _ = progress.next()
                    try await Task.sleep(for: .milliseconds(5))
                }
            }()
            let bad = try await withThrowingTaskGroup(of: Int.self) { group in
                for _ in 0..<8 {
                    group.addTask {
                        var bad = 0
                        var left = 40
                        // On a busy machine a reload takes longer than some requests.
                        while left > 0 || progress.value <= 20 {
                            left -= 1
                            let arrivals = Arrivals()
                            let status = try await self.stream(gateway, bearer, into: arrivals).status
                            if status != 200 || !arrivals.text.hasSuffix("two\n\n") { bad += 1 }
                        }
                        return bad
                    }
                }
                return try await group.reduce(0, +)
            }
            isDone.withLock { $0 = true }
            #expect(bad == 0)
            try await reloads
        }
        await upstream.stop()
    }

    @Test("keeps its address and its store over a reload, and says so")
    func fixedKeys() async throws {
        try await withGateway { gateway in
            var settings = TestGateway.settings(
                provider: gateway.provider, upstreams: ["http://127.0.0.1:9"], port: gateway.gateway.port)
            settings.listen.port = 1
            let pending = try await gateway.gateway.reload(settings)
            #expect(pending == ["listen.port"])
            #expect(try await gateway.send("GET", "/healthz").status == 200)
        }
    }

    @Test("fails over from a stream that begins with an error, and not from one that has begun")
    func earlyStreamErrors() async throws {
        let error =
            "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"m\"}}\n\n"
        let first = try await ScriptedServer { seen in
            let isLate = String(decoding: seen.body, as: UTF8.self).contains("late")
            return [.streamHead] + (isLate ? [.chunk("event: message_start\ndata: {}\n\n")] : [.chunk(": hello\n\n")])
                + [.chunk(error), .lastChunk]
        }
        let second = try await ScriptedServer { _ in [.streamHead, .chunk("data: second\n\n"), .lastChunk] }
        try await withGateway(upstreams: [first.url, second.url]) { gateway in
            let bearer = try await gateway.signIn().bearer
            #expect(try await gateway.message(bearer).text == "data: second\n\n")
            let late = try await gateway.message(bearer, #"{"model":"claude-sonnet-4-6","x":"late"}"#)
            #expect(late.text == "event: message_start\ndata: {}\n\n" + error)
        }
        try await withGateway(upstreams: [first.url, first.url]) { gateway in
            let bearer = try await gateway.signIn().bearer
            // The last one's answer is the client's, as it is.
            #expect(try await gateway.message(bearer).text.contains("overloaded_error"))
        }
        await first.stop()
        await second.stop()
    }
}
