// SPDX-License-Identifier: Apache-2.0

import Foundation
import GatewayCore
import GatewayHTTPClient
import Synchronization
import TestSupport
import Testing

/// Three processes on one PostgreSQL, which is stopped, and one of which is killed.
@Suite(
    "The books of several replicas", .enabled(if: TestStores.postgresURL != nil, "scripts/test starts a server"),
    .serialized)
struct SpendReplicaTests {
    private static let secret = "0123456789abcdef0123456789abcdef"
    private static let adminKey = "an-admin-key-of-some-forty-characters-0"
    private static let client = OutboundClient(rule: .any)

    // MARK: The world

    /// Replicas, and what stands around them.
    private final class World: Sendable {
        let provider = FakeIdentityProvider()
        let proxy = CuttableProxy()
        let schema: String
        let configuration: JSONObject
        let ports: [Int]
        let journals: URL

        init(upstreams: [ScriptedServer], enforcement: JSONObject) async throws {
            try await self.provider.start()
            self.schema = try await TestStores.makeSchema()
            let direct = TestStores.url(schema: self.schema).reveal()
            let parts = URLComponents(string: TestStores.postgresURL ?? "")
            let port = try await self.proxy.start(to: parts?.port ?? 5432)
            self.journals = FileManager.default.temporaryDirectory.appendingPathComponent(
                "journals-\(UUID().uuidString)")
            var enforcement = enforcement
            enforcement["journal_dir"] = .string(self.journals.path)
            self.configuration = [
                "oidc": [
                    "issuer": .string(self.provider.url), "client_id": .string(FakeIdentityProvider.clientID),
                    "client_secret": .string(FakeIdentityProvider.clientSecret),
                    "id_token_signed_response_alg": "ES256",
                ],
                "session": ["jwt_secret": .string(SpendReplicaTests.secret)],
                "store": [
                    "postgres_url": .string(
                        direct.replacingOccurrences(of: ":\(parts?.port ?? 5432)/", with: ":\(port)/"))
                ],
                "upstreams": .array(
                    upstreams.enumerated().map { index, server in
                        [
                            "provider": "anthropic", "name": .string("u\(index)"), "base_url": .string(server.url),
                            "auth": ["api_key": "k"],
                        ]
                    }),
                "admin": ["write_keys": [["id": "test", "key": .string(SpendReplicaTests.adminKey)]]],
                "enforcement": .object(enforcement),
            ]
            self.ports = try (0..<3).map { _ in try FreePort.take() }
        }

        func replica(_ index: Int) async throws -> GatewayProcess {
            try await GatewayProcess(port: self.ports[index], self.configuration)
        }

        func stop() async {
            await self.proxy.stop()
            await self.provider.stop()
            await TestStores.drop(schema: self.schema)
            try? FileManager.default.removeItem(at: self.journals)
        }

        func query(_ sql: String) async throws -> String {
            try await TestStores.psql("SET search_path = \(self.schema); \(sql)")
        }
    }

    private static func send(
        _ replica: GatewayProcess, _ bearer: String, _ id: String, _ body: String,
    ) async -> OutboundResponse? {
        let headers = [
            ("authorization", "Bearer " + bearer), ("content-type", "application/json"), ("x-client-request-id", id),
        ].map { (name: $0.0, value: $0.1) }
        return try? await self.client.send(
            OutboundRequest(
                "POST", replica.url + "/v1/messages", headers: headers, body: Array(body.utf8), timeout: .seconds(60)))
    }

    private static func setLimit(_ replica: GatewayProcess, _ body: String) async throws {
        let headers = [("x-api-key", self.adminKey), ("content-type", "application/json")].map {
            (name: $0.0, value: $0.1)
        }
        let answer = try await self.client.send(
            OutboundRequest(
                "POST", replica.url + "/v1/organizations/spend_limits", headers: headers, body: Array(body.utf8),
                timeout: .seconds(20)))
        #expect(answer.status == 200, "\(answer.text)")
    }

    // MARK: Exact mode

