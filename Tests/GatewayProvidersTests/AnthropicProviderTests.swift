// SPDX-License-Identifier: Apache-2.0

import GatewayConfig
import GatewayCore
import GatewayProviders
import Testing

@Suite("The Anthropic provider")
struct AnthropicProviderTests {
    private func request(
        _ provider: AnthropicProvider, headers: [(name: String, value: String)],
        upstreamHeaders: [(name: String, value: String)] = [],
        base: String = "http://h:1/prefix/", principal: Principal = Principal(subject: "s", email: "a@example.com"),
    ) -> UpstreamRequest {
        let upstream = UpstreamSettings(name: "u", provider: provider, baseURL: WebURL(base)!, headers: upstreamHeaders)
        let call = InboundCall(
            endpoint: .messages, query: "?beta=true", headers: FieldBlock(headers), model: "claude-sonnet-4-5",
            modelRanges: [9..<28],
            principal: principal, requestID: RequestID())
        return try! provider.request(for: call, upstreamModel: "claude-sonnet-4-5-20250929", upstream)
    }

    @Test("passes open lists, withholds the rest, and signs with its own key")
    func passesOpenLists() {
        let request = self.request(
            AnthropicProvider(credential: .apiKey(Secret("k"))),
            headers: [
                ("Authorization", "Bearer dev"), ("X-Api-Key", "stolen"), ("anthropic-future", "1"),
                ("X-Claude-Code-Session-Id", "s1"),
                ("x-stainless-os", "L"), ("cookie", "a"), ("x-forwarded-for", "1.2.3.4"), ("anthropic-beta", "a-1"),
                ("Anthropic-Beta", "b-2"),
                ("anthropic-workspace-id", "w"), ("User-Agent", "cli/1"), ("accept-encoding", "gzip, br, zstd"),
                ("content-length", "5"),
                ("connection", "close"), ("x-client-request-id", "r"),
            ])
        let pairs = Dictionary(request.headers.pairs.map { ($0.name.lowercased(), $0.value) }) { first, _ in
            "twice: " + first
        }
        #expect(
            pairs == [
                "host": "h:1", "anthropic-future": "1", "x-claude-code-session-id": "s1", "x-stainless-os": "L",
                "x-api-key": "k",
                "anthropic-beta": "a-1, b-2", "user-agent": "cli/1 cc-gateway/2.1.330", "accept-encoding": "gzip",
            ])
        #expect(request.target == "/prefix/v1/messages?beta=true")
        #expect(request.edits == [BodyEdit(range: 9..<28, replacement: Array(#""claude-sonnet-4-5-20250929""#.utf8))])
    }

    @Test("adds the OAuth beta behind the client's own")
    func addsTheOAuthBeta() {
        let provider = AnthropicProvider(credential: .oauthToken(Secret("t")))
        let request = self.request(provider, headers: [("anthropic-beta", "x")])
        #expect(request.headers.pairs.contains { $0 == ("authorization", "Bearer t") })
        #expect(request.headers.pairs.contains { $0 == ("anthropic-beta", "x, oauth-2025-04-20") })
        #expect(!request.headers.pairs.contains { $0.name == "x-api-key" })
    }

    @Test("forwards an identity that cannot break out of its header")
    func forwardsIdentity() {
        let provider = AnthropicProvider(credential: .apiKey(Secret("k")), forwardsIdentity: true)
        let request = self.request(
            provider, headers: [], principal: Principal(subject: "ü\n@1 x", email: "zoë@example.com"))
        let pairs = Dictionary(request.headers.pairs.map { ($0.name, $0.value) }) { first, _ in first }
        #expect(pairs["x-claude-gateway-user-id"] == "%C3%BC%0A@1%20x")
        #expect(pairs["x-litellm-end-user-id"] == "zo%C3%AB@example.com")
        let anonymous = self.request(provider, headers: [], principal: Principal(subject: "s"))
        #expect(!anonymous.headers.pairs.contains { $0.name == "x-litellm-end-user-id" })
    }

    @Test("lets the operator's headers win")
    func letsTheOperatorWin() {
        let request = self.request(
            AnthropicProvider(credential: .apiKey(Secret("k"))), headers: [("x-claude-code-x", "client")],
            upstreamHeaders: [("X-Claude-Code-X", "operator")])
        #expect(request.headers.pairs.filter { $0.name.lowercased() == "x-claude-code-x" }.map(\.value) == ["operator"])
    }

    @Test(
        "takes every spelling of a built-in model and no other",
        arguments: [
            ("claude-sonnet-4-5", "claude-sonnet-4-5-20250929"), ("CLAUDE-OPUS-4-8", "claude-opus-4-8"),
            ("us.anthropic.claude-sonnet-4-5-20250929-v1:0", "claude-sonnet-4-5-20250929"),
            ("claude-sonnet-4-5@20250929", "claude-sonnet-4-5-20250929"),
            ("claude-3-5-sonnet-v2@20241022", "claude-3-5-sonnet-20241022"),
            ("anthropic.claude-haiku-4-5", "claude-haiku-4-5-20251001"),
            ("us.anthropic.claude-opus-4-6-v1", "claude-opus-4-6"), ("claude-3-7-sonnet", "claude-3-7-sonnet-20250219"),
            ("claude-opus-4", "claude-opus-4-20250514"),
            ("sonnet", nil), ("claude-opus-4-8[1m]", nil), ("eu.anthropic.claude-opus-4-8", nil),
            ("claude-sonnet-4-6-20251114", nil),
            ("anthropic.claude-opus-4-6-v1", nil), (" claude-opus-4-8", nil), ("claude-3-haiku-20240307", nil),
            ("claude-opus-4-0", nil),
        ])
    func takesSpellings(_ spelling: String, _ id: String?) {
        let upstream = UpstreamSettings(
            name: "a", provider: AnthropicProvider(credential: .apiKey(Secret("k"))), baseURL: WebURL("http://h")!)
        let catalog = ModelCatalog(custom: [], includesBuiltIns: true, upstreams: [upstream])
        #expect(catalog.resolve(spelling) == [id.map { .upstreamID($0) } ?? .unknown])
    }

    @Test("lists the built-in models in the contract's order")
    func listsBuiltIns() {
        #expect(
            BuiltInModel.all.filter(\.isListed).map(\.id) == [
                "claude-opus-4-6", "claude-sonnet-4-5-20250929", "claude-haiku-4-5-20251001", "claude-fable-5-2",
                "claude-fable-5-1",
                "claude-fable-5", "claude-opus-5-5", "claude-opus-5", "claude-opus-4-8", "claude-opus-4-7",
                "claude-opus-4-1-20250805",
                "claude-sonnet-5-5", "claude-sonnet-5", "claude-sonnet-4-6", "claude-haiku-5-5",
            ])
    }

    @Test(
        "refuses headers that it or the provider sets",
        arguments: [
            "authorization", "X-Api-Key", "x-amz-date", "x-stainless-os", "bad header", "host", "user-agent",
            "Anthropic-Beta", "accept-encoding", "x-claude-gateway-user-id", "x-litellm-end-user-id",
        ])
    func refusesReservedHeaders(_ name: String) {
        let node = ConfigNode(
            .mapping([.init(key: name, position: ConfigPosition(line: 1, column: 1), value: ConfigNode(.string("v")))]))
        var report = ConfigReport()
        UpstreamHeaders.inspection(node, &report)
        #expect(report.errors.count == 1)
    }
}
