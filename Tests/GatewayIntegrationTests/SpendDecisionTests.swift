// SPDX-License-Identifier: Apache-2.0

import Crypto
import Foundation
import GatewayCore
import GatewayHTTPClient
import GatewayMetering
import GatewayServer
import GatewayStore
import Synchronization
import TestSupport
import Testing

@testable import ClaudeCommands

/// What developers ask for, what administrators decide, and what webhooks are told, on a whole gateway.
@Suite("Decisions about spend")
struct SpendDecisionTests {
    private static let adminKey = "write-key-0123456789abcdef0123456789abcdef"
    private static let webhookSecret = "a webhook's secret"
    private static let requests = "/v1/organizations/spend_limit_increase_requests"

    private static func bearer(_ gateway: TestGateway, _ subject: String) -> String {
        GatewayProcess.bearer(Principal(subject: subject), secret: TestGateway.secret, url: gateway.base)
    }

    /// An upstream whose answers cost 50 cents: 100,000 tokens in and 13,333 out of Sonnet are 49.9995.
    private static func makeUpstream() async throws -> ScriptedServer {
        try await ScriptedServer { _ in
            [
                .answer(
                    200,
                    #"{"type":"message","role":"assistant","content":[],"usage":{"input_tokens":100000,"output_tokens":13334}}"#
                )
            ]
        }
    }

    private static func settings(webhook: String?, isExact: Bool = false) throws -> (inout GatewaySettings) -> Void {
        var admin = AdminSettings()
        admin.writeKeys = [AdminSettings.Key(id: "bot", secret: Secret(self.adminKey))]
        if let webhook {
            admin.alerts.webhooks = [AlertSettings.Webhook(url: webhook, secret: Secret(self.webhookSecret))]
        }
        return { settings in
            settings.admin = admin
            settings.reservesSpend = isExact
        }
    }

    private static func call(
        _ gateway: TestGateway, _ method: String, _ path: String, _ body: String? = nil, bearer: String? = nil,
    ) async throws -> OutboundResponse {
        let credential = bearer.map { ("authorization", "Bearer " + $0) } ?? ("x-api-key", self.adminKey)
        return try await gateway.send(
            method, path,
            headers: [credential, ("content-type", "application/json")].map { (name: $0.0, value: $0.1) }, body: body)
    }

