// SPDX-License-Identifier: Apache-2.0

import Foundation
import GatewayCore
import GatewayHTTPClient
import Logging
import TestSupport
import Testing

@testable import GatewayServer

@Suite("Reloading")
struct ReloadTests {
    private struct Setup {
        let folder: URL
        let provider: FakeIdentityProvider
        let gateway: TestGateway
        let reloader: Reloader
        let port: Int

        /// Writes the file as Kubernetes mounts it: a link to a folder that is swapped.
        static func write(_ text: String, in folder: URL) throws {
            let data = folder.appendingPathComponent("..data-" + RandomToken.make())
            try FileManager.default.createDirectory(at: data, withIntermediateDirectories: true)
            try Data(text.utf8).write(to: data.appendingPathComponent("gateway.yaml"))
            let link = folder.appendingPathComponent("..data")
            let fresh = folder.appendingPathComponent("..tmp")
            try FileManager.default.createSymbolicLink(at: fresh, withDestinationURL: data)
            #expect(rename(fresh.path, link.path) == 0)
        }

        func text(_ more: String, port: Int? = nil) -> String {
            Self.text(self.provider.url, port ?? self.port, more)
        }

        static func text(_ issuer: String, _ port: Int, _ more: String) -> String {
            """
            listen: { host: 127.0.0.1, port: \(port) }
            oidc: { issuer: "\(issuer)", client_id: gw, client_secret: gw-secret, id_token_signed_response_alg: ES256 }
            session: { jwt_secret: \(TestGateway.secret) }
            store: { sqlite_path: ":memory:" }
            upstreams: [ { provider: anthropic, base_url: "http://127.0.0.1:9", auth: { api_key: k } } ]
            \(more)

            """
        }

        func settings(_ bearer: String) async throws -> JSONValue? {
            try await self.gateway.send("GET", "/managed/settings", headers: [("authorization", "Bearer " + bearer)])
                .json?["settings"]
        }
    }

    private func withSetup(_ body: (Setup) async throws -> Void) async throws {
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent("reload-" + RandomToken.make())
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        let provider = FakeIdentityProvider()
        try await provider.start()
        let port = try FreePort.take()
        try Setup.write(Setup.text(provider.url, port, Self.policy("one")), in: folder)
        let path = folder.appendingPathComponent("gateway.yaml").path
        try FileManager.default.createSymbolicLink(atPath: path, withDestinationPath: "..data/gateway.yaml")
        let file = ConfigurationFile(path: path, .running([:], allowsLoopback: true))
        let gateway = try await TestGateway.start(#require(file.settings), provider: provider)
        let source = ConfigurationSource(path: path, environment: [:], allowsLoopback: true, first: file)
        let log = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        let reloader = Reloader(gateway: gateway.gateway, source: source, audit: gateway.audit, log: log)
        try await body(Setup(folder: folder, provider: provider, gateway: gateway, reloader: reloader, port: port))
        _ = await gateway.gateway.stop(within: .zero)
        await provider.stop()
    }

    private static func policy(_ value: String) -> String {
        "managed: { policies: [ { match: {}, cli: { env: { A: \(value) } } } ] }"
    }

    @Test("serves a good file, refuses a bad one, and names what needs a restart")
    func reloads() async throws {
        try await self.withSetup { setup in
            let bearer = try await setup.gateway.signIn().bearer
            #expect(try await setup.settings(bearer)?["env"]?["A"] == "one")

            try Setup.write(setup.text(Self.policy("two")), in: setup.folder)
            await setup.reloader.reload(because: "test")
            #expect(try await setup.settings(bearer)?["env"]?["A"] == "two")

            try Setup.write(setup.text("managed: { polices: [] }"), in: setup.folder)
            await setup.reloader.reload(because: "test")
            #expect(try await setup.settings(bearer)?["env"]?["A"] == "two", "a bad file was served")

            try Setup.write(setup.text(Self.policy("three"), port: 1), in: setup.folder)
            await setup.reloader.reload(because: "test")
            #expect(try await setup.settings(bearer)?["env"]?["A"] == "three")

            let events = setup.gateway.audit.events("config.reload")
            #expect(events.map { $0["result"] } == ["success", "refused", "success"])
            #expect(events[1]["faults"] == 1)
            #expect(events[2]["restart_needed"] == ["listen.port"])
        }
    }

    @Test("keeps what it has when the new identity provider does not answer")
    func keepsTheProvider() async throws {
        try await self.withSetup { setup in
            let bearer = try await setup.gateway.signIn().bearer
            let text = Setup.text("http://127.0.0.1:1", setup.port, Self.policy("two"))
            try Setup.write(text, in: setup.folder)
            await setup.reloader.reload(because: "test")
            #expect(setup.gateway.audit.events("config.reload").map { $0["result"] } == ["refused"])
            #expect(try await setup.settings(bearer)?["env"]?["A"] == "one")
            #expect(try await setup.gateway.signIn().bearer != "")
        }
    }

    @Test("notices a changed file, Kubernetes' swapped link included")
    func watches() async throws {
        try await self.withSetup { setup in
            let bearer = try await setup.gateway.signIn().bearer
            let watcher = Task { await setup.reloader.watch() }
            try await Task.sleep(for: .milliseconds(200))
            try Setup.write(setup.text(Self.policy("two")), in: setup.folder)
            #expect(await eventually { setup.gateway.audit.events("config.reload").count == 1 })
            #expect(try await setup.settings(bearer)?["env"]?["A"] == "two")
            watcher.cancel()
        }
    }
}
