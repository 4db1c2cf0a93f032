// SPDX-License-Identifier: Apache-2.0

internal import GatewayCore
internal import GatewayPolicy
internal import GatewayProviders
internal import GatewayRelay
internal import Logging

/// A listener of the process's own, beside the gateway's: it knows no bearers and relays nothing.
enum SideListener {
    /// - Returns: The server and the port that it listens on.
    static func start(_ responder: some PlainResponder, on address: RelayServer.Address, log: Logger) async throws -> (
        server: RelayServer, port: Int
    ) {
        let configuration = RelayConfiguration(
            edge: EdgeSettings(), upstreams: [],
            catalog: ModelCatalog(custom: [], includesBuiltIns: false, upstreams: []),
            policies: ManagedPolicies(policies: []), firstByteTimeout: .seconds(1),
            addressGuard: AddressGuard(allowsLoopback: true))
        let server = try await RelayServer(
            services: RelayServices(audit: NoAudit(), log: log),
            serving: RelayServing(configuration: configuration, verifier: NoBearers(), responder: responder))
        return (server, try await server.listen(address, tls: nil))
    }

    private struct NoBearers: BearerVerifying {
        func verify(_ token: String, now: Timestamp) -> VerifiedBearer? { nil }
    }

    private struct NoAudit: AuditSink {
        func record(_ event: AuditEvent) {}
    }
}
