// SPDX-License-Identifier: Apache-2.0

import Foundation
import GatewayClient
import GatewayCore
import GatewayHTTPClient
import GatewayIdentity
import GatewayServer
import GatewayStore
import TestSupport
import Testing

@Suite("TLS")
struct TLSTests {
    private func send(_ url: String, trusting pem: String? = nil, expecting fingerprint: String? = nil) async throws
        -> OutboundResponse
    {
        var request = OutboundRequest("GET", url, timeout: .seconds(5))
        request.trustedCertificates = pem
        request.expectedFingerprint = fingerprint
        return try await OutboundClient(rule: .any).send(request)
    }

    @Test("is served, promised, and pinned before a byte of a request is sent")
    func pinning() async throws {
        let certificate = try TestCertificate()
        defer { certificate.remove() }
        let pem = try String(contentsOfFile: certificate.certificate, encoding: .utf8)
        let fingerprint = try certificate.fingerprint()
        let port = try FreePort.take()
        try await withGateway(configure: { settings in
            settings.listen = ListenSettings(host: "127.0.0.1", port: port, publicURL: "https://127.0.0.1:\(port)")
            settings.listen.certificateFile = certificate.certificate
            settings.listen.keyFile = certificate.key
        }) { gateway in
            let url = gateway.base + "/healthz"
            let answer = try await self.send(url, trusting: pem)
            #expect(answer.status == 200)
            #expect(answer.peerFingerprint == fingerprint)
            #expect(answer.header("strict-transport-security") == "max-age=31536000; includeSubDomains")
            #expect(try await self.send(url, trusting: pem, expecting: fingerprint).status == 200)
            let changed = await #expect(throws: OutboundError.self) {
                try await self.send(url, trusting: pem, expecting: String(repeating: "0", count: 64))
            }
            #expect(changed == .changedCertificate(host: "127.0.0.1", seen: fingerprint))
            let untrusted = await #expect(throws: OutboundError.self) { try await self.send(url) }
            guard case .untrustedCertificate? = untrusted else {
                Issue.record("\(String(describing: untrusted))")
                return
            }
            var ownLook = OutboundRequest("GET", url, timeout: .seconds(5))
            ownLook.verifiesCertificate = false
            #expect(try await OutboundClient(rule: .any).send(ownLook).status == 200)
            // Plain HTTP on the TLS port gets no answer.
            await #expect(throws: OutboundError.self) { try await self.send(url.replacing("https", with: "http")) }
        }
    }

    @Test("files that do not fit keep the gateway from starting, and are named")
    func badFiles() async throws {
        let first = try TestCertificate()
        let second = try TestCertificate()
        defer {
            first.remove()
            second.remove()
        }
        for (certificate, key, name) in [
            (first.certificate, second.key, "listen.tls"), (first.key, first.key, "listen.tls.cert"),
            ("/nope", first.key, "listen.tls.cert: /nope"),
            (first.certificate, "/nope", "listen.tls.key: /nope"),
        ] {
            let error = await #expect(throws: BootFailure.self) {
                try await withGateway(configure: { settings in
                    settings.listen.certificateFile = certificate
                    settings.listen.keyFile = key
                }) { _ in }
            }
            #expect(error?.description.contains(name) == true, "\(String(describing: error))")
        }
    }
}

@Suite("Starting")
struct StartTests {
    private func failure(_ configure: (inout GatewaySettings) -> Void) async -> String {
        let error = await #expect(throws: BootFailure.self) { try await withGateway(configure: configure) { _ in } }
        return error?.description ?? ""
    }

