// SPDX-License-Identifier: Apache-2.0

import GatewayCore
import GatewayHTTPClient
import TestSupport
import Testing

@Suite("Outgoing requests")
struct OutboundTests {
    @Test(
        "use a proxy as the environment says",
        arguments: [
            (["https_proxy": "http://p:1"], "https://h", true), (["HTTPS_PROXY": "http://p:1"], "https://h", true),
            (["HTTP_PROXY": "http://p:1"], "http://h", false), (["http_proxy": "http://p:1"], "http://h", true),
            (["all_proxy": "p"], "https://h", true),
            (["https_proxy": "p", "no_proxy": "x,.example.com"], "https://gw.example.com", false),
            (["https_proxy": "p", "no_proxy": "*"], "https://h", false),
            (["https_proxy": "p", "NO_PROXY": "10.0.0.0/8"], "https://10.1.2.3", false),
            (["https_proxy": "p", "no_proxy": "ample.com"], "https://example.com", true),
            ([:], "https://h", false), (["https_proxy": ""], "https://h", false),
        ])
    func proxies(_ variables: [String: String], _ url: String, _ applies: Bool) throws {
        #expect(try ProxyEnvironment(variables).applies(to: #require(WebURL(url))) == applies)
    }

    @Test(
        "go only where they may",
        arguments: [
            "http://169.254.169.254/", "http://127.0.0.1:1/", "http://0x7f.1:1/", "http://localhost:1/",
            "http://[::1]:1/",
        ])
    func blocked(_ url: String) async {
        let client = OutboundClient(rule: .guarded(AddressGuard(allowsLoopback: false)))
        let error = await #expect(throws: OutboundError.self) {
            try await client.send(OutboundRequest("GET", url, timeout: .seconds(5)))
        }
        guard case .blocked? = error else {
            Issue.record("\(String(describing: error))")
            return
        }
    }

    @Test("through a proxy ask it for the checked address, and keep the name for everything else")
    func pinned() async throws {
        let origin = try await ScriptedServer { _ in [.answer(200, "here")] }
        let proxy = try await ScriptedServer { _ in [.tunnel] }
        var request = OutboundRequest("GET", "http://localhost:\(origin.port)/x", timeout: .seconds(5))
        request.proxying = .through(try #require(ForwardProxy(proxy.url)))
        request.pinsAddress = true
        let answer = try await OutboundClient(rule: .guarded(AddressGuard(allowsLoopback: true))).send(request)
        #expect(answer.text == "here")
        let target = proxy.seen.first?.target ?? ""
        #expect(proxy.seen.first?.method == "CONNECT")
        #expect(["127.0.0.1:\(origin.port)", "[::1]:\(origin.port)"].contains(target), "\(target)")
        #expect(origin.seen.first?.header("host") == "localhost:\(origin.port)")
        // A name whose addresses are out of bounds reaches no proxy.
        let count = proxy.seen.count
        let error = await #expect(throws: OutboundError.self) {
            try await OutboundClient(rule: .guarded(AddressGuard(allowsLoopback: false))).send(request)
        }
        guard case .blocked? = error else {
            Issue.record("\(String(describing: error))")
            return
        }
        #expect(proxy.seen.count == count)
        await proxy.stop()
        await origin.stop()
    }

    @Test("to public addresses are refused where only private ones are meant")
    func privateOnly() async {
        let client = OutboundClient(rule: .privateNetwork)
        let error = await #expect(throws: OutboundError.self) {
            try await client.send(OutboundRequest("GET", "http://192.0.2.1/", timeout: .seconds(5)))
        }
        #expect(error?.description.contains("public address") == true)
    }

    @Test(
        "know private networks",
        arguments: [
            ("10.0.0.1", true), ("172.16.0.1", true), ("172.32.0.1", false), ("192.168.1.1", true),
            ("100.64.0.1", true), ("127.0.0.1", true), ("fd00::1", true),
            ("fe80::1", true), ("8.8.8.8", false), ("2001:db8::1", false), ("::ffff:10.0.0.1", true),
            ("169.254.1.1", true),
        ])
    func privateNetworks(_ text: String, _ isPrivate: Bool) throws {
        #expect(try PrivateNetwork.contains(#require(IPAddress(text))) == isPrivate)
    }

    @Test("can be cancelled")
    func cancellation() async throws {
        let client = OutboundClient(rule: .any)
        let task = Task { try await client.send(OutboundRequest("GET", "http://192.0.2.1:81/", timeout: .seconds(30))) }
        try await Task.sleep(for: .milliseconds(50))
        task.cancel()
        let result = await task.result
        #expect(throws: (any Error).self) { try result.get() }
    }

    @Test("name the peer in their errors, and nothing else of the URL")
    func errors() async {
        let client = OutboundClient(rule: .any)
        let error = await #expect(throws: OutboundError.self) {
            try await client.send(OutboundRequest("GET", "http://127.0.0.1:1/secret?token=hunter2"))
        }
        #expect(error?.description.contains("127.0.0.1") == true)
        #expect(error?.description.contains("hunter2") == false)
    }
}
