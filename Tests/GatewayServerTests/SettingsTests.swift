// SPDX-License-Identifier: Apache-2.0

import Foundation
import GatewayConfig
import GatewayCore
import GatewayIdentity
import GatewayProviders
import GatewayServer
import GatewayTelemetry
import Logging
import Testing

@Suite("gateway.yaml")
struct SettingsTests {
    private static let good = """
        listen: { host: 127.0.0.1, port: 8805 }
        oidc: { issuer: "https://idp.example.com/", client_id: gw, client_secret: s, allowed_email_domains: [" @Example.com "] }
        session: { jwt_secret: "\(String(repeating: "x", count: 32))" }
        store: { postgres_url: "postgres://h/d" }
        upstreams: [ { provider: anthropic, auth: { api_key: k } } ]

        """

    private func faults(_ text: String, warnings: Bool = false) -> [String] {
        let file = ConfigurationFile(path: "f", text: Data(text.utf8), .running([:], allowsLoopback: true))
        return (warnings ? file.report.warnings : file.report.errors).map { "\($0.path): \($0.message)" }
    }

    @Test("is read with its defaults")
    func defaults() throws {
        let file = ConfigurationFile(path: "f", text: Data(Self.good.utf8), .running([:], allowsLoopback: true))
        let settings = try #require(file.settings, "\(file.report.sorted)")
        #expect(settings.listen.publicURL == "http://127.0.0.1:8805")
        #expect(settings.oidc.allowedEmailDomains == ["example.com"])
        #expect(settings.oidc.discoveryDocument == "https://idp.example.com/.well-known/openid-configuration")
        #expect(settings.firstByteTimeout == .seconds(120))
        #expect(settings.session.lifetimeHours == 1)
        #expect(settings.upstreams.map(\.name) == ["anthropic"])
        #expect(file.report.warnings.isEmpty)
    }

    @Test(
        "is refused with the key and the remedy",
        arguments: [
            ("listen: { port: 1 }", "public_url"), ("listen: { host: 127.0.0.1, port: 65536 }", "at most 65535"),
            ("listen: { host: 127.0.0.1, port: 88.5 }", "whole number"),
            ("listen: { host: 127.0.0.1, public_url: \"ftp://x\" }", "not an absolute http"),
            ("listen: { host: 127.0.0.1, tls: { cert: a } }", "listen.tls.key: is required"),
            ("listen: { host: 127.0.0.1, trusted_proxies: [x] }", "entry 1 is not an IP address"),
            ("session: { jwt_secret: short }", "at least 32 characters"),
            ("session: { jwt_secret: [] }", "at least one entry"),
            ("store: {}", "needs postgres_url"), ("store: { postgres_url: \"mysql://x\" }", "postgres://"),
            ("store: { postgres_url: \"postgres://x\", sqlite_path: /x }", "cannot stand beside"),
            ("upstreams: [ { provider: antropic } ]", "did you mean anthropic?"),
            ("upstreams: [ { provider: anthropic } ]", "auth: is required"),
            (
                "upstreams: [ { provider: anthropic, auth: { api_key: a, oauth_token: b } } ]",
                "cannot stand beside another form"
            ),
            (
                "upstreams: [ { provider: anthropic, auth: { api_key: a } }, { provider: anthropic, auth: { api_key: a } } ]",
                "already named 'anthropic'"
            ),
            (
                "upstreams: [ { provider: anthropic, auth: { api_key: a }, base_url: \"http://[fe80::1]/\" } ]",
                "link-local"
            ),
            (
                "upstreams: [ { provider: anthropic, auth: { api_key: a }, forward_user_identity: true } ]",
                "refused for api.anthropic.com"
            ),
            (
                "upstreams: [ { provider: anthropic, auth: { api_key: a }, headers: { host: x } } ]",
                "headers.host: is reserved"
            ),
            ("models: [ { id: a, upstream_model: { nope: x } } ]", "no upstream is named 'nope'"),
            ("models: [ { id: a, upstream_model: {} } ]", "is empty"),
            ("managed: { policies: [ { match: { groups: [] } } ] }", "would match nobody"),
            ("managed: { policies: [ { match: {}, cli: { permisions: {} } } ] }", "did you mean permissions?"),
            ("managed: { policies: [ { match: {}, cli: {}, code: {} } ] }", "cannot stand beside a code block"),
            ("managed: { settings: /nope.json }", "silently have no policy"),
            ("managed: { policies: [ { match: { email_domain: \"a@b\" } } ] }", "not one bare domain"),
            ("login_notice: \" \"", "must not be empty"),
            ("access_control: { allow_cidrs: [10.0.0.0/33] }", "entry 1 is not"),
            ("limits: { max_request_bytes: 0 }", "greater than 0"),
            ("rate_limits: { device_verify: { max: 0 } }", "greater than 0"),
            ("telemetry: { forward_to: [ { url: \"http://x.example\" } ] }", "must be https"),
            ("listne: {}", "did you mean listen?"),
        ])
    func refusals(_ line: String, _ text: String) {
        let key = line.prefix { $0 != ":" }
        let rest = Self.good.split(separator: "\n").filter { !$0.hasPrefix(key + ":") }.joined(separator: "\n")
        let faults = self.faults(rest + "\n" + line + "\n")
        #expect(faults.contains { $0.contains(text) }, "\(faults)")
    }

