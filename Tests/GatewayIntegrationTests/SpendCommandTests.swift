// SPDX-License-Identifier: Apache-2.0

import Foundation
import GatewayClient
import GatewayCore
import GatewayHTTPClient
import GatewayServer
import Synchronization
import TestSupport
import Testing

@testable import ClaudeCommands

@Suite("The spend commands against a gateway")
struct SpendCommandTests {
    private static let writeKey = "write-key-0123456789abcdef0123456789abcdef"
    private static let readKey = "read-key-0123456789abcdef0123456789abcdef0"

    private final class Output: Sendable {
        let out = Mutex("")
        let err = Mutex("")
    }

    private struct Result {
        let code: ExitCode
        let out: String
        let err: String
    }

    private func run(
        _ arguments: [String], home: String, environment: [String: String] = [:], output: Output = Output(),
    ) async -> Result {
        let terminal = Terminal(
            environment: environment.merging(["CLAUDE_GATEWAY_HOME": home]) { $1 }, isInteractive: false,
            out: { text in output.out.withLock { $0 += text } }, err: { text in output.err.withLock { $0 += text } })
        let code = await CommandTable.main(arguments, in: terminal)
        return Result(code: code, out: output.out.withLock { $0 }, err: output.err.withLock { $0 })
    }

    private func withHomes(_ count: Int = 1, _ body: ([String]) async throws -> Void) async throws {
        let homes = (0..<count).map { _ in NSTemporaryDirectory() + "/home-\(RandomToken.make())" }
        defer { for home in homes { try? FileManager.default.removeItem(atPath: home) } }
        try await body(homes)
    }

