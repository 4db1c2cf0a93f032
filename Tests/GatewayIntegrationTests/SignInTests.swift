// SPDX-License-Identifier: Apache-2.0

import GatewayCore
import GatewayHTTPClient
import GatewayIdentity
import GatewayServer
import GatewayStore
import Synchronization
import TestSupport
import Testing

@Suite("Signing in")
struct SignInTests {
    @Test("is described for whoever writes a client, without a bearer")
    func description() async throws {
        try await withGateway { gateway in
            let page = try await gateway.send("GET", "/protocol")
            #expect(page.status == 200)
            #expect(page.header("content-type") == "text/markdown; charset=utf-8")
            #expect(page.text.hasPrefix("# The gateway protocol\n"))
            for path in ["/oauth/device_authorization", "/oauth/token", "/managed/settings", "/v1/messages"] {
                #expect(page.text.contains(path))
            }
        }
    }

    @Test("gives a token once, and the session goes on by refreshing")
    func wholeWay() async throws {
        try await withGateway { gateway in
            let codes = try await gateway.startDevice()
            #expect(try await gateway.poll(codes.device).json?["error"] == "authorization_pending")
            #expect(try await gateway.approve(codes.user).text.contains("signed in</h1>"))
            let answer = try await gateway.poll(codes.device)
            #expect(answer.status == 200)
            #expect(answer.json?["token_type"] == "Bearer")
            #expect(answer.json?["expires_in"] == 3600)
            #expect(answer.header("cache-control") == "no-store")
            #expect(try await gateway.poll(codes.device).json?["error"] == "expired_token")
            let refreshed = try await gateway.refresh(answer.json?["refresh_token"]?.string ?? "")
            #expect(refreshed.status == 200)
            #expect(refreshed.json?["refresh_token"] != answer.json?["refresh_token"])
            #expect(gateway.audit.events("session.mint").map { $0["sub"] } == ["u-1"])
            #expect(gateway.audit.events("session.refresh").map { $0["result"] } == ["success"])
        }
    }

    @Test("repeats a refresh answer for a while, and asks the provider once")
    func sixClientsAtOnce() async throws {
        try await withGateway { gateway in
            let tokens = try await gateway.signIn()
            gateway.provider.behave { $0.tokenDelay = .milliseconds(200) }
            let answers = try await withThrowingTaskGroup(of: (Int, String).self) { group in
                for _ in 0..<6 {
                    group.addTask {
                        let answer = try await gateway.refresh(tokens.refresh)
                        return (answer.status, answer.json?["refresh_token"]?.string ?? "")
                    }
                }
                return try await group.reduce(into: []) { $0.append($1) }
            }
            #expect(answers.map(\.0) == Array(repeating: 200, count: 6))
            #expect(Set(answers.map(\.1)).count == 1)
            #expect(gateway.provider.refreshes == 1)
            // All six go on from there.
            #expect(try await gateway.refresh(answers[0].1).status == 200)
        }
    }

