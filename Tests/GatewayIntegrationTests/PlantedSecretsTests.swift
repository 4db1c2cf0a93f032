// SPDX-License-Identifier: Apache-2.0

import Foundation
import GatewayCore
import GatewayHTTPClient
import Synchronization
import TestSupport
import Testing

/// A process whose every secret is marked, and things that go wrong around it: no mark may come out of it but where it
/// belongs.
@Suite("Planted secrets", .enabled(if: TestStores.postgresURL != nil, "scripts/test starts a server"))
struct PlantedSecretsTests {
    private static func mark(_ name: String) -> String { "planted-\(name)-0123456789abcdefghij" }

    private static let names = [
        "jwt", "writekey", "readkey", "anthropic", "oauth", "header", "awsid", "awssecret", "abt", "foundry", "vertex",
        "proxy", "telemetry", "otlp", "hook", "hookquery", "pgpassword",
    ]

    private final class Heard: Sendable {
        private let texts = Mutex<[String]>([])

        func note(_ answer: OutboundResponse) {
            let headers = answer.headers.map { "\($0.name): \($0.value)" }.joined(separator: "\n")
            self.texts.withLock { $0.append(headers + "\n" + answer.text) }
        }

        func note(_ text: String) { self.texts.withLock { $0.append(text) } }

        func holding(_ mark: String) -> [String] { self.texts.withLock { $0 }.filter { $0.contains(mark) } }
    }