    @Test(
        "warns about what runs but hardly can be meant",
        arguments: [
            ("listen: { public_url: \"http://gw.example.com\" }", "in the clear"),
            ("managed: { policies: [ { match: {} }, { match: { groups: [a] } } ] }", "never apply"),
            (
                "managed: { policies: [ { match: {}, cli: { availableModels: [claude-haiku-4-5] } } ] }",
                "leaves out claude-opus-4-7"
            ),
            (
                "managed: { policies: [ { match: {}, cli: { availableModels: [] } } ] }",
                "every request of these developers is refused"
            ),
            ("listen: { host: 0.0.0.0, public_url: \"https://gw.example.com\" }", "listen.trusted_proxies"),
            ("session: { jwt_secret: 0123456789abcdef0123456789abcdefX, ttl_hours: 48 }", "more than a day"),
            (
                "managed: { policies: [ { match: { groups: [a, b] } }, { match: { groups: [b] } } ] }",
                "taken by managed.policies[0] already"
            ),
            (
                "models: [ { id: m, upstream_model: { anthropic: x } } ]\nadmin: {}",
                "has no known price for 'x'"
            ),
            (
                "upstreams: [ { provider: anthropic, auth: { api_key: k }, models: [claude-opus-9] } ]",
                "sends no model to this upstream"
            ),
            (
                "pricing: { overrides: [ { upstream: anthropic, model: gpt, input: 1, output: 1, cache_read: 1, cache_write: 1 } ] }\nadmin: {}",
                "this price is never used"
            ),
            (
                "managed: { policies: [ { match: { groups: [platform] } }, { match: { groups: [data, platfrom] } }, { match: { groups: [platform, x] } } ] }",
                "did you mean platform?"
            ),
            ("models: []\nauto_include_builtin_models: false", "there is no model at all"),
        ])
    func warnings(_ line: String, _ text: String) {
        let key = line.prefix { $0 != ":" }
        let rest = Self.good.split(separator: "\n").filter { !$0.hasPrefix(key + ":") }.joined(separator: "\n")
        let warnings = self.faults(rest + "\n" + line + "\n", warnings: true)
        #expect(warnings.contains { $0.contains(text) }, "\(warnings)")
    }

    @Test("makes its login notice one line of plain text")
    func notice() throws {
        let file = ConfigurationFile(
            path: "f", text: Data((Self.good + "login_notice: \"  Use your\\nwork\\u202E\\t account  \"\n").utf8),
            .running([:], allowsLoopback: true))
        #expect(file.settings?.loginNotice == "Use your work account")
    }
}

@Suite("Log lines")
struct LogTests {
    @Test("stay one line whatever comes from outside")
    func oneLine() async throws {
        let path = NSTemporaryDirectory() + "/log-\(RandomToken.make())"
        _ = FileManager.default.createFile(atPath: path, contents: nil)
        defer { try? FileManager.default.removeItem(atPath: path) }
        let handle = try #require(FileHandle(forWritingAtPath: path))
        let writer = LineWriter(descriptor: handle.fileDescriptor)
        let log = Logger(label: "x") { _ in OperationalLog(writer: writer, level: .info) }
        log.warning("hello", metadata: ["sub": "a\n{\"evt\":\"forged\"}", "request_id": "r1"])
        log.debug("not shown")
        AuditLog(writer: writer).record(
            AuditEvent("x", ["model": "a\n\u{2028}{\"evt\":\"forged\"}", "none": nil, "null": .null]))
        writer.close()
        let lines = try String(contentsOfFile: path, encoding: .utf8).split(separator: "\n")
        #expect(lines.count == 2)
        #expect(lines[0].hasSuffix("warn hello request_id=r1 sub=a\\n{\"evt\":\"forged\"}"))
        let event = try JSONValue(parsing: String(lines[1]))
        #expect(event.object?.keys == ["ts", "evt", "model", "null"])
    }
    /// Longer than what is gathered at most.
    @Test("of a thread that gathers them are handed on in order, and none is lost", arguments: [1, 3, 2_000])
    func gathered(_ count: Int) async throws {
        let path = NSTemporaryDirectory() + "/log-\(RandomToken.make())"
        _ = FileManager.default.createFile(atPath: path, contents: nil)
        defer { try? FileManager.default.removeItem(atPath: path) }
        let handle = try #require(FileHandle(forWritingAtPath: path))
        let writer = LineWriter(descriptor: handle.fileDescriptor)
        let gathering = try #require(AuditLog(writer: writer).gathering())
        for number in 0..<count { gathering.record(AuditEvent("x", ["n": .integer(Int64(number))])) }
        gathering.flush()
        gathering.flush()
        writer.close()
        let lines = try String(contentsOfFile: path, encoding: .utf8).split(separator: "\n")
        let numbers = try lines.map { try JSONValue(parsing: String($0)).object?["n"] }
        #expect(numbers == (0..<count).map { .integer(Int64($0)) })
    }
}
