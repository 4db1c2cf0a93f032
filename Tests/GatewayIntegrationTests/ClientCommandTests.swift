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

@Suite("The client commands against a gateway")
struct ClientCommandTests {
    private final class Output: Sendable {
        let out = Mutex("")
        let err = Mutex("")
    }

    private func run(_ arguments: [String], home: String, output: Output = Output()) async -> (
        code: ExitCode, out: String, err: String
    ) {
        let terminal = Terminal(
            environment: ["CLAUDE_GATEWAY_HOME": home], isInteractive: false,
            out: { text in output.out.withLock { $0 += text } },
            err: { text in output.err.withLock { $0 += text } })
        let code = await CommandTable.main(arguments, in: terminal)
        return (code, output.out.withLock { $0 }, output.err.withLock { $0 })
    }

    private func withHome(_ body: (String) async throws -> Void) async throws {
        let home = NSTemporaryDirectory() + "/home-\(RandomToken.make())"
        defer { try? FileManager.default.removeItem(atPath: home) }
        try await body(home)
    }

    private func login(_ gateway: TestGateway, home: String) async throws -> (code: ExitCode, out: String, err: String)
    {
        let output = Output()
        async let login = self.run(["login", gateway.base, "--no-browser"], home: home, output: output)
        var code: String?
        _ = await eventually {
            code = output.err.withLock { $0 }.firstMatch(of: /[A-Z]{4}-[A-Z]{4}\n/).map { String($0.0.dropLast()) }
            return code != nil
        }
        _ = try await gateway.approve(try #require(code))
        return await login
    }

    @Test("ask whether a gateway is well, as a container's healthcheck does")
    func health() async throws {
        try await withGateway { gateway in
            try await self.withHome { home in
                let well = await self.run(["gateway", "--health", gateway.base + "/healthz"], home: home)
                #expect(well.code == .success && well.err.isEmpty, "\(well.err)")
                let wrong = await self.run(["gateway", "--health", gateway.base + "/v1/models"], home: home)
                #expect(wrong.code == .failure)
                #expect(wrong.err.hasSuffix("answers with status 401\n"), "\(wrong.err)")
                let nobody = await self.run(["gateway", "--health", "http://127.0.0.1:1/healthz"], home: home)
                #expect(nobody.code == .failure && nobody.err.hasPrefix("claude gateway: "), "\(nobody.err)")
                let noURL = await self.run(["gateway", "--health", "healthz"], home: home)
                #expect(noURL.code == .usage, "\(noURL.err)")
                let both = await self.run(
                    ["gateway", "--health", gateway.base, "--config", "gateway.yaml"], home: home)
                #expect(both.code == .usage, "\(both.err)")
            }
        }
    }

    @Test("sign in, tell who, list models and settings, send a message, and sign out")
    func wholeWay() async throws {
        let upstream = try await ScriptedServer { request in
            [
                .streamHead,
                .chunk(
                    "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"usage\":{\"input_tokens\":7}}}\n\n"
                ),
                .chunk("data: {\"type\":\"content_block_delta\",\"delta\":{\"type\":\"text_delta\",\"text\":\"Hel"),
                .chunk("lo é\"}}\n\n"),
                .chunk(
                    "data: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},\"usage\":{\"output_tokens\":2}}\n\n"
                ), .lastChunk,
            ]
        }
        try await withGateway(upstreams: [upstream.url]) { gateway in
            try await self.withHome { home in
                let login = try await self.login(gateway, home: home)
                #expect(login.code == .success, "\(login.err)")
                #expect(login.out == "Signed in to \(gateway.base) as dev@example.com\n")
                let who = await self.run(["whoami", "--json"], home: home)
                #expect(try JSONValue(parsing: who.out)["groups"] == ["eng"])
                let models = await self.run(["models"], home: home)
                #expect(models.out.contains("claude-sonnet-4-6\n"))
                let settings = await self.run(["settings", "--json"], home: home)
                #expect((settings.code, settings.out) == (.success, "null\n"))
                let answer = await self.run(["-p", "hi", "--model", "claude-sonnet-4-6"], home: home)
                #expect((answer.code, answer.out) == (.success, "Hello é\n"))
                let json = await self.run(["-p", "hi", "--json"], home: home)
                #expect(try JSONValue(parsing: json.out)["usage"] == ["input_tokens": 7, "output_tokens": 2])
                let token = await self.run(["token"], home: home)
                let bearer = token.out.trimmingCharacters(in: .newlines)
                #expect(
                    try await gateway.send("GET", "/v1/models", headers: [("authorization", "Bearer " + bearer)]).status
                        == 200)
                let refused = await self.run(["-p", "hi", "--model", "gpt-5"], home: home)
                #expect(refused.code == .failure)
                #expect(refused.err.contains("not in the operator's model allowlist"))
                #expect(await self.run(["logout"], home: home).code == .success)
                #expect(await self.run(["token"], home: home).code == .notSignedIn)
            }
        }
        await upstream.stop()
    }

    @Test("of many processes refresh one session once, and none loses it")
    func concurrentRefresh() async throws {
        try await withGateway { gateway in
            try await self.withHome { home in
                #expect(try await self.login(gateway, home: home).code == .success)
                let file = CredentialFile(environment: ["CLAUDE_GATEWAY_HOME": home])
                var credential = try #require(try file.read())
                credential.expiresAt = Timestamp.now.advanced(bySeconds: 60)
                try file.write(credential)
                let codes = await withTaskGroup(of: ExitCode.self) { group in
                    for _ in 0..<8 { group.addTask { await self.run(["token"], home: home).code } }
                    return await group.reduce(into: []) { $0.append($1) }
                }
                #expect(codes == Array(repeating: .success, count: 8))
                #expect(gateway.provider.refreshes == 1)
                #expect(try file.read()?.refreshToken != credential.refreshToken)
            }
        }
    }

    @Test("end a sign-in that was denied with a code of its own")
    func denied() async throws {
        try await withGateway { gateway in
            try await self.withHome { home in
                let output = Output()
                async let login = self.run(["login", gateway.base], home: home, output: output)
                var code: String?
                _ = await eventually {
                    code = output.err.withLock { $0 }.firstMatch(of: /[A-Z]{4}-[A-Z]{4}\n/).map {
                        String($0.0.dropLast())
                    }
                    return code != nil
                }
                _ = try await gateway.form(
                    "/device/deny", [("user_code", try #require(code))], headers: [("sec-fetch-site", "same-origin")])
                #expect(await login.code == .signInEnded)
            }
        }
    }

    @Test("say that nobody answers")
    func unreachable() async throws {
        try await self.withHome { home in
            let result = await self.run(["login", "http://127.0.0.1:\(try FreePort.take())"], home: home)
            #expect(result.code == .unreachable)
            #expect(result.err.contains("Check that you're on your organization's network"))
        }
    }
}
