// SPDX-License-Identifier: Apache-2.0

import Foundation
import GatewayCore
import GatewayHTTPClient
import GatewayIdentity
import GatewayMetering
import GatewayServer
import GatewayStore
import Logging
import Synchronization
import TestSupport
import Testing

@testable import ClaudeCommands

@Suite("Revocation")
struct RevocationTests {
    private static let key = "write-key-0123456789abcdef0123456789abcdef"

    /// Two replicas on one PostgreSQL.
    private func withReplicas(_ body: (TestGateway, TestGateway) async throws -> Void) async throws {
        let provider = FakeIdentityProvider()
        try await provider.start()
        let upstream = try await ScriptedServer { _ in [.answer(200, "{}")] }
        let schema = try await TestStores.makeSchema()
        var replicas: [TestGateway] = []
        let publicURL = "http://127.0.0.1:\(try FreePort.take())"
        for _ in 0..<2 {
            let port = try FreePort.take()
            var settings = TestGateway.settings(provider: provider, upstreams: [upstream.url], port: port)
            settings.listen = ListenSettings(host: "127.0.0.1", port: port, publicURL: publicURL)
            settings.store = StoreSettings(backend: .postgres(url: TestStores.url(schema: schema)))
            var admin = AdminSettings()
            admin.writeKeys = [AdminSettings.Key(id: "w", secret: Secret(Self.key))]
            settings.admin = admin
            let started = try await TestGateway.start(settings, provider: provider)
            replicas.append(
                TestGateway(
                    base: "http://127.0.0.1:\(port)", gateway: started.gateway, provider: provider, audit: started.audit
                ))
        }
        do {
            try await body(replicas[0], replicas[1])
        } catch {
            for replica in replicas { _ = await replica.gateway.stop(within: .zero) }
            throw error
        }
        for replica in replicas { _ = await replica.gateway.stop(within: .zero) }
        await provider.stop()
        await upstream.stop()
    }

    private func revoke(_ gateway: TestGateway, _ body: String) async throws -> OutboundResponse {
        try await gateway.send(
            "POST", "/v1/organizations/sessions/revocations", headers: [("x-api-key", Self.key)], body: body)
    }