    @Test("come out in no log, error, metric, trace or process list")
    func nothingLeaks() async throws {
        let heard = Heard()
        let collector = try await ScriptedServer { _ in [.answer(500, "no")] }
        let broken = try await ScriptedServer { seen in
            switch seen.target {
            case let target where target.contains("count"): [.answer(400, #"{"message":"no"}"#)]
            case let target where target.contains("invoke"): [.answer(403, #"{"message":"not authorized"}"#)]
            default: [.answer(401, #"{"type":"error","error":{"type":"authentication_error","message":"bad key"}}"#)]
            }
        }
        let provider = FakeIdentityProvider()
        try await provider.start()
        let metricsPort = try FreePort.take()
        let port = try FreePort.take()
        let configuration = try await self.configuration(
            provider: provider.url, upstream: broken.url, collector: collector.url, metrics: metricsPort)
        let gateway = try await GatewayProcess(port: port, configuration)
        let client = OutboundClient(rule: .any)
        func send(_ method: String, _ path: String, _ headers: [(name: String, value: String)], _ body: String = "")
            async throws -> OutboundResponse
        {
            let answer = try await client.send(
                OutboundRequest(
                    method, gateway.url + path, headers: headers, body: body.isEmpty ? nil : Array(body.utf8),
                    timeout: .seconds(20)))
            heard.note(answer)
            return answer
        }
        let bearer = GatewayProcess.bearer(
            Principal(subject: "u-1", email: "dev@example.com", groups: ["eng"]), secret: Self.mark("jwt"),
            url: gateway.url)
        let known = [(name: "authorization", value: "Bearer " + bearer)]
        for model in ["claude-sonnet-4-6", "claude-haiku-4-5"] {
            for path in ["/v1/messages", "/v1/messages/count_tokens"] {
                _ = try await send("POST", path, known, #"{"model":"\#(model)","max_tokens":1,"messages":[]}"#)
            }
        }
        _ = try await send("POST", "/v1/metrics", known + [("content-type", "application/json")], "{}")
        // Strangers who try secrets out, in headers and forms.
        for path in ["/v1/organizations/spend_limits", "/v1/models", "/managed/settings", "/user/bootstrap"] {
            _ = try await send("GET", path, [("x-api-key", "tried-\(Self.mark("writekey"))")])
            _ = try await send("GET", path, [("authorization", "Bearer x." + bearer)])
        }
        let limits = try await send("GET", "/v1/organizations/spend_limits", [("x-api-key", Self.mark("readkey"))])
        #expect(limits.status == 200)
        let form = [(name: "content-type", value: "application/x-www-form-urlencoded")]
        _ = try await send("POST", "/oauth/token", form, "grant_type=refresh_token&refresh_token=\(Self.mark("jwt"))")
        _ = try await send("POST", "/oauth/revoke", form, "token=" + bearer + "x")
        _ = try await send(
            "POST", "/v1/organizations/spend_alerts/test", [("x-api-key", Self.mark("writekey"))], "{}")
        #expect(await eventually { collector.seen.contains { $0.target.contains("metrics") } })
        let metrics = try await client.send(
            OutboundRequest("GET", "http://127.0.0.1:\(metricsPort)/metrics", timeout: .seconds(5)))
        heard.note(metrics)
        #expect(metrics.text.contains("http_server_request_duration_seconds"))
        heard.note(gateway.commandLine)
        // Own signals go to the collector with its own credential in a header, and with no secret in a body.
        for seen in collector.seen { heard.note(String(decoding: seen.body, as: UTF8.self)) }
        try await gateway.end(SIGTERM)
        heard.note(gateway.log)
        #expect(gateway.log.contains("inference"))
        for name in Self.names {
            let leaks = heard.holding(Self.mark(name))
            #expect(leaks.isEmpty, "\(name): \(leaks.map { $0.prefix(2000) })")
        }
        #expect(heard.holding(bearer).isEmpty)
        #expect(heard.holding(FakeIdentityProvider.clientSecret).isEmpty)
        // They did go where they belong.
        #expect(broken.seen.contains { $0.header("x-api-key") == Self.mark("anthropic") })
        #expect(broken.seen.contains { $0.header("x-team") == Self.mark("header") })
        #expect(broken.seen.contains { $0.header("authorization") == "Bearer " + Self.mark("abt") })
        #expect(collector.seen.contains { $0.header("x-collector") == Self.mark("telemetry") })
        await collector.stop()
        await broken.stop()
        await provider.stop()
    }

    private func configuration(provider: String, upstream: String, collector: String, metrics: Int) async throws
        -> JSONObject
    {
        let schema = try await TestStores.makeSchema()
        let url = TestStores.url(schema: schema).reveal().replacingOccurrences(
            of: "postgres://gateway@", with: "postgres://gateway:\(Self.mark("pgpassword"))@")
        func entry(_ provider: String, _ name: String, _ more: JSONObject) -> JSONValue {
            var object: JSONObject = [
                "provider": .string(provider), "name": .string(name), "base_url": .string(upstream),
            ]
            for member in more.members { object[member.key] = member.value }
            return .object(object)
        }
        func mark(_ name: String) -> JSONValue { .string(Self.mark(name)) }
        return [
            "oidc": [
                "issuer": .string(provider), "client_id": .string(FakeIdentityProvider.clientID),
                "client_secret": .string(FakeIdentityProvider.clientSecret), "id_token_signed_response_alg": "ES256",
            ],
            "session": ["jwt_secret": mark("jwt")], "store": ["postgres_url": .string(url)],
            "upstreams": [
                entry(
                    "anthropic", "a", ["auth": ["api_key": mark("anthropic")], "headers": ["x-team": mark("header")]]),
                entry("anthropic", "o", ["auth": ["oauth_token": mark("oauth")]]),
                entry(
                    "bedrock", "b",
                    [
                        "region": "us-east-1",
                        "auth": ["aws_access_key_id": mark("awsid"), "aws_secret_access_key": mark("awssecret")],
                    ]),
                entry("bedrock", "t", ["region": "us-east-1", "auth": ["aws_bearer_token": mark("abt")]]),
                entry("foundry", "f", ["resource": "res", "auth": ["api_key": mark("foundry")]]),
                entry(
                    "vertex", "v",
                    [
                        "region": "global", "project_id": "p", "auth": ["access_token": mark("vertex")],
                    ]),
                entry(
                    "anthropic", "p",
                    [
                        "auth": ["api_key": mark("anthropic")],
                        "proxy": .string("http://u:\(Self.mark("proxy"))@127.0.0.1:9"),
                    ]),
            ],
            "admin": [
                "write_keys": [["id": "w", "key": mark("writekey")]],
                "read_keys": [["id": "r", "key": mark("readkey")]],
                "alerts": [
                    "webhooks": [
                        [
                            "url": .string("http://127.0.0.1:9/hook?token=\(Self.mark("hookquery"))"),
                            "secret": mark("hook"),
                        ]
                    ]
                ],
            ],
            "telemetry": [
                "forward_to": [["url": .string(collector), "headers": ["x-collector": mark("telemetry")]]]
            ],
            "observability": [
                "metrics": ["listen": .string("127.0.0.1:\(metrics)")],
                "otlp": [
                    "url": .string(collector), "headers": ["x-own": mark("otlp")], "traces": true, "audit": true,
                    "interval_seconds": 1,
                ],
            ],
        ]
    }
}
