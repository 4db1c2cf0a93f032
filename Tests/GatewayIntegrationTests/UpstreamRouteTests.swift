// SPDX-License-Identifier: Apache-2.0

import GatewayCore
import GatewayHTTPClient
import GatewayProviders
import GatewayServer
import TestSupport
import Testing

@Suite("Ways to upstreams")
struct UpstreamRouteTests {
    private func ask(
        _ upstream: String, _ transport: UpstreamSettings.Transport, variables: [String: String] = [:], times: Int = 1,
    ) async throws -> (status: Int, text: String) {
        let provider = FakeIdentityProvider()
        try await provider.start()
        var settings = TestGateway.settings(provider: provider, upstreams: [upstream], port: try FreePort.take())
        settings.upstreams = [
            UpstreamSettings(
                name: "u", provider: AnthropicProvider(credential: .apiKey(Secret("k"))), baseURL: WebURL(upstream)!,
                transport: transport)
        ]
        let gateway = try await TestGateway.start(settings, provider: provider, variables: variables)
        let bearer = try await gateway.signIn().bearer
        var last = (status: 0, text: "")
        for _ in 0..<times {
            let answer = try await gateway.message(bearer)
            last = (answer.status, answer.text)
        }
        _ = await gateway.gateway.stop(within: .zero)
        await provider.stop()
        return last
    }

    @Test(
        "lead through a tunnel to an upstream with a certificate of its own, and keep it open",
        arguments: [true, false])
    func tunnel(_ isFromEnvironment: Bool) async throws {
        let certificate = try TestCertificate()
        defer { certificate.remove() }
        let upstream = try await ScriptedServer(certificate: certificate) { _ in [.answer(200, "{\"a\":1}")] }
        let proxy = try await ScriptedServer { _ in [.tunnel] }
        var transport = UpstreamSettings.Transport()
        transport.trustedCertificates = certificate.pem
        let url = "http://us%40er:p%3Aw@127.0.0.1:\(proxy.port)"
        if !isFromEnvironment { transport.proxying = .through(try #require(ForwardProxy(url))) }
        let answer = try await self.ask(
            upstream.url, transport,
            variables: isFromEnvironment ? ["HTTPS_PROXY": url] : ["HTTPS_PROXY": "http://nope"],
            times: 3)
        #expect(answer == (200, "{\"a\":1}"))
        // One for each of the loops that the requests came in on.
        #expect(proxy.seen.count <= 2 && proxy.seen.allSatisfy { $0.method == "CONNECT" })
        #expect(proxy.seen.first?.target == "127.0.0.1:\(upstream.port)")
        #expect(
            proxy.seen.first?.header("proxy-authorization") == "Basic " + Base64.encode(Array("us@er:p:w".utf8)))
        #expect(upstream.seen.count == 3)
        #expect(upstream.seen.allSatisfy { $0.header("proxy-authorization") == nil && $0.target == "/v1/messages" })
        await proxy.stop()
        await upstream.stop()
    }

    @Test("hand requests in the clear to the proxy in absolute form")
    func absoluteForm() async throws {
        let proxy = try await ScriptedServer { _ in [.answer(200, "{}")] }
        let variables = ["http_proxy": "http://u:p@127.0.0.1:\(proxy.port)", "NO_PROXY": "127.0.0.1"]
        let answer = try await self.ask("http://models.example.com:81/x", .init(), variables: variables)
        #expect(answer.status == 200)
        #expect(proxy.seen.first?.target == "http://models.example.com:81/x/v1/messages")
        #expect(proxy.seen.first?.header("host") == "models.example.com:81")
        #expect(proxy.seen.first?.header("proxy-authorization") == "Basic dTpw")
        await proxy.stop()
    }

    @Test("do not use a proxy where they are told not to", arguments: ["none", "NO_PROXY"])
    func direct(_ reason: String) async throws {
        let upstream = try await ScriptedServer { _ in [.answer(200, "{}")] }
        var transport = UpstreamSettings.Transport()
        if reason == "none" { transport.proxying = .direct }
        var variables = ["http_proxy": "http://127.0.0.1:9"]
        if reason == "NO_PROXY" { variables["NO_PROXY"] = "127.0.0.0/8" }
        #expect(try await self.ask(upstream.url, transport, variables: variables).status == 200)
        await upstream.stop()
    }

    @Test("end where the proxy refuses, or a certificate is not trusted, without a word about the proxy to developers")
    func refusals() async throws {
        let certificate = try TestCertificate()
        defer { certificate.remove() }
        let upstream = try await ScriptedServer(certificate: certificate) { _ in [.answer(200, "{}")] }
        for step in [ScriptedServer.Step.answer(407, ""), .answer(403, "no"), .close, .bytes("garbage\r\n\r\n")] {
            let proxy = try await ScriptedServer { _ in [step] }
            var transport = UpstreamSettings.Transport()
            transport.proxying = .through(try #require(ForwardProxy("http://127.0.0.1:\(proxy.port)")))
            let answer = try await self.ask(upstream.url, transport)
            #expect(answer.status == 502)
            #expect(!answer.text.contains("proxy"))
            await proxy.stop()
        }
        #expect(try await self.ask(upstream.url, .init()).status == 502)
        #expect(upstream.seen.isEmpty)
        await upstream.stop()
    }

    @Test(
        "read proxies' URLs",
        arguments: [
            ("http://p:3128", "http://p:3128", nil), ("p.example.com:1", "http://p.example.com:1", nil),
            ("https://u:pw@[::1]:8", "https://[::1]:8", "u:pw"), ("http://u@h/", "http://h:80", "u:"),
        ] as [(String, String, String?)])
    func urls(_ text: String, _ url: String, _ credential: String?) throws {
        let proxy = try #require(ForwardProxy(text))
        #expect(proxy.url == url)
        #expect(proxy.credential?.reveal() == credential)
    }

    @Test(
        "refuse what is no HTTP proxy", arguments: ["socks5://h:1", "", "http://", "http://h:1/path", "http://h:99999"])
    func noProxies(_ text: String) {
        #expect(ForwardProxy(text) == nil)
    }
}