    private static func limit(_ gateway: TestGateway, _ cents: Int, period: String = "monthly") async throws {
        let answer = try await self.call(
            gateway, "POST", "/v1/organizations/spend_limits",
            #"{"scope":{"type":"organization"},"amount":"\#(cents)","period":"\#(period)"}"#)
        #expect(answer.status == 200, "\(answer.text)")
    }

    @Test("a developer over a limit is told how to ask, asks, and goes on when it is granted")
    func raise() async throws {
        let upstream = try await Self.makeUpstream()
        try await withGateway(upstreams: [upstream.url], configure: try Self.settings(webhook: nil)) { gateway in
            try await Self.limit(gateway, 50)
            let bearer = Self.bearer(gateway, "u-1")
            #expect(try await gateway.message(bearer).status == 200)
            var refused = try await gateway.message(bearer)
            for _ in 0..<200 where refused.status != 429 {
                try await Task.sleep(for: .milliseconds(5))
                refused = try await gateway.message(bearer)
            }
            #expect(refused.text.contains("claude spend request"))

            let tooLittle = try await Self.call(
                gateway, "POST", Self.requests, #"{"amount":"50","reason":"more"}"#, bearer: bearer)
            #expect(tooLittle.status == 400)
            #expect(tooLittle.text.contains("more than the present limit of 50 cents"))
            let asked = try await Self.call(
                gateway, "POST", Self.requests, #"{"amount":"5000","reason":"a big migration"}"#, bearer: bearer)
            #expect(asked.status == 200, "\(asked.text)")
            #expect(asked.json?["status"] == "pending")
            #expect(asked.json?["current_amount"] == "50")
            let id = try #require(asked.json?["id"]?.string)
            // It is nobody else's to see, and not the developer's to decide.
            let stranger = Self.bearer(gateway, "u-2")
            #expect(try await Self.call(gateway, "GET", Self.requests + "/" + id, bearer: stranger).status == 404)
            let other = try await Self.call(gateway, "GET", Self.requests, bearer: stranger)
            #expect(other.json?["data"] == [])
            let own = try await Self.call(gateway, "POST", Self.requests + "/\(id)/approve", "{}", bearer: bearer)
            #expect(own.status == 403)
            #expect(try await gateway.message(bearer).status == 429)

            let approved = try await Self.call(
                gateway, "POST", Self.requests + "/\(id)/approve", #"{"amount":"100","reason":"fine"}"#)
            #expect(approved.status == 200, "\(approved.text)")
            #expect(approved.json?["granted_amount"] == "100")
            #expect(approved.json?["decided_by"] == "admin-key:bot")
            #expect(
                approved.json?["expires_at"]?.string == SpendPeriod.monthly.reset(after: .now).description)
            #expect(try await gateway.message(bearer).status == 200)
            // Once is enough.
            let again = try await Self.call(gateway, "POST", Self.requests + "/\(id)/deny", "{}")
            #expect(again.status == 409)
            let effective = try await Self.call(
                gateway, "GET", "/v1/organizations/spend_limits/effective?user_ids[]=u-1&period[]=monthly")
            #expect(effective.json?["data"]?.array?.first?["amount"] == "100")
            #expect(effective.json?["data"]?.array?.first?["raised_until"] != nil)
            let audit = try await Self.call(gateway, "GET", "/v1/organizations/spend_limits/audit")
            #expect(audit.json?["data"]?.array?.first?["action"] == "spend_limit_request.approved")
        }
        await upstream.stop()
    }

    @Test("a raise with an end stops counting by itself, and a permanent one becomes the limit")
    func ends() async throws {
        try await withGateway(configure: try Self.settings(webhook: nil)) { gateway in
            try await Self.limit(gateway, 50)
            let bearer = Self.bearer(gateway, "u-1")
            func ask(_ cents: Int = 9000) async throws -> String {
                let asked = try await Self.call(
                    gateway, "POST", Self.requests, #"{"amount":"\#(cents)","reason":"x"}"#, bearer: bearer)
                return try #require(asked.json?["id"]?.string, "\(asked.text)")
            }
            func amount() async throws -> JSONValue? {
                let effective = try await Self.call(
                    gateway, "GET", "/v1/organizations/spend_limits/effective?user_ids[]=u-1&period[]=monthly")
                return effective.json?["data"]?.array?.first?["amount"]
            }
            let asked = try await ask()
            let soon = Timestamp(milliseconds: Timestamp.now.milliseconds + 6000).description
            let short = try await Self.call(
                gateway, "POST", Self.requests + "/\(asked)/approve", #"{"expires_at":"\#(soon)"}"#)
            #expect(short.status == 200, "\(short.text)")
            #expect(try await amount() == "9000")
            #expect(try await eventually { try await amount() == "50" })
            let past = try await Self.call(
                gateway, "POST", Self.requests + "/\(try await ask())/approve",
                #"{"expires_at":"2020-01-01T00:00:00Z"}"#)
            #expect(past.status == 400)
            let permanent = try await Self.call(
                gateway, "POST", Self.requests + "/\(try await ask())/approve", #"{"permanent":true}"#)
            #expect(permanent.status == 200, "\(permanent.text)")
            #expect(try await amount() == "9000")
            let withdrawn = try await Self.call(
                gateway, "DELETE", Self.requests + "/\(try await ask(9001))", bearer: bearer)
            #expect(withdrawn.json?["status"] == "withdrawn", "\(withdrawn.text)")
        }
    }

    @Test("webhooks are told once of each threshold, signed, and again until they have taken it")
    func alerts() async throws {
        let upstream = try await Self.makeUpstream()
        let failures = Counter()
        let webhook = try await ScriptedServer { _ in
            // The first delivery fails.
            [.answer(failures.next() == 0 ? 500 : 200, "{}")]
        }
        try await withGateway(
            upstreams: [upstream.url], configure: try Self.settings(webhook: webhook.url + "/spend")
        ) { gateway in
            let test = try await Self.call(gateway, "POST", "/v1/organizations/spend_alerts/test")
            #expect(test.json?["data"]?.array?.first?["status"] == "failed")
            #expect(test.json?["data"]?.array?.first?["http_status"] == 500)
            let second = try await Self.call(gateway, "POST", "/v1/organizations/spend_alerts/test")
            #expect(second.json?["data"]?.array?.first?["status"] == "delivered")

            // 50 of 60 cents: 50 % and 80 % are passed at once, and the higher one is told.
            try await Self.limit(gateway, 60)
            #expect(try await gateway.message(Self.bearer(gateway, "u-1")).status == 200)
            func told() -> [JSONValue] {
                webhook.seen.compactMap { try? JSONValue(parsing: $0.body) }.filter { $0["type"] == "spend_alert" }
            }
            #expect(await eventually { !told().isEmpty })
            let alert = try #require(told().first)
            #expect(alert["threshold_percent"] == 80)
            #expect(alert["scope"]?["user_id"] == "u-1")
            #expect(alert["amount"] == "60")
            let seen = try #require(webhook.seen.last)
            let id = try #require(seen.header("webhook-id"))
            let time = try #require(seen.header("webhook-timestamp"))
            let code = HMAC<SHA256>.authenticationCode(
                for: Array("\(id).\(time).".utf8) + seen.body,
                using: SymmetricKey(data: Array(Self.webhookSecret.utf8)))
            #expect(seen.header("webhook-signature") == "v1," + Data(code).base64EncodedString())
            // The next answer passes 90 % and 100 %.
            #expect(try await gateway.message(Self.bearer(gateway, "u-1")).status == 200)
            #expect(await eventually { told().count == 2 })
            #expect(told().map { $0["threshold_percent"] } == [80, 100])
        }
        await upstream.stop()
        await webhook.stop()
    }

    @Test("exact mode refuses what might not fit, and says both amounts")
    func exactMode() async throws {
        let upstream = try await Self.makeUpstream()
        try await withGateway(
            upstreams: [upstream.url], configure: try Self.settings(webhook: nil, isExact: true)
        ) { gateway in
            try await Self.limit(gateway, 10)
            let bearer = Self.bearer(gateway, "u-1")
            // 32,000 tokens at 15 dollars a million are 48 cents.
            let dear = try await gateway.message(
                bearer, #"{"model":"claude-sonnet-4-6","max_tokens":32000,"messages":[]}"#)
            #expect(dear.status == 429)
            #expect(dear.text.contains("may cost $0.48"), "\(dear.text)")
            #expect(dear.text.contains("$0.10 of the monthly limit is left"))
            let cheap = try await gateway.message(
                bearer, #"{"model":"claude-sonnet-4-6","max_tokens":5,"messages":[]}"#)
            #expect(cheap.status == 200)
        }
        await upstream.stop()
    }

    @Test("config explain --online asks the store which limits count")
    func explain() async throws {
        let folder = NSTemporaryDirectory() + "/explain-\(RandomToken.make())"
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let store = try SQLiteStore(path: folder + "/store.sqlite")
        try await store.migrate { _ in }
        let now = Timestamp.now
        _ = try await store.upsertLimit(.group("eng"), .daily, actor: "test", reason: nil, now: now) { _ in
            SpendLimit(
                id: "spl_1", scope: .group("eng"), period: .daily, amount: 1250, createdAt: now, updatedAt: now)
        }
        await store.close()
        let text = """
            listen: { port: 8080, public_url: "http://127.0.0.1:8080" }
            oidc: { issuer: "https://idp.example.com", client_id: a, client_secret: b }
            session: { jwt_secret: \(TestGateway.secret) }
            store: { sqlite_path: \(folder)/store.sqlite }
            upstreams: [{ provider: anthropic, auth: { api_key: k } }]
            admin: {}
            """
        try Data(text.utf8).write(to: URL(fileURLWithPath: folder + "/gateway.yaml"))
        let out = Mutex("")
        let terminal = Terminal(
            environment: [:], isInteractive: false, out: { text in out.withLock { $0 += text } },
            err: { text in out.withLock { $0 += text } })
        let arguments = ["config", "explain", folder + "/gateway.yaml", "--groups", "eng"]
        #expect(await CommandTable.main(arguments + ["--online"], in: terminal) == .success)
        #expect(out.withLock { $0 }.contains("daily: $12.50, of the group eng"), "\(out.withLock { $0 })")
        out.withLock { $0 = "" }
        #expect(await CommandTable.main(arguments, in: terminal) == .success)
        #expect(!out.withLock { $0 }.contains("Spend limits"))
    }
}