    @Test(
        "is promised, and ends a session's bearer and refresh token at every replica within five seconds",
        .enabled(if: TestStores.postgresURL != nil), arguments: ["access", "refresh"])
    func signOut(_ kind: String) async throws {
        try await self.withReplicas { one, two in
            let document = try await one.send("GET", "/.well-known/oauth-authorization-server").json
            #expect(document?["revocation_endpoint"]?.string?.hasSuffix("/oauth/revoke") == true)
            let (bearer, refresh) = try await one.signIn()
            let other = try await one.signIn()
            for gateway in [one, two] { #expect(try await gateway.message(bearer).status == 200) }
            let answer = try await one.form("/oauth/revoke", [("token", kind == "access" ? bearer : refresh)])
            #expect(answer.status == 200)
            let here = try await one.message(bearer)
            #expect(here.status == 401 && here.header("x-should-retry") == "false")
            #expect(try await eventually(within: .seconds(5)) { try await two.message(bearer).status == 401 })
            #expect(try await two.refresh(refresh).status == 401)
            #expect(try await two.message(other.bearer).status == 200)
            #expect(try await two.refresh(other.refresh).status == 200)
            let event = try #require(one.audit.events("session.revoke").first)
            #expect(event["by"] == "developer" && event["sub"] == "u-1")
            // Whatever is sent, nobody learns whether it was a token (RFC 7009 §2.2).
            #expect(try await one.form("/oauth/revoke", [("token", "nonsense")]).status == 200)
            #expect(try await one.form("/oauth/revoke", []).status == 400)
        }
    }

    @Test(
        "of a user and of a group ends what was issued until then, and not what comes after",
        .enabled(if: TestStores.postgresURL != nil), arguments: ["user", "group"])
    func administrators(_ kind: String) async throws {
        try await self.withReplicas { one, two in
            let (bearer, refresh) = try await one.signIn()
            let id = kind == "user" ? "dev@example.com" : "eng"
            let answer = try await self.revoke(two, #"{"\#(kind)":"\#(id)"}"#)
            #expect(answer.status == 200)
            #expect(answer.json?["effective_within_seconds"] == 5)
            #expect(answer.json?["ids"] == .array([.string(kind == "user" ? "u-1" : "eng")]))
            #expect(try await two.message(bearer).status == 401)
            #expect(try await eventually(within: .seconds(5)) { try await one.message(bearer).status == 401 })
            #expect(try await one.refresh(refresh).status == 401)
            #expect(try await two.refresh(refresh).status == 401)
            // What is issued from the next second on is as good as ever.
            try await Task.sleep(for: .milliseconds(1100))
            let next = try await one.signIn()
            #expect(try await one.message(next.bearer).status == 200)
            #expect(try await two.refresh(next.refresh).status == 200)
            for bad in ["{}", "[]", #"{"user":5}"#, #"{"user":"a","group":"b"}"#, #"{"user":""}"#] {
                #expect(try await self.revoke(one, bad).status == 400, "\(bad)")
            }
            #expect(try await one.send("GET", "/v1/organizations/sessions").status == 401)
        }
    }

    @Test("goes on counting while the store is away")
    func outage() async throws {
        let schema = try await TestStores.makeSchema()
        let store = PostgresStore(
            settings: StoreSettings(backend: .postgres(url: TestStores.url(schema: schema))),
            url: TestStores.url(schema: schema)
        ) { _ in }
        try await store.migrate { _ in }
        let revocations = Revocations(store: store, log: .init(label: "t"))
        try await revocations.load()
        let now = Timestamp.now
        let epoch = revocations.epoch
        _ = try await revocations.revoke(.user, "u", now: now)
        #expect(revocations.epoch != epoch)
        await store.close()
        func revokes(_ seconds: Int64) -> Bool {
            revocations.revokes(session: nil, subject: "u", groups: [], issuedAt: seconds)
        }
        #expect(revokes(now.seconds) && revokes(now.seconds - 1) && !revokes(now.seconds + 1))
    }

    @Test("works from the command line")
    func commands() async throws {
        let output = Mutex("")
        try await withGateway(configure: { settings in
            var admin = AdminSettings()
            admin.writeKeys = [AdminSettings.Key(id: "w", secret: Secret(Self.key))]
            settings.admin = admin
        }) { gateway in
            let bearer = try await gateway.signIn().bearer
            let home = NSTemporaryDirectory() + "/home-\(RandomToken.make())"
            func run(_ arguments: String...) async -> (ExitCode, String) {
                output.withLock { $0 = "" }
                let terminal = Terminal(
                    environment: [
                        "CLAUDE_GATEWAY_HOME": home, "CLAUDE_GATEWAY_ADMIN_KEY": Self.key,
                        "CLAUDE_GATEWAY_URL": gateway.base,
                    ], isInteractive: false, out: { text in output.withLock { $0 += text } },
                    err: { text in output.withLock { $0 += text } })
                return (await CommandTable.main(arguments, in: terminal), output.withLock { $0 })
            }
            let list = await run("admin", "sessions", "--user", "dev@example.com")
            #expect(list.0 == .success && list.1.contains("u-1") && list.1.contains("SESSION"), "\(list.1)")
            let json = await run("admin", "sessions", "--json")
            let id = try #require(try JSONValue(parsing: Array(json.1.utf8)).array?.first?["id"]?.string)
            #expect(await run("admin", "revoke").0 != .success)
            #expect(await run("admin", "revoke", "--user", "a", "--group", "b").0 != .success)
            let revoked = await run("admin", "revoke", "--session", id)
            #expect(revoked.0 == .success && revoked.1.contains("1 session ended"), "\(revoked.1)")
            #expect(try await gateway.message(bearer).status == 401)
            #expect(await run("admin", "sessions").1.contains("no session"))
        }
    }
}
