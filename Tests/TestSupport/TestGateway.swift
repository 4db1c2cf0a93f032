// SPDX-License-Identifier: Apache-2.0

internal import GatewayCore
package import GatewayHTTPClient
internal import GatewayIdentity
internal import GatewayProviders
package import GatewayServer
internal import GatewayStore
internal import Logging

/// A whole gateway on loopback with fakes around it, and a client for it.
package struct TestGateway: Sendable {
    package let base: String
    package let gateway: Gateway
    package let provider: FakeIdentityProvider
    package let audit: CapturingAudit

    private static let client = OutboundClient(rule: .any)

    /// - Parameter base: Where this replica itself answers.
    package init(base: String, gateway: Gateway, provider: FakeIdentityProvider, audit: CapturingAudit) {
        self.base = base
        self.gateway = gateway
        self.provider = provider
        self.audit = audit
    }

    package static let secret = "0123456789abcdef0123456789abcdef"

    /// Settings that lead to the fakes.
    package static func settings(provider: FakeIdentityProvider, upstreams: [String], port: Int) -> GatewaySettings {
        var oidc = OIDCSettings(
            issuer: provider.url, clientID: FakeIdentityProvider.clientID,
            clientSecret: Secret(FakeIdentityProvider.clientSecret))
        oidc.algorithm = "ES256"
        let entries = upstreams.enumerated().map { index, url in
            UpstreamSettings(
                name: "u\(index)", provider: AnthropicProvider(credential: .apiKey(Secret("key-\(index)"))),
                baseURL: WebURL(url)!)
        }
        return GatewaySettings(
            listen: ListenSettings(host: "127.0.0.1", port: port), oidc: oidc,
            session: SessionSettings(secrets: [Secret(secret)]), store: StoreSettings(backend: .sqlite(path: nil)),
            upstreams: entries)
    }

    package static func start(
        _ settings: GatewaySettings, provider: FakeIdentityProvider, variables: [String: String] = [:],
    ) async throws -> TestGateway {
        let audit = CapturingAudit()
        let log = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        let gateway = try await Gateway.start(
            settings, Gateway.Environment(audit: audit, log: log, allowsLoopback: true, variables: variables))
        return TestGateway(base: settings.listen.publicURL, gateway: gateway, provider: provider, audit: audit)
    }

    // MARK: Requests

    package func send(
        _ method: String, _ path: String, headers: [(name: String, value: String)] = [], body: String? = nil,
        timeout: Duration = .seconds(20),
    ) async throws -> OutboundResponse {
        try await Self.client.send(
            OutboundRequest(
                method, self.base + path, headers: headers, body: body.map { Array($0.utf8) }, timeout: timeout))
    }

    package func form(_ path: String, _ fields: [(String, String)], headers: [(name: String, value: String)] = [])
        async throws
        -> OutboundResponse
    {
        var request = OutboundRequest.form(self.base + path, fields)
        request.headers += headers
        return try await Self.client.send(request)
    }

    package func message(
        _ bearer: String, _ body: String = #"{"model":"claude-sonnet-4-6","max_tokens":5,"messages":[]}"#,
        headers: [(name: String, value: String)] = [],
    ) async throws -> OutboundResponse {
        try await self.send(
            "POST", "/v1/messages",
            headers: [("authorization", "Bearer " + bearer), ("content-type", "application/json")] + headers, body: body
        )
    }

    // MARK: Sign-in

    package func startDevice() async throws -> (device: String, user: String) {
        let answer = try await self.form("/oauth/device_authorization", [("surface", "test")])
        return (answer.json?["device_code"]?.string ?? "", answer.json?["user_code"]?.string ?? "")
    }

    package func poll(_ device: String) async throws -> OutboundResponse {
        try await self.form(
            "/oauth/token", [("grant_type", "urn:ietf:params:oauth:grant-type:device_code"), ("device_code", device)])
    }

    /// The browser's part on this gateway. Another replica may take the callback.
    package func approve(_ user: String, callbackOn other: TestGateway? = nil) async throws -> OutboundResponse {
        let page = try await self.form(
            "/device", [("user_code", user)], headers: [("sec-fetch-site", "same-origin")])
        let cookie = page.header("set-cookie")?.prefix { $0 != ";" } ?? ""
        let back = self.provider.consent(page.header("location") ?? "")
        return try await (other ?? self).send("GET", back, headers: [("cookie", String(cookie))])
    }

    package func signIn() async throws -> (bearer: String, refresh: String) {
        let codes = try await self.startDevice()
        _ = try await self.approve(codes.user)
        let answer = try await self.poll(codes.device)
        return (answer.json?["access_token"]?.string ?? "", answer.json?["refresh_token"]?.string ?? "")
    }

    package func refresh(_ token: String) async throws -> OutboundResponse {
        try await self.form("/oauth/token", [("grant_type", "refresh_token"), ("refresh_token", token)])
    }
}

/// Runs a test with a gateway, and takes everything down in reverse order.
package func withGateway(
    upstreams: [String] = ["http://127.0.0.1:9"], configure: (inout GatewaySettings) -> Void = { _ in },
    _ body: (TestGateway) async throws -> Void,
) async throws {
    let provider = FakeIdentityProvider()
    try await provider.start()
    var settings = TestGateway.settings(provider: provider, upstreams: upstreams, port: try FreePort.take())
    configure(&settings)
    let gateway = try await TestGateway.start(settings, provider: provider)
    do {
        try await body(gateway)
    } catch {
        _ = await gateway.gateway.stop(within: .zero)
        await provider.stop()
        throw error
    }
    _ = await gateway.gateway.stop(within: .zero)
    await provider.stop()
}