    @Test("in exact mode 200 requests at once over three replicas, of which one is killed, never pass a limit")
    func exactMode() async throws {
        let served = Mutex(0)
        // Each answer costs what was reserved for its output: 100 tokens of 15 dollars a million, 0.15 cents.
        let upstream = try await ScriptedServer { _ in
            served.withLock { $0 += 1 }
            return [
                .pause(.milliseconds(Int.random(in: 20...200))),
                .answer(
                    200,
                    #"{"type":"message","role":"assistant","content":[],"usage":{"input_tokens":1,"output_tokens":100}}"#
                ),
            ]
        }
        let world = try await World(upstreams: [upstream], enforcement: ["overshoot": "strict"])
        let replicas = [try await world.replica(0), try await world.replica(1), try await world.replica(2)]
        // 10 cents a day for everybody: at most 66 answers each.
        try await Self.setLimit(
            replicas[0], #"{"scope":{"type":"organization"},"amount":"10","period":"daily"}"#)
        let body = #"{"model":"claude-sonnet-4-6","max_tokens":100,"messages":[{"role":"user","content":"hi"}]}"#
        let people = (0..<2).map { Principal(subject: "person-\($0)") }
        let outcomes = await withTaskGroup(of: (person: Int, status: Int?).self) { group in
            for index in 0..<200 {
                let replica = replicas[index % 3]
                let person = index % 2
                let bearer = GatewayProcess.bearer(people[person], secret: Self.secret, url: replica.url)
                group.addTask { (person, await Self.send(replica, bearer, "exact-\(index)", body)?.status) }
            }
            group.addTask {
                try? await Task.sleep(for: .milliseconds(400))
                _ = try? await replicas[2].end(SIGKILL)
                return (0, 0)
            }
            return await group.reduce(into: [(person: Int, status: Int?)]()) { $0.append($1) }
        }
        let perRequest = 100 * 15_000 + 1 * 3_000
        for person in 0..<2 {
            let granted = outcomes.filter { $0.person == person && $0.status == 200 }.count
            #expect(granted * perRequest <= 100_000_000)
            // What was in flight on the killed replica goes on being held.
            let text = try await world.query(
                """
                SELECT coalesce((SELECT sum(nanodollars) FROM spend WHERE principal = 'person-\(person)'
                    AND period = to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD')), 0)
                    || ' ' || coalesce((SELECT sum(nanodollars) FROM spend_holds
                    WHERE principal = 'person-\(person)'), 0)
                """)
            let numbers = text.split(separator: " ").compactMap { Int($0) }
            try #require(numbers.count == 2)
            #expect(numbers[0] + numbers[1] <= 100_000_000, "\(text)")
            // The limit is used, too: more than half of it in spite of the killed replica's share.
            #expect(granted * perRequest > 40_000_000)
        }
        // Whatever the upstream has served, killed replica included.
        #expect(served.withLock { $0 } * perRequest <= 2 * 100_000_000)
        // The next request finds what is left and not what is held for nobody.
        for replica in replicas.prefix(2) { try await replica.end(SIGTERM) }
        let left = try await world.query("SELECT count(*) FROM spend_holds WHERE expires_at < at + 290000")
        #expect(left == "0")
        await upstream.stop()
        await world.stop()
    }

    // MARK: Reconciliation

    private static let requests = ProcessInfo.processInfo.environment["GATEWAY_TEST_REQUESTS"].flatMap(Int.init) ?? 3000

    private enum Kind: Int, CaseIterable {
        case json
        case stream
        case failure
        case failover
        case abort
        case cut
    }

    private static let delta =
        #"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"0123456789012345678901234567890123456789"}}"#

    /// A sonnet's answer, in nano-dollars.
    private static func cost(input: Int, output: Int) -> Int { input * 3_000 + output * 15_000 }

    private static func served(_ kind: Kind, _ index: Int) -> Int {
        switch kind {
        case .json, .failover: self.cost(input: 10 + index % 7, output: index % 50)
        case .stream: self.cost(input: 20, output: 30 + index % 11)
        case .failure: 0
        // No count of the output was said: a quarter of the text.
        case .abort, .cut: self.cost(input: 40, output: (self.delta.utf8.count - 80 + 3) / 4)
        }
    }

    private static func event(_ type: String, _ data: String) -> ScriptedServer.Step {
        .chunk("event: \(type)\ndata: \(data)\n\n")
    }

    private static func answer(_ kind: Kind, _ index: Int) -> [ScriptedServer.Step] {
        func start(_ input: Int) -> ScriptedServer.Step {
            self.event(
                "message_start",
                #"{"type":"message_start","message":{"id":"m","type":"message","role":"assistant","content":[],"usage":{"input_tokens":\#(input),"output_tokens":1}}}"#
            )
        }
        let delta = self.event("content_block_delta", self.delta)
        switch kind {
        case .json, .failover:
            return [
                .answer(
                    200,
                    #"{"type":"message","role":"assistant","content":[],"usage":{"input_tokens":\#(10 + index % 7),"output_tokens":\#(index % 50)}}"#
                )
            ]
        case .stream:
            return [
                .streamHead, start(20), delta, .pause(.milliseconds(5)),
                self.event(
                    "message_delta",
                    #"{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":\#(30 + index % 11)}}"#
                ), self.event("message_stop", #"{"type":"message_stop"}"#), .lastChunk,
            ]
        case .failure:
            return [.answer(400, #"{"type":"error","error":{"type":"invalid_request_error","message":"no"}}"#)]
        case .abort: return [.streamHead, start(40), delta, .hang]
        case .cut: return [.streamHead, start(40), delta, .pause(.milliseconds(20)), .close]
        }
    }

    @Test("the ledger is what the upstreams served, to the nano-dollar")
    func reconciliation() async throws {
        let records = Mutex<[String: Int]>([:])
        @Sendable func behave(_ seen: ScriptedServer.Seen, isFirst: Bool) -> [ScriptedServer.Step] {
            let text = String(decoding: seen.body, as: UTF8.self)
            guard let range = text.range(of: "kind "), let end = text[range.upperBound...].firstIndex(of: "\""),
                case let words = text[range.upperBound..<end].split(separator: " ").compactMap({ Int($0) }),
                words.count == 2, let kind = Kind(rawValue: words[0])
            else { return [.answer(200, #"{"input_tokens":1}"#)] }
            if kind == .failover, isFirst {
                return [.answer(529, #"{"type":"error","error":{"type":"overloaded_error","message":"busy"}}"#)]
            }
            records.withLock { $0["r-\(words[1])"] = Self.served(kind, words[1]) }
            return Self.answer(kind, words[1])
        }
        let first = try await ScriptedServer { behave($0, isFirst: true) }
        let second = try await ScriptedServer { behave($0, isFirst: false) }
        let world = try await World(upstreams: [first, second], enforcement: [:])
        let replicas = Mutex([try await world.replica(0), try await world.replica(1), try await world.replica(2)])
        let people = (0..<40).map { Principal(subject: "person-\($0)", groups: ["team-\($0 % 3)"]) }
        // Answers of the killed replica that were not booked when it was killed.
        let lost = Mutex<Set<String>>([])
        let killed = Mutex(false)
        let recent = Mutex<[(index: Int, at: ContinuousClock.Instant)]>([])
        let count = Self.requests

        @Sendable func perform(_ index: Int) async {
            // The last two of six kinds take a connection's end, and are rare in life.
            let kind = index % 10 < 8 ? Kind(rawValue: index % 4)! : Kind(rawValue: index % 10 - 4)!
            let slot = index % 3
            let replica = replicas.withLock { $0[slot] }
            let bearer = GatewayProcess.bearer(people[index % 40], secret: Self.secret, url: replica.url)
            let streams = kind == .stream || kind == .abort || kind == .cut
            let body =
                #"{"model":"claude-sonnet-4-6","max_tokens":100,"stream":\#(streams),"messages":[{"role":"user","content":"kind \#(kind.rawValue) \#(index)"}]}"#
            let before = killed.withLock { $0 }
            var isWhole = true
            if kind == .abort {
                isWhole = (try? await Self.abort(replica, bearer, "r-\(index)", body)) ?? false
            } else {
                isWhole = await Self.send(replica, bearer, "r-\(index)", body) != nil
            }
            // Whatever ran on the killed replica until shortly before its end may be missing, and is named.
            if slot == 2, !before, !isWhole || killed.withLock({ $0 }) { lost.withLock { _ = $0.insert("r-\(index)") } }
            if slot == 2, !before { recent.withLock { $0.append((index, ContinuousClock.now)) } }
        }
        let next = Mutex(0)
        await withTaskGroup(of: Void.self) { group in
            for _ in 0..<48 {
                group.addTask { @Sendable in
                    while true {
                        let index = next.withLock { next -> Int in
                            defer { next += 1 }
                            return next
                        }
                        guard index < count else { return }
                        await perform(index)
                    }
                }
            }
            group.addTask { @Sendable in
                func reach(_ part: Double) async {
                    while next.withLock({ Double($0) }) < Double(count) * part {
                        try? await Task.sleep(for: .milliseconds(5))
                    }
                }
                for part in [0.25, 0.7] {
                    await reach(part)
                    world.proxy.cut()
                    try? await Task.sleep(for: .milliseconds(1500))
                    world.proxy.mend()
                    if part < 0.5 {
                        await reach(0.45)
                        let victim = replicas.withLock { $0[2] }
                        let now = ContinuousClock.now
                        killed.withLock { $0 = true }
                        _ = try? await victim.end(SIGKILL)
                        let late = recent.withLock { $0.filter { $0.at > now - .milliseconds(500) } }
                        lost.withLock { lost in for entry in late { lost.insert("r-\(entry.index)") } }
                        if let again = try? await world.replica(2) { replicas.withLock { $0[2] = again } }
                    }
                }
            }
        }
        // Let the last outage's journal be booked, then end everything.
        try await Task.sleep(for: .seconds(2))
        for replica in replicas.withLock({ $0 }) { try await replica.end(SIGTERM) }

        let rows = try await world.query(
            "SELECT request_ids, requests, nanodollars FROM spend_ledger")
        let expected = records.withLock { $0 }
        var booked: Set<String> = []
        for row in rows.split(separator: "\n") {
            let columns = row.split(separator: "|", omittingEmptySubsequences: false)
            try #require(columns.count == 3)
            let ids = columns[0].split(separator: " ").map(String.init)
            #expect(Int(columns[1]) == ids.count)
            // What several requests cost together is in their row.
            var sum = 0
            for id in ids { sum += expected[id] ?? -1 }
            #expect(Int(columns[2]) == sum, "\(row)")
            for id in ids { #expect(booked.insert(id).inserted, "\(id) is booked twice") }
        }
        let missing = expected.filter { $0.value > 0 && !booked.contains($0.key) }.map(\.key)
        let unexplained = Set(missing).subtracting(lost.withLock { $0 })
        #expect(unexplained.isEmpty, "\(unexplained.sorted().prefix(20)) of \(expected.count)")
        // The sums that limits and reports read are the ledger's.
        let sums = try await world.query(
            """
            SELECT (SELECT sum(nanodollars) FROM spend_ledger) || ' ' || (SELECT sum(nanodollars) FROM spend_daily)
                || ' ' || (SELECT sum(nanodollars) FROM spend WHERE period LIKE '____-__')
            """)
        var total = 0
        for id in booked { total += expected[id] ?? 0 }
        #expect(sums == "\(total) \(total) \(total)")
        #expect(booked.count > expected.filter { $0.value > 0 }.count * 9 / 10)
        print(
            "reconciliation: \(count) requests, \(expected.count) served, \(booked.count) booked, \(missing.count) named"
        )
        await first.stop()
        await second.stop()
        await world.stop()
    }

    /// Reads until the first text has come, and hangs up.
    private static func abort(_ replica: GatewayProcess, _ bearer: String, _ id: String, _ body: String) async throws
        -> Bool
    {
        let client = try RawClient(port: Int(replica.url.split(separator: ":").last ?? "") ?? 0)
        try client.send(
            "POST /v1/messages HTTP/1.1\r\nhost: x\r\nauthorization: Bearer \(bearer)\r\ncontent-type: application/json\r\nx-client-request-id: \(id)\r\ncontent-length: \(body.utf8.count)\r\n\r\n\(body)"
        )
        return try await client.receive(until: "text_delta").contains("text_delta")
    }
}
