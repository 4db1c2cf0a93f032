// SPDX-License-Identifier: Apache-2.0

import Foundation
import GatewayCore
import GatewayHTTPClient
import TestSupport
import Testing

@Suite("What a process may have")
struct ProcessResourceTests {
    private static let secret = String(repeating: "s", count: 40)

    private func withProcess(
        openFiles: Int? = nil, _ body: (GatewayProcess, _ port: Int, _ bearer: String) async throws -> Void,
    ) async throws {
        let provider = FakeIdentityProvider()
        try await provider.start()
        let upstream = try await ScriptedServer { _ in [.answer(200, "{}")] }
        let port = try FreePort.take()
        let gateway = try await GatewayProcess(
            port: port, openFiles: openFiles,
            [
                "oidc": [
                    "issuer": .string(provider.url), "client_id": .string(FakeIdentityProvider.clientID),
                    "client_secret": .string(FakeIdentityProvider.clientSecret),
                    "id_token_signed_response_alg": "ES256",
                ],
                "session": ["jwt_secret": .string(Self.secret)],
                "store": ["sqlite_path": ":memory:"],
                "upstreams": [
                    [
                        "provider": "anthropic", "name": "u", "base_url": .string(upstream.url),
                        "auth": ["api_key": "k"],
                    ]
                ],
            ])
        let bearer = GatewayProcess.bearer(Principal(subject: "u"), secret: Self.secret, url: gateway.url)
        try await body(gateway, port, bearer)
        #expect(try await gateway.end(SIGTERM) == 0)
        await upstream.stop()
        await provider.stop()
    }

    private func send(_ gateway: GatewayProcess, _ bearer: String, _ body: String) async throws -> Int {
        try await OutboundClient(rule: .any).send(
            OutboundRequest(
                "POST", gateway.url + "/v1/messages",
                headers: [("authorization", "Bearer " + bearer), ("content-type", "application/json")],
                body: Array(body.utf8), timeout: .seconds(20))
        ).status
    }

    @Test("signals: it ends in good order as soon as it listens", arguments: 0..<3)
    func signals(_ turn: Int) async throws {
        try await self.withProcess { _, _, _ in }
    }

    @Test("descriptors: it serves those whom it has, waits, and takes others when there is room again")
    func descriptors() async throws {
        try await self.withProcess(openFiles: 96) { gateway, port, bearer in
            let body = #"{"model":"claude-sonnet-4-6","max_tokens":1,"messages":[]}"#
            let request =
                "POST /v1/messages HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer \(bearer)\r\n"
                + "Content-Type: application/json\r\nContent-Length: \(body.utf8.count)\r\n\r\n\(body)"
            let first = try RawClient(port: port)
            try first.send(request)
            _ = try await first.receive(until: "{}")
            // More than it can have: the system keeps the others waiting.
            var crowd = try (0..<150).map { _ in try RawClient(port: port) }
            try await Task.sleep(for: .milliseconds(500))
            // It has a connection, and one to the upstream is idle.
            try first.send(request)
            #expect(try await first.receive(until: "{}").contains("200 OK"))
            crowd.removeAll()
            #expect(try await self.send(gateway, bearer, body) == 200)
        }
    }

    @Test("memory: it gives back what long bodies took")
    func memory() async throws {
        try await self.withProcess { gateway, _, bearer in
            func message(_ length: Int) -> String {
                #"{"model":"claude-sonnet-4-6","max_tokens":1,"messages":[],"x":""#
                    + String(repeating: "x", count: length) + "\"}"
            }
            for _ in 0..<8 { #expect(try await self.send(gateway, bearer, message(130_000)) == 200) }
            let before = gateway.residentKilobytes
            try await withThrowingTaskGroup(of: Void.self) { group in
                for lane in 0..<4 {
                    group.addTask {
                        for turn in 0..<16 {
                            let length = [2000, 130_000, 400_000, 2_000_000, 6_000_000][(lane + turn) % 5]
                            let status = try await self.send(gateway, bearer, message(length))
                            #expect(status == 200)
                        }
                    }
                }
                try await group.waitForAll()
            }
            let isSmall = await eventually(within: .seconds(5)) { gateway.residentKilobytes < before + 12_000 }
            #expect(isSmall, "\(before) kB became \(gateway.residentKilobytes) kB")
        }
    }
}
