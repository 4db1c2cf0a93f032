// SPDX-License-Identifier: Apache-2.0

import Foundation
import GatewayCore
import Testing

@testable import ClaudeCommands

@Suite("Working with gateway.yaml")
struct ConfigCommandTests {
    private static let base = """
        listen: { host: 0.0.0.0, public_url: https://gw.example.com, trusted_proxies: [10.0.0.0/8] }
        oidc: { issuer: https://idp.example.com, client_id: a, client_secret: "${S}", allowed_email_domains: [example.com] }
        session: { jwt_secret: "${J}" }
        store: { postgres_url: "${P}" }
        upstreams:
          - { provider: anthropic, auth: { api_key: sk-secret-value } }
          - { provider: bedrock, region: us-east-1, groups: [eng] }
        managed:
          policies:
            - match: { groups: [eng] }
              cli: { availableModels: [claude-opus-4-8], permissions: { deny: ["Bash(curl:*)"] }, model: claude-opus-4-8 }
            - match: {}
              cli: { availableModels: [claude-haiku-4-5], permissions: { deny: [WebFetch] }, env: { A: b }, model: claude-haiku-4-5 }

        """

    private func withFiles(_ texts: [String], _ body: ([String]) async throws -> Void) async throws {
        let folder = NSTemporaryDirectory() + "/config-\(RandomToken.make())"
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: folder) }
        var paths: [String] = []
        for (index, text) in texts.enumerated() {
            paths.append(folder + "/\(index).yaml")
            try Data(text.utf8).write(to: URL(fileURLWithPath: paths[index]))
        }
        try await body(paths)
    }

    @Test("explains which policy fits and why, where each setting comes from, and where models go")
    func explains() async throws {
        try await self.withFiles([Self.base]) { paths in
            let result = await runProgram(
                ["config", "explain", paths[0], "--email", "d@example.com", "--groups", "ops, eng"])
            #expect(result.code == .success)
            for line in [
                "sign-in: allowed", "+ managed.policies[0] for groups eng: fits",
                "+ managed.policies[1] for everybody: the base of the others",
                "permissions.deny = [\"WebFetch\",\"Bash(curl:*)\"]  (managed.policies[1], managed.policies[0])",
                "env.A = \"b\"  (managed.policies[1])",
                "+ claude-opus-4-8: anthropic as claude-opus-4-8, then bedrock as us.anthropic.claude-opus-4-8",
                "- claude-haiku-4-5-20251001: availableModels leaves it out",
            ] { #expect(result.out.contains(line), "\(line) in \(result.out)") }
            let other = await runProgram(
                ["config", "explain", paths[0], "--email", "d@other.org", "--model", "claude-haiku-4-5", "--json"])
            let json = try JSONValue(parsing: other.out)
            #expect(json["sign_in"]?["allowed"] == false)
            #expect(json["policies"]?[0]?["reason"] == "not a member")
            #expect(json["model"]?["allowed"] == true)
            #expect(json["model"]?["upstreams"]?[0]?["model"] == "claude-haiku-4-5-20251001")
            #expect(json["model"]?["upstreams"]?[1]?["model"] == .null)
            #expect(json["model"]?["upstreams"]?[1]?["reason"] == "only for groups eng")
        }
    }

    @Test(
        "tells what changes for whom, with a code of its own when access widens",
        arguments: [
            (
                "allowed_email_domains: [example.com]", "allowed_email_domains: [example.com, x.org]",
                "+ everybody: addresses of x.org may sign in", 8
            ),
            (
                "[claude-haiku-4-5]", "[claude-haiku-4-5, claude-opus-4-8]",
                "+ everybody else: may use claude-opus-4-8", 8
            ),
            ("deny: [WebFetch]", "deny: []", "+ group eng: deny rule removed: WebFetch", 8),
            ("deny: [WebFetch]", "deny: [WebFetch, Bash]", "- everybody else: deny rule added: Bash", 0),
            (", groups: [eng] }", " }", "~ everybody else: claude-haiku-4-5-20251001 goes to", 0),
            ("sk-secret-value", "sk-other-value", "~ the gateway: upstreams[0].auth.api_key is another", 0),
            ("env: { A: b }", "env: { A: c }", "~ group eng: env.A is \"c\" instead of \"b\"", 0),
            ("session: {", "session: { ttl_hours: 8,", "+ everybody: a bearer lives 8 h instead of 1 h", 8),
            (
                "session: {", "access_control: { allow_cidrs: [10.0.0.0/8] }\nsession: {",
                "- the network: only these may connect: 10.0.0.0/8", 0
            ),
            (
                "session: {", "admin: { admin_groups: [finops] }\nsession: {",
                "+ group finops: may change spend limits", 8
            ),
        ])
    func diffs(_ before: String, _ after: String, _ line: String, _ code: Int32) async throws {
        try await self.withFiles([Self.base, Self.base.replacing(before, with: after)]) { paths in
            let result = await runProgram(["config", "diff", paths[0], paths[1]])
            #expect(result.out.contains(line), "\(result.out)\(result.err)")
            #expect(result.code.rawValue == code)
            #expect(!result.out.contains("sk-"), "a secret is shown")
            #expect(await runProgram(["config", "diff", paths[0], paths[0]]).out == "nothing changes\n")
            let back = await runProgram(["config", "diff", "--json", paths[1], paths[0]])
            let changes = try JSONValue(parsing: back.out)["changes"]?.array
            #expect(changes?.isEmpty == false)
        }
    }

    @Test("writes faults for people, for code scanning and for workflow logs")
    func formats() async throws {
        try await self.withFiles([Self.base + "lisen: {}\nlimits: { max_request_bytes: 0 }\n"]) { paths in
            let sarif = await runProgram(["config", "validate", "--format", "sarif", paths[0]])
            #expect(sarif.code == .configuration)
            let run = try JSONValue(parsing: sarif.out)["runs"]?[0]
            #expect(run?["results"]?.array?.count == 2)
            #expect(run?["results"]?[0]?["level"] == "error")
            #expect(run?["results"]?[1]?["ruleId"] == "limits.max_request_bytes")
            let place = run?["results"]?[1]?["locations"]?[0]?["physicalLocation"]
            #expect(place?["region"]?["startLine"] == 15)
            let github = await runProgram(["config", "validate", "--format", "github", paths[0]])
            #expect(
                github.out.contains(",line=15,col=30,title=limits.max_request_bytes::limits.max_request_bytes: must be")
            )
            #expect(await runProgram(["config", "validate", "--format", "xml", paths[0]]).code == .usage)
        }
    }

    @Test("prints its schema")
    func schema() async throws {
        let schema = try JSONValue(parsing: await runProgram(["config", "schema"]).out)
        #expect(schema["$schema"] == "https://json-schema.org/draft/2020-12/schema")
        #expect(schema["properties"]?["upstreams"]?["minItems"] == 1)
        #expect(schema["additionalProperties"] == false)
    }
}
