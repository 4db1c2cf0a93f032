// SPDX-License-Identifier: Apache-2.0

internal import Foundation
internal import GatewayCore
internal import GatewayIdentity
internal import GatewayMetering
internal import GatewayPolicy
internal import GatewayProviders
internal import GatewayRelay
internal import GatewayStore
internal import GatewayTelemetry
internal import Logging
internal import NIOSSL

/// `claude gateway --dev`: a whole gateway on one loopback address without any file, to try and to develop against.
/// Nothing of it is reachable without that flag.
package enum DevMode {
    package static let defaultPort = 8787

    /// - Parameter host: Only a loopback address is accepted: whoever reaches it can be any of its users.
    package static func run(host: String, port: Int, environment: [String: String]) async -> GatewayCommand.Ending {
        let console = Console(environment: environment, allowsLoopback: true)
        defer { console.writer.close() }
        guard ListenSettings.isLoopback(host) else {
            console.writer.write(
                "claude gateway: --dev listens on loopback addresses only, because it lets anybody sign in as anybody; leave out --host, or write --host 127.0.0.1"
            )
            return .badConfiguration
        }
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent("claude-gateway-dev-\(getpid())")
        defer { try? FileManager.default.removeItem(at: folder) }
        do {
            try FileManager.default.createDirectory(
                at: folder, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
            let provider = DevIdentityProvider()
            let (providerServer, providerURL) = try await self.serve(provider, console.log)
            provider.setIssuer(providerURL)
            let key = environment["ANTHROPIC_API_KEY"].flatMap { $0.isEmpty ? nil : Secret($0) }
            let model = try await self.serve(DevModel(), console.log)
            let settings = self.settings(
                host: host, port: port, provider: provider, issuer: providerURL, key: key,
                model: model.url + DevModel.basePath, store: folder.appendingPathComponent("store.sqlite").path,
                folder: folder.path)
            let ending = await GatewayCommand.serve(settings, console, notices: self.notices(key))
            _ = await providerServer.drain(within: .zero) { true }
            _ = await model.server.drain(within: .zero) { true }
            return ending
        } catch {
            console.writer.write("claude gateway: --dev could not start: \("\(error)".singleLine)")
            return .bootFailed
        }
    }

    private static func notices(_ key: Secret?) -> [String] {
        [
            "DEVELOPMENT MODE: anybody on this machine can sign in as anybody.",
            "It is not for production, and everything in it ends with the process.",
            key == nil
                ? "The model is built in. Set ANTHROPIC_API_KEY to talk to Claude instead."
                : "Requests go to api.anthropic.com with ANTHROPIC_API_KEY.",
        ]
    }

    private static func settings(
        host: String, port: Int, provider: DevIdentityProvider, issuer: String, key: Secret?, model: String,
        store: String, folder: String,
    ) -> GatewaySettings {
        var oidc = OIDCSettings(
            issuer: issuer, clientID: DevIdentityProvider.clientID, clientSecret: provider.clientSecret)
        oidc.algorithm = "ES256"
        let upstream: UpstreamSettings
        if let key {
            upstream = UpstreamSettings(
                name: "anthropic", provider: AnthropicProvider(credential: .apiKey(key)),
                baseURL: WebURL(AnthropicProvider.ownAddress)!)
        } else {
            upstream = UpstreamSettings(
                name: "built-in", provider: AnthropicProvider(credential: .apiKey(Secret("dev"))),
                baseURL: WebURL(model)!)
        }
        var settings = GatewaySettings(
            listen: ListenSettings(host: host, port: port), oidc: oidc,
            session: SessionSettings(secrets: [Secret(RandomToken.make())]),
            store: StoreSettings(backend: .sqlite(path: store)), upstreams: [upstream])
        // Ada may set limits.
        var admin = AdminSettings()
        admin.adminGroups = ["admins"]
        settings.admin = admin
        settings.journalFolder = folder
        return settings
    }

    /// A listener on a free loopback port.
    private static func serve(_ responder: some PlainResponder, _ log: Logger) async throws -> (
        server: RelayServer, url: String
    ) {
        let (server, port) = try await SideListener.start(
            responder, on: RelayServer.Address(host: "127.0.0.1", port: 0), log: log)
        return (server, "http://127.0.0.1:\(port)")
    }
}