    @Test("fails with the key and the remedy when something is not there")
    func failures() async throws {
        #expect(
            await self.failure { $0.oidc.issuer = "http://127.0.0.1:1" }.contains("oidc: cannot connect to 127.0.0.1"))
        #expect(
            await self.failure {
                $0.store = .init(backend: .postgres(url: Secret("postgres://x:hunter2@127.0.0.1:1/d")))
            }.contains("store.postgres_url"))
        #expect(
            await self.failure { $0.store = .init(backend: .sqlite(path: "/nonexistent/x.sqlite")) }.contains(
                "store.sqlite_path"))
        #expect(await self.failure { $0.listen.host = "192.0.2.1" }.contains("listen: cannot listen on 192.0.2.1"))
    }

    @Test("fails when the port is taken, before it touches the store")
    func portInUse() async throws {
        try await withGateway { first in
            let message = await self.failure { settings in
                settings.listen.port = first.gateway.port
                settings.store = .init(backend: .sqlite(path: "/nonexistent/x.sqlite"))
            }
            #expect(message.contains("Is it in use"))
        }
    }

    @Test(
        "in development mode is refused on other than loopback addresses",
        arguments: ["0.0.0.0", "10.0.0.1", "example.com", "::"])
    func devModeIsLocal(_ host: String) async {
        #expect(await DevMode.run(host: host, port: 0, environment: [:]) == .badConfiguration)
    }

    @Test(
        "speaks HTTP/2 with clients that prefer it, and takes no body that was not declared",
        .enabled(if: FileManager.default.isExecutableFile(atPath: "/usr/bin/curl")))
    func http2() async throws {
        let certificate = try TestCertificate()
        defer { certificate.remove() }
        let upstream = try await ScriptedServer { _ in
            [.streamHead, .chunk("event: a\ndata: {}\n\n"), .chunk("event: b\ndata: {}\n\n"), .lastChunk]
        }
        let port = try FreePort.take()
        try await withGateway(
            upstreams: [upstream.url],
            configure: { settings in
                settings.listen = ListenSettings(host: "127.0.0.1", port: port, publicURL: "https://127.0.0.1:\(port)")
                settings.listen.certificateFile = certificate.certificate
                settings.listen.keyFile = certificate.key
            }
        ) { gateway in
            let bearer = GatewayProcess.bearer(
                Principal(subject: "u", email: "a@example.com"), secret: TestGateway.secret, url: gateway.base)
            func curl(_ arguments: String...) async throws -> String {
                try await offPool {
                    let process = Process()
                    process.executableURL = URL(fileURLWithPath: "/usr/bin/curl")
                    process.arguments =
                        [
                            "-s", "--max-time", "20", "--cacert", certificate.certificate, "-w",
                            " %{http_version} %{http_code}",
                        ]
                        + arguments
                    let pipe = Pipe()
                    process.standardOutput = pipe
                    process.standardError = FileHandle.nullDevice
                    try process.run()
                    let out = pipe.fileHandleForReading.readDataToEndOfFile()
                    process.waitUntilExit()
                    return String(decoding: out, as: UTF8.self)
                }
            }
            let messages = gateway.base + "/v1/messages"
            let known = "authorization: Bearer " + bearer
            let body = #"{"model":"claude-haiku-4-5","max_tokens":1,"stream":true,"messages":[]}"#
            #expect(try await curl("--http2", gateway.base + "/healthz").hasSuffix(" 2 200"))
            #expect(try await curl("--http1.1", gateway.base + "/healthz").hasSuffix(" 1.1 200"))
            #expect(try await curl("--http2", "-d", body, messages).hasSuffix(" 2 401"))
            let answer = try await curl("--http2", "-H", known, "-d", body, messages)
            #expect(answer == "event: a\ndata: {}\n\nevent: b\ndata: {}\n\n 2 200")
            // Many streams of one connection, one after the other and at once.
            let many = try await curl(
                "--http2", "--parallel", "-o", "/dev/null", "-H", known, "-d", body,
                messages + "?[1-40]")
            #expect(many.split(separator: " ").filter { $0 == "200" || $0.hasSuffix("200") }.count >= 1)
            #expect(await eventually { upstream.seen.count == 41 })
            let chunked = try await curl(
                "--http2", "-H", known, "-H", "transfer-encoding: chunked", "-d", body, messages)
            #expect(chunked.hasSuffix(" 2 411"))
            let big = NSTemporaryDirectory() + "big-" + RandomToken.make()
            defer { try? FileManager.default.removeItem(atPath: big) }
            try Data(body.replacing("[]", with: "[\"" + String(repeating: "x", count: 3 << 20) + "\"]").utf8).write(
                to: URL(fileURLWithPath: big))
            #expect(try await curl("--http2", "-H", known, "--data-binary", "@" + big, messages).hasSuffix(" 2 200"))
            #expect(upstream.seen.last?.body.count ?? 0 > 3 << 20)
        }
        await upstream.stop()
    }
}