    private func login(_ gateway: TestGateway, home: String) async throws {
        let output = Output()
        async let login = self.run(["login", gateway.base, "--no-browser"], home: home, output: output)
        var code: String?
        _ = await eventually {
            code = output.err.withLock { $0 }.firstMatch(of: /[A-Z]{4}-[A-Z]{4}\n/).map { String($0.0.dropLast()) }
            return code != nil
        }
        _ = try await gateway.approve(try #require(code))
        let result = await login
        #expect(result.code == .success, "\(result.err)")
    }

    private func administer(_ settings: inout GatewaySettings) {
        let text = """
            listen: { public_url: "http://127.0.0.1:1" }
            oidc: { issuer: "http://127.0.0.1:1", client_id: a, client_secret: b }
            session: { jwt_secret: \(TestGateway.secret) }
            store: { postgres_url: "postgres://u@127.0.0.1/d" }
            upstreams: [{ provider: anthropic, auth: { api_key: k } }]
            admin:
              admin_groups: [finops]
              write_keys: [{ id: bot, key: \(Self.writeKey) }]
              read_keys: [{ id: viewer, key: \(Self.readKey) }]
            """
        let file = ConfigurationFile(
            path: "test.yaml", text: Data(text.utf8), .running([:], allowsLoopback: true))
        #expect(file.settings?.admin != nil, "\(file.report)")
        settings.admin = file.settings?.admin
    }

    /// An upstream whose answers cost $4.50 at list price: a million tokens in and a hundred thousand out of Sonnet.
    private func makeUpstream() async throws -> ScriptedServer {
        try await ScriptedServer { _ in
            [
                .answer(
                    200,
                    #"{"id":"msg_1","type":"message","role":"assistant","model":"claude-sonnet-4-6","content":[{"type":"text","text":"hi"}],"stop_reason":"end_turn","usage":{"input_tokens":1000000,"output_tokens":100000}}"#
                )
            ]
        }
    }

    private func withSpender(_ body: (TestGateway, _ developer: String, _ administrator: String) async throws -> Void)
        async throws
    {
        let upstream = try await self.makeUpstream()
        try await withGateway(upstreams: [upstream.url], configure: self.administer) { gateway in
            try await self.withHomes(2) { homes in
                try await self.login(gateway, home: homes[0])
                let bearer = try #require(try CredentialFile(folder: homes[0]).read()).accessToken.reveal()
                #expect(try await gateway.message(bearer).status == 200)
                gateway.provider.behave {
                    $0.claims = ["sub": "u-2", "email": "boss@example.com", "groups": ["finops"]]
                }
                try await self.login(gateway, home: homes[1])
                var isBooked = false
                for _ in 0..<200 where !isBooked {
                    let spend = await self.run(["spend", "--json"], home: homes[0])
                    isBooked = try JSONValue(parsing: spend.out)["total"]?["requests"] == 1
                    if !isBooked { try await Task.sleep(for: .milliseconds(20)) }
                }
                #expect(isBooked)
                try await body(gateway, homes[0], homes[1])
            }
        }
        await upstream.stop()
    }

    @Test("show developers their own spend, in every format, and nobody else's")
    func developers() async throws {
        try await self.withSpender { gateway, home, _ in
            let today = CivilDate(.now)
            let table = await self.run(["spend"], home: home)
            #expect(table.code == .success, "\(table.err)")
            #expect(table.out.contains(#/monthly  unlimited  \$4\.50 +20[0-9-]+ 00:00, in /#), "\(table.out)")
            #expect(table.out.contains(#/claude-sonnet-4-6 +1  1,000,000  100,000 +0 +0  \$4\.50\n/#), "\(table.out)")
            #expect(table.out.contains("Spend of dev@example.com, \(today.description.prefix(8))01"), "\(table.out)")

            let json = try JSONValue(parsing: await self.run(["spend", "--json", "--by", "user,day"], home: home).out)
            #expect(json["total"]?["cost"]?["amount"] == "450")
            #expect(json["limits"]?.array?.count == 3)
            let row = try #require(json["rows"]?.array?.first)
            #expect((row["user_id"], row["email"]) == ("u-1", "dev@example.com"))
            #expect(row["day"]?.string == today.description)
            #expect(row["model"] == nil)

            let csv = await self.run(["spend", "--format", "csv", "--by", "upstream"], home: home)
            #expect(csv.out.hasSuffix("\r\nu0,1,1000000,100000,0,0,0,0,4.50\r\n"), "\(csv.out)")
            let focus = await self.run(["spend", "--format", "focus", "--from", "7d"], home: home)
            #expect(focus.out.split(separator: "\r\n").count == 2, "\(focus.out)")
            #expect(focus.out.contains("\(today)T00:00:00Z"))
            let chart = await self.run(["spend", "--by", "day", "--from", "7d", "--chart"], home: home)
            #expect(chart.out.split(separator: "\n").count == 10, "\(chart.out)")
            #expect(chart.out.contains(#/\n20[0-9-]+  \$4\.50  #{20,}\n/#), "\(chart.out)")

            let itself = await self.run(["spend", "--user", "dev@example.com", "--json"], home: home)
            try #expect(JSONValue(parsing: itself.out)["total"]?["cost"]?["amount"] == "450")
            for arguments in [
                ["--org"], ["--group", "eng"], ["--user", "u-2"], ["--user", "boss@example.com"],
            ] {
                let refused = await self.run(["spend"] + arguments, home: home)
                #expect(refused.code == .failure, "\(arguments)")
                #expect(refused.out.isEmpty)
                #expect(refused.err.contains("only administrators"), "\(refused.err)")
                #expect(refused.err.contains("CLAUDE_GATEWAY_ADMIN_KEY"), "\(refused.err)")
            }
            #expect(await self.run(["spend", "limits", "list"], home: home).code == .failure)
        }
    }

    @Test("show administrators everybody's spend")
    func administrators() async throws {
        try await self.withSpender { gateway, _, home in
            let own = await self.run(["spend"], home: home)
            #expect(own.err.contains("Nothing has been spent."), "\(own.out)\(own.err)")
            let org = await self.run(["spend", "--org", "--by", "user"], home: home)
            #expect(org.code == .success, "\(org.err)")
            #expect(org.out.contains(#/dev@example\.com +1 /#), "\(org.out)")
            let group = await self.run(["spend", "--group", "eng", "--by", "group", "--json"], home: home)
            let json = try JSONValue(parsing: group.out)
            #expect(json["rows"]?.array?.first?["rbac_group_id"] == "eng", "\(group.out)")
            #expect(json["total"]?["cost"]?["amount"] == "450")
            #expect(json["limits"] == nil)
            #expect(group.err.contains("the total counts everybody once"))
            let other = await self.run(["spend", "--group", "ops"], home: home)
            #expect(other.err == "Nothing has been spent.\n")
            for user in ["dev@example.com", "DEV@example.com", "u-1", "id:u-1"] {
                let found = await self.run(["spend", "--user", user, "--json"], home: home)
                try #expect(JSONValue(parsing: found.out)["total"]?["cost"]?["amount"] == "450", "\(user)")
            }
            let nobody = await self.run(["spend", "--user", "no@example.com"], home: home)
            #expect(nobody.code == .failure)
            #expect(nobody.err.contains("nobody with the address no@example.com"), "\(nobody.err)")
        }
    }

    @Test("set, show, explain, record and delete limits")
    func limits() async throws {
        try await self.withSpender { gateway, developer, home in
            func limits(_ arguments: String...) async -> Result {
                await self.run(["spend", "limits"] + arguments, home: home)
            }
            let set = await limits(
                "set", "--user", "dev@example.com", "--period", "monthly", "--amount", "$1,000", "--reason", "pilot")
            #expect(set.code == .success, "\(set.err)")
            #expect(
                set.out.contains(#/^Set the monthly limit of user u-1: \$1,000\.00 \(spl_[0-9a-f]+\)\n$/#),
                "\(set.out)")
            let daily = await limits("set", "--org", "--period", "daily", "--amount", "9", "--json")
            try #expect(JSONValue(parsing: daily.out)["amount"] == "900")
            let pool = await limits(
                "set", "--group", "eng", "--period", "monthly", "--unlimited", "--pool", "50", "--pause-pool")
            #expect(pool.out.contains(#/unlimited; pool \$50\.00, \$[0-9.]+ spent, paused/#), "\(pool.out)\(pool.err)")
            let bound = await limits("set", "--group", "eng", "--period", "monthly", "--amount", "20")
            #expect(bound.out.hasPrefix("Changed the monthly limit of group eng: $20.00"), "\(bound.out)")
            let resumed = await limits("set", "--group", "eng", "--period", "monthly", "--resume-pool")
            #expect(
                resumed.out.contains(#/: \$20\.00; pool \$50\.00, \$[0-9.]+ spent \(/#),
                "\(resumed.out)\(resumed.err)")
            let removed = await limits("set", "--group", "eng", "--period", "monthly", "--remove-pool", "--json")
            try #expect(JSONValue(parsing: removed.out)["pooled_budget"] == .null, "\(removed.out)\(removed.err)")
            try #expect(JSONValue(parsing: removed.out)["amount"] == "2000")
            let missing = await limits("set", "--group", "ops", "--period", "monthly", "--pause-pool")
            #expect(missing.code == .usage)
            #expect(missing.err.contains("group ops has no monthly limit yet"), "\(missing.err)")

            let list = await limits("list")
            #expect(list.out.contains(#/user dev@example\.com +monthly +\$1,000\.00 +spl_/#), "\(list.out)")
            #expect(list.out.contains(#/organization +daily +\$9\.00 +spl_/#), "\(list.out)")
            let one = try JSONValue(parsing: await limits("list", "--group", "eng", "--json").out)
            #expect(one.array?.count == 1)
            #expect(one.array?.first?["scope"]?["rbac_group_id"] == "eng")

            let effective = await limits("effective", "--user", "dev@")
            #expect(
                effective.out.contains(#/dev@example\.com  monthly +\$4\.50  \$1,000\.00  \$995\.50  user u-1\n/#),
                "\(effective.out)")
            #expect(effective.out.contains(#/dev@example\.com  daily +\$4\.50 +\$9\.00 +\$4\.50  organization\n/#))
            #expect(await limits("effective", "--user", "zzz").err == "Nobody like that has spent anything yet.\n")

            let own = await self.run(["spend"], home: developer)
            #expect(own.out.contains(#/daily +\$9\.00  \$4\.50  \$4\.50 +50%  20/#), "\(own.out)")
            #expect(own.out.contains(#/monthly +\$4\.50 +[01]%  20/#), "\(own.out)")
            #expect(own.err.contains("the nearest limit only"))

            let gone = await limits("delete", "--org", "--period", "daily")
            #expect(gone.out.contains(#/^Deleted spl_[0-9a-f]+\n$/#), "\(gone.out)\(gone.err)")
            let again = await limits("delete", "--org", "--period", "daily")
            #expect(again.code == .failure)
            #expect(again.err == "claude: there is no daily limit for the organization.\n")
            let unknown = await limits("delete", "spl_none")
            #expect(unknown.code == .failure)
            #expect(unknown.err == "claude: the gateway answered 404: spend limit not found\n")

            let audit = await limits("audit")
            #expect(audit.out.contains("organization, daily: $9.00 -> none"), "\(audit.out)")
            #expect(
                audit.out.contains(
                    #/oidc:u-2 +spend_limit\.upsert +user u-1, monthly: none -> \$1,000\.00 +pilot\n/#))
            let last = try JSONValue(parsing: await limits("audit", "--limit", "2", "--json").out)
            #expect(last.array?.map { $0["action"]?.string } == ["spend_limit.delete", "spend_limit.upsert"])
            #expect(await limits("audit", "--actor", "oidc:x").err == "No such change is kept.\n")
        }
    }

    @Test("take an admin key from the environment, and never show it")
    func keys() async throws {
        try await self.withSpender { gateway, _, _ in
            try await self.withHomes { homes in
                func run(_ arguments: [String], key: String) async -> Result {
                    let result = await self.run(
                        ["spend"] + arguments, home: homes[0],
                        environment: ["CLAUDE_GATEWAY_ADMIN_KEY": key, "CLAUDE_GATEWAY_URL": gateway.base])
                    #expect(!(result.out + result.err).contains(key))
                    return result
                }
                let org = await run(["--org", "--json"], key: Self.readKey)
                try #expect(JSONValue(parsing: org.out)["total"]?["requests"] == 1, "\(org.err)")
                let change = ["limits", "set", "--org", "--period", "weekly", "--amount", "5"]
                let refused = await run(change, key: Self.readKey)
                #expect(refused.code == .failure)
                #expect(refused.err.contains("may not do this (requires write:spend_limits)"), "\(refused.err)")
                #expect(await run(change, key: " \(Self.writeKey)\n").code == .success)
                let audit = await run(["limits", "audit", "--json"], key: Self.readKey)
                try #expect(JSONValue(parsing: audit.out).array?.first?["actor"] == "admin-key:bot")
                let wrong = await run(["--org"], key: "wrong-key-0123456789abcdef0123456789abcdef")
                #expect(wrong.code == .failure)
                #expect(wrong.err.contains("does not accept the key in CLAUDE_GATEWAY_ADMIN_KEY"), "\(wrong.err)")
            }
        }
    }

    @Test("say that a gateway without admin: keeps no spend")
    func withoutAdmin() async throws {
        try await withGateway { gateway in
            try await self.withHomes { homes in
                try await self.login(gateway, home: homes[0])
                for arguments in [[], ["--org"], ["--by", "day"], ["limits", "list"], ["requests", "list"]] {
                    let result = await self.run(["spend"] + arguments, home: homes[0])
                    #expect(result.code == .failure)
                    #expect(result.err.contains("admin: is not configured there"), "\(result.err)")
                }
                let keyed = await self.run(
                    ["spend", "--org"], home: homes[0], environment: ["CLAUDE_GATEWAY_ADMIN_KEY": Self.writeKey])
                #expect(keyed.err.contains("admin: is not configured there"), "\(keyed.err)")
            }
        }
    }

    // MARK: A scripted admin API

    /// Runs commands against an admin API whose answers are given by method and target. The home is signed in to it.
    private func withScript(
        _ answers: [String: String], _ body: (ScriptedServer, String) async throws -> Void,
    ) async throws {
        let server = try await ScriptedServer { request in
            guard let answer = answers["\(request.method) \(request.target)"] else {
                return [.answer(400, #"{"error":{"type":"x","message":"unexpected \#(request.target)"}}"#)]
            }
            return [.answer(200, answer)]
        }
        try await self.withHomes { homes in
            let claims = Base64URL.encode(Array(#"{"sub":"u-1","email":"dev@example.com"}"#.utf8))
            try CredentialFile(folder: homes[0]).write(
                Credential(
                    url: server.url, accessToken: Secret("e.\(claims).s"), expiresAt: .now.advanced(bySeconds: 3600),
                    refreshToken: nil, tokenEndpoint: server.url + "/oauth/token", revocationEndpoint: nil,
                    fingerprint: nil))
            try await body(server, homes[0])
        }
        await server.stop()
    }

    @Test("read long reports and lists page by page")
    func pages() async throws {
        let limits = "/v1/organizations/spend_limits"
        func audit(_ id: Int, _ hasMore: Bool) -> String {
            #"{"data":[{"id":"\#(id)","created_at":"2026-11-25T10:00:00.000Z","actor":"a"}],"has_more":\#(hasMore)}"#
        }
        func effective(_ user: String, _ next: String) -> String {
            #"{"data":[{"actor":{"user_id":"\#(user)"},"period":"daily"}],"next_page":\#(next)}"#
        }
        let answers = [
            "GET \(limits)/audit?limit=1000": audit(3, true),
            "GET \(limits)/audit?limit=1000&after_id=3": audit(2, true),
            "GET \(limits)/audit?limit=1000&after_id=2": audit(1, false),
            "GET \(limits)/effective?limit=500": effective("u-1", "\"p/1\""),
            "GET \(limits)/effective?limit=500&page=p%2F1": effective("u-2", "null"),
            "GET \(limits)?limit=1000": #"{"data":[],"has_more":true,"last_id":"x"}"#,
            "GET \(limits)?limit=1000&after_id=x": #"{"data":[],"has_more":true,"last_id":"x"}"#,
        ]
        try await self.withScript(answers) { server, home in
            let audit = await self.run(["spend", "limits", "audit", "--limit", "1000", "--json"], home: home)
            try #expect(JSONValue(parsing: audit.out).array?.compactMap { $0["id"]?.string } == ["3", "2", "1"])
            let effective = await self.run(["spend", "limits", "effective", "--json"], home: home)
            try #expect(JSONValue(parsing: effective.out).array?.count == 2, "\(effective.err)")
            let stuck = await self.run(["spend", "limits", "list"], home: home)
            #expect(stuck.code == .failure)
            #expect(stuck.err.contains("pages do not go on"), "\(stuck.err)")
        }
    }

    private static let requests = "/v1/organizations/spend_limit_increase_requests"

    private static func request(_ status: String, granted: String? = nil) -> String {
        """
        {"type":"spend_limit_increase_request","id":"slr_1","created_at":"2026-11-25T10:00:00.000Z",
        "status":"\(status)","user_id":"u-1","email":"dev@example.com","period":"monthly","current_amount":"1000",
        "requested_amount":"5000","granted_amount":\(granted.map { "\"\($0)\"" } ?? "null"),"reason":"release",
        "decided_at":null,"decided_by":null,"decision_reason":null,"expires_at":null}
        """
    }

    @Test("ask for more, and grant, deny and take back what was asked")
    func asking() async throws {
        let path = Self.requests
        let answers = [
            "POST \(path)": Self.request("pending"),
            "GET \(path)?limit=1000&status=pending":
                #"{"data":[\#(Self.request("pending"))],"has_more":false,"first_id":"slr_1","last_id":"slr_1"}"#,
            "POST \(path)/slr_1/approve": Self.request("approved", granted: "4000"),
            "POST \(path)/slr_1/deny": Self.request("denied"), "DELETE \(path)/slr_1": Self.request("withdrawn"),
        ]
        try await self.withScript(answers) { server, home in
            func last() throws -> JSONValue { try JSONValue(parsing: server.seen.last?.body ?? []) }
            let asked = await self.run(
                ["spend", "request", "--amount", "50", "--reason", "release"], home: home)
            #expect(asked.out == "slr_1 is pending: dev@example.com asks for $50.00 monthly instead of $10.00\n")
            #expect(try last() == ["amount": "5000", "period": "monthly", "reason": "release"])
            #expect(server.seen.last?.header("authorization")?.hasPrefix("Bearer e.") == true)
            let list = await self.run(["spend", "requests", "list", "--status", "pending"], home: home)
            #expect(list.out.contains("slr_1  2026-11-25 10:00  dev@example.com"), "\(list.err)")
            let approved = await self.run(
                ["spend", "requests", "approve", "slr_1", "--amount", "40", "--until", "2099-12-31", "--reason", "ok"],
                home: home)
            #expect(approved.out == "slr_1 is approved: dev@example.com may spend $40.00 monthly\n")
            #expect(try last() == ["amount": "4000", "expires_at": "2100-01-01T00:00:00.000Z", "reason": "ok"])
            let permanent = await self.run(
                ["spend", "requests", "approve", "slr_1", "--permanent", "--json"], home: home)
            try #expect(JSONValue(parsing: permanent.out)["granted_amount"] == "4000")
            #expect(try last() == ["permanent": true])
            #expect(await self.run(["spend", "requests", "deny", "slr_1"], home: home).code == .success)
            #expect(try last() == [:])
            let withdrawn = await self.run(["spend", "requests", "withdraw", "slr_1"], home: home)
            #expect(withdrawn.out.hasPrefix("slr_1 is withdrawn: "), "\(withdrawn.err)")
            let odd = await self.run(["spend", "requests", "withdraw", "a/b"], home: home)
            #expect(odd.code == .usage)
            #expect(odd.err.contains("unexpected \(path)/a%2Fb"), "\(odd.err)")
        }
    }

    @Test("test alerts, and fail when one does not arrive")
    func alerts() async throws {
        func answer(_ second: String) -> [String: String] {
            [
                "POST /v1/organizations/spend_alerts/test":
                    #"{"data":[{"url":"https://a/h","status":"delivered","http_status":200,"error":null,"duration_ms":12}\#(second)]}"#
            ]
        }
        try await self.withScript(answer("")) { _, home in
            let result = await self.run(["spend", "alerts", "test"], home: home)
            #expect(result.code == .success, "\(result.err)")
            #expect(result.out.contains("https://a/h  delivered   200  12 ms\n"), "\(result.out)")
        }
        let failed =
            #",{"url":"https://b/h","status":"failed","http_status":500,"error":"HTTP 500","duration_ms":3}"#
        try await self.withScript(answer(failed)) { _, home in
            let result = await self.run(["spend", "alerts", "test", "--json"], home: home)
            #expect(result.code == .failure)
            #expect(result.err == "1 of 2 could not be delivered.\n")
            try #expect(JSONValue(parsing: result.out).array?.count == 2)
        }
    }
}
