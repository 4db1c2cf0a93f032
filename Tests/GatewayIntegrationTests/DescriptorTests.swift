// SPDX-License-Identifier: Apache-2.0

import Foundation
import GatewayCore
import GatewayHTTPClient
import TestSupport
import Testing

@Suite("Without descriptors, the gateway")
struct DescriptorTests {
    @Test("serves those whom it has, waits, and takes others when there is room again")
    func exhaustion() async throws {
        let provider = FakeIdentityProvider()
        try await provider.start()
        let upstream = try await ScriptedServer { _ in [.answer(200, "{}")] }
        let secret = String(repeating: "s", count: 40)
        let port = try FreePort.take()
        let gateway = try await GatewayProcess(
            port: port, openFiles: 96,
            [
                "oidc": [
                    "issuer": .string(provider.url), "client_id": .string(FakeIdentityProvider.clientID),
                    "client_secret": .string(FakeIdentityProvider.clientSecret),
                    "id_token_signed_response_alg": "ES256",
                ],
                "session": ["jwt_secret": .string(secret)],
                "store": ["sqlite_path": ":memory:"],
                "upstreams": [
                    [
                        "provider": "anthropic", "name": "u", "base_url": .string(upstream.url),
                        "auth": ["api_key": "k"],
                    ]
                ],
            ])
        let bearer = GatewayProcess.bearer(Principal(subject: "u"), secret: secret, url: gateway.url)
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
        let client = OutboundClient(rule: .any)
        let answer = try await client.send(
            OutboundRequest(
                "POST", gateway.url + "/v1/messages",
                headers: [("authorization", "Bearer " + bearer), ("content-type", "application/json")],
                body: Array(body.utf8), timeout: .seconds(20)))
        #expect(answer.status == 200)
        try await gateway.end(SIGTERM)
        await upstream.stop()
        await provider.stop()
    }
}