    @Test(
        "ends when the provider says so, and only then",
        arguments: [
            (400, #"{"error":"invalid_grant"}"#, 401, "invalid_grant"), (500, "{}", 503, "temporarily_unavailable"),
            (502, "<html>", 503, "temporarily_unavailable"),
            (401, #"{"error":"invalid_client"}"#, 503, "temporarily_unavailable"),
            (400, #"{"error":"interaction_required"}"#, 503, "temporarily_unavailable"),
            (200, "{}", 503, "temporarily_unavailable"),
        ])
    func refreshFailures(_ status: Int, _ body: String, _ answer: Int, _ error: String) async throws {
        try await withGateway { gateway in
            let tokens = try await gateway.signIn()
            gateway.provider.behave { $0.tokenError = (status, body) }
            let failed = try await gateway.refresh(tokens.refresh)
            #expect(failed.status == answer)
            #expect(failed.json?["error"]?.string == error)
            gateway.provider.behave { $0.tokenError = nil }
            #expect(try await gateway.refresh(tokens.refresh).status == (answer == 503 ? 200 : 401))
        }
    }

    @Test(
        "ends when the refresh is for somebody else, or no longer allowed",
        arguments: [
            ["sub": JSONValue.string("u-2")], ["email_verified": false], ["aud": "other"], ["exp": 5],
        ])
    func refreshClaims(_ claims: [String: JSONValue]) async throws {
        try await withGateway { gateway in
            let tokens = try await gateway.signIn()
            gateway.provider.behave { $0.claims = claims }
            #expect(try await gateway.refresh(tokens.refresh).status == 401)
            gateway.provider.behave { $0.claims = [:] }
            #expect(try await gateway.refresh(tokens.refresh).status == 401, "the session came back")
        }
    }

    @Test("sits out a provider that is slow")
    func slowProvider() async throws {
        try await withGateway { gateway in
            let tokens = try await gateway.signIn()
            gateway.provider.behave { $0.tokenDelay = .milliseconds(4200) }
            #expect(try await gateway.refresh(tokens.refresh).status == 503)
        }
    }

    @Test("takes no refresh token that is not its own", arguments: ["made-up", "", "a.b.c"])
    func foreignTokens(_ token: String) async throws {
        try await withGateway { gateway in
            let status = try await gateway.refresh(token).status
            #expect(status == (token.isEmpty ? 400 : 401))
        }
    }

    @Test("shows pages without scripts, in strict frames")
    func pages() async throws {
        try await withGateway { gateway in
            for path in ["/", "/device", "/device?user_code=%22%3E%3Cscript%3E", "/oauth/callback"] {
                let page = try await gateway.send("GET", path)
                #expect(page.status == 200)
                #expect(!page.text.lowercased().contains("<script"))
                let policy = page.header("content-security-policy") ?? ""
                #expect(policy.hasPrefix("default-src 'none'; style-src 'sha256-"))
                #expect(policy.contains("frame-ancestors 'none'"))
                #expect(page.text.contains("<html lang=\"en\">"))
                #expect(page.text.contains("name=\"viewport\""))
            }
            let confirm = try await gateway.send("GET", "/device?user_code=BBBB-CCCC")
            #expect(confirm.text.contains("formaction=\"/device/deny\""))
        }
    }

    @Test("is begun by the page itself and nobody else")
    func crossSite() async throws {
        try await withGateway { gateway in
            let codes = try await gateway.startDevice()
            for headers in [
                [], [("origin", "https://evil.example")], [("sec-fetch-site", "cross-site"), ("origin", gateway.base)],
                [("origin", "null")],
            ] {
                for path in ["/device", "/device/deny"] {
                    let answer = try await gateway.form(path, [("user_code", codes.user)], headers: headers)
                    #expect(answer.header("location") == nil)
                }
            }
            #expect(try await gateway.poll(codes.device).json?["error"] == "authorization_pending")
            #expect(gateway.audit.events("device.verify").allSatisfy { $0["result"] == "csrf_rejected" })
        }
    }

    @Test("leaves no secret in any audit event")
    func auditHoldsNoSecret() async throws {
        try await withGateway { gateway in
            let tokens = try await gateway.signIn()
            _ = try await gateway.refresh(tokens.refresh)
            _ = try await gateway.send(
                "GET", "/v1/models", headers: [("authorization", "Bearer " + tokens.bearer + "x")])
            for name in ["device.authorize", "device.verify", "session.mint", "session.refresh", "auth.denied"] {
                for event in gateway.audit.events(name) {
                    let line = String(decoding: event.line, as: UTF8.self)
                    for secret in [
                        tokens.bearer, tokens.refresh, FakeIdentityProvider.clientSecret, TestGateway.secret,
                    ] {
                        #expect(!line.contains(secret))
                    }
                }
            }
        }
    }
}

@Suite("Replicas on one PostgreSQL", .enabled(if: TestStores.postgresURL != nil, "scripts/test starts a server"))
struct ReplicaTests {
    private func withReplicas(_ body: (TestGateway, TestGateway) async throws -> Void) async throws {
        try await self.withSchema { a, b, _ in try await body(a, b) }
    }

    /// The last argument is the schema that both use.
    private func withSchema(_ body: (TestGateway, TestGateway, String) async throws -> Void) async throws {
        let schema = try await TestStores.makeSchema()
        let provider = FakeIdentityProvider()
        try await provider.start()
        var first = TestGateway.settings(
            provider: provider, upstreams: ["http://127.0.0.1:9"], port: try FreePort.take())
        first.store = StoreSettings(backend: .postgres(url: TestStores.url(schema: schema)))
        var second = first
        // Both are one gateway to the outside: the public URL is the first one's.
        second.listen = ListenSettings(host: "127.0.0.1", port: try FreePort.take(), publicURL: first.listen.publicURL)
        let a = try await TestGateway.start(first, provider: provider)
        let started = try await TestGateway.start(second, provider: provider)
        let b = TestGateway(
            base: "http://127.0.0.1:\(started.gateway.port)", gateway: started.gateway, provider: provider,
            audit: started.audit)
        do {
            try await body(a, b, schema)
        } catch {
            await self.stop(a, b)
            throw error
        }
        await self.stop(a, b)
        await provider.stop()
        await TestStores.drop(schema: schema)
    }

    private func stop(_ a: TestGateway, _ b: TestGateway) async {
        _ = await a.gateway.stop(within: .zero)
        _ = await b.gateway.stop(within: .zero)
    }

    @Test("share a sign-in from the first step to the last")
    func shareASignIn() async throws {
        try await self.withReplicas { a, b in
            let codes = try await a.startDevice()
            #expect(try await b.poll(codes.device).json?["error"] == "authorization_pending")
            #expect(try await a.poll(codes.device).status == 429, "the pace is not shared")
            _ = try await b.approve(codes.user, callbackOn: a)
            let answer = try await b.poll(codes.device)
            #expect(answer.status == 200)
            let bearer = answer.json?["access_token"]?.string ?? ""
            for gateway in [a, b] {
                #expect(
                    try await gateway.send("GET", "/v1/models", headers: [("authorization", "Bearer " + bearer)]).status
                        == 200)
            }
        }
    }

    @Test("give exactly one token to five polls at once")
    func oneToken() async throws {
        try await self.withReplicas { a, b in
            for _ in 0..<5 {
                let codes = try await a.startDevice()
                _ = try await a.approve(codes.user)
                let answers = try await withThrowingTaskGroup(of: Int.self) { group in
                    for index in 0..<5 {
                        group.addTask { try await (index % 2 == 0 ? a : b).poll(codes.device).status }
                    }
                    return try await group.reduce(into: []) { $0.append($1) }
                }
                #expect(answers.count { $0 == 200 } == 1, "\(answers)")
            }
        }
    }

    @Test("refresh once for six clients on both of them")
    func refreshOnce() async throws {
        try await self.withReplicas { a, b in
            let tokens = try await a.signIn()
            a.provider.behave { $0.tokenDelay = .milliseconds(300) }
            let answers = try await withThrowingTaskGroup(of: (Int, String).self) { group in
                for index in 0..<6 {
                    group.addTask {
                        let answer = try await (index % 2 == 0 ? a : b).refresh(tokens.refresh)
                        return (answer.status, answer.json?["refresh_token"]?.string ?? "")
                    }
                }
                return try await group.reduce(into: []) { $0.append($1) }
            }
            #expect(answers.map(\.0) == Array(repeating: 200, count: 6))
            #expect(Set(answers.map(\.1)).count == 1)
            #expect(a.provider.refreshes == 1)
        }
    }

    @Test("end no session that another of them has refreshed meanwhile")
    func lateRefusals() async throws {
        try await self.withSchema { a, _, schema in
            let tokens = try await a.signIn()
            a.provider.behave {
                $0.tokenDelay = .milliseconds(800)
                $0.tokenError = (400, #"{"error":"invalid_grant"}"#)
            }
            async let answer = a.refresh(tokens.refresh)
            #expect(await eventually { a.provider.refreshes == 0 })
            try await Task.sleep(for: .milliseconds(300))
            try await TestStores.psql("UPDATE \(schema).sessions SET generation = 1, lease_until = NULL")
            #expect(try await answer.status == 401)
            #expect(try await TestStores.psql("SELECT count(*) FROM \(schema).sessions") == "1")
        }
    }

    @Test("keep a session whose refusal by the provider cannot be checked in the store")
    func refusalsInAnOutage() async throws {
        try await self.withSchema { a, _, schema in
            let tokens = try await a.signIn()
            a.provider.behave { $0.tokenError = (400, #"{"error":"invalid_grant"}"#) }
            try await TestStores.psql("ALTER TABLE \(schema).sessions RENAME TO away")
            #expect(try await a.refresh(tokens.refresh).status == 503)
            try await TestStores.psql("ALTER TABLE \(schema).away RENAME TO sessions")
            #expect(try await a.refresh(tokens.refresh).status == 401)
        }
    }
}

@Suite("Groups that do not fit into a token")
struct GroupOverageTests {
    @Test("are asked of Microsoft Graph, page by page, and with the developer's own token")
    func graph() async throws {
        let box = Mutex("")
        let graph = try await ScriptedServer { seen in
            guard seen.header("authorization") == "Bearer at" else { return [.answer(403, "{}")] }
            // As Graph answers a type in the path that is asked for without its conditions.
            guard seen.header("consistencylevel") == "eventual" else { return [.answer(400, "{}")] }
            let isFirst = !seen.target.contains("skiptoken")
            let next = isFirst ? #","@odata.nextLink":"\#(box.withLock { $0 })/v1.0/x?$skiptoken=2""# : ""
            return [.answer(200, #"{"value":[{"id":"\#(isFirst ? "g-1" : "g-2")"}]\#(next)}"#)]
        }
        box.withLock { $0 = graph.url }
        try await withGateway(configure: { $0.oidc.entraGroups = graph.url }) { gateway in
            gateway.provider.behave { $0.claims = ["groups": nil, "_claim_names": ["groups": "src1"]] }
            let bearer = try await gateway.signIn().bearer
            let payload = bearer.split(separator: ".").dropFirst().first.flatMap { Base64URL.decode($0) } ?? []
            #expect(try JSONValue(parsing: payload)["groups"] == ["g-1", "g-2"])
            #expect(graph.seen.first?.target.hasPrefix("/v1.0/me/transitiveMemberOf/") == true)
            #expect(graph.seen.first?.target.contains("$count=true") == true)
            // The token goes to no other host, and a refusal ends the sign-in.
            box.withLock { $0 = "http://127.0.0.2:1" }
            #expect(try await gateway.signIn().bearer == "")
        }
        await graph.stop()
    }
}
