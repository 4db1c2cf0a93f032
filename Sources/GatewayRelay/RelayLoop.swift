// SPDX-License-Identifier: Apache-2.0

internal import GatewayCore
internal import GatewayProviders
internal import NIOCore

/// Everything that belongs to one event loop and is reached without locks: upstream connections, verified bearers, the
/// date, and the connections that are open.
final class RelayLoop {
    private static let maximumBearers = 8192

    let loop: any EventLoop
    let services: RelayServices
    private(set) var configuration: RelayConfiguration
    private var pools: [UpstreamPool]
    private var bearers: [String: Caller] = [:]
    private var connections: [ObjectIdentifier: ServerConnection] = [:]
    private(set) var isDraining = false
    private var date = (second: Int64(0), text: "")

    init(loop: any EventLoop, services: RelayServices, configuration: RelayConfiguration) {
        self.loop = loop
        self.services = services
        self.configuration = configuration
        self.pools = Self.makePools(configuration, loop)
    }

    private static func makePools(_ configuration: RelayConfiguration, _ loop: any EventLoop) -> [UpstreamPool] {
        configuration.upstreams.map { upstream in
            UpstreamPool(
                url: upstream.baseURL, loop: loop, rule: configuration.addressGuard, tls: configuration.upstreamTLS)
        }
    }

    /// Takes over another configuration for the requests that begin from now on.
    func replace(_ configuration: RelayConfiguration) {
        for pool in self.pools { pool.close() }
        self.configuration = configuration
        self.pools = Self.makePools(configuration, self.loop)
        self.bearers = [:]
    }

    func pool(ofUpstream index: Int) -> UpstreamPool {
        self.pools[index]
    }

    /// The caller whose bearer an `Authorization` header carries. The scheme is spelled exactly `Bearer `.
    func caller(authorization: String?) -> Result<Caller, BearerFailure> {
        guard let authorization else { return .failure(BearerFailure(problem: .missing)) }
        let now = Timestamp.now
        if let known = self.bearers[authorization] {
            if known.expiresAt > now.seconds { return .success(known) }
            self.bearers[authorization] = nil
            return .failure(BearerFailure(problem: .invalid))
        }
        guard authorization.hasPrefix("Bearer ") else { return .failure(BearerFailure(problem: .invalid)) }
        let token = String(authorization.dropFirst("Bearer ".count))
        guard let bearer = self.services.verifier.verify(token, now: now) else {
            return .failure(BearerFailure(problem: .invalid))
        }
        let caller = self.configuration.caller(bearer)
        if self.bearers.count >= Self.maximumBearers { self.bearers.removeAll(keepingCapacity: true) }
        self.bearers[authorization] = caller
        return .success(caller)
    }

    struct BearerFailure: Error {
        let problem: BearerProblem
    }

    /// The current time as an HTTP date (RFC 9110 §5.6.7), made once a second.
    var httpDate: String {
        let second = Timestamp.now.seconds
        if second != self.date.second { self.date = (second, HTTPDate.text(second: second)) }
        return self.date.text
    }

    // MARK: Connections

    func opened(_ connection: ServerConnection) {
        self.connections[ObjectIdentifier(connection)] = connection
    }

    func closed(_ connection: ServerConnection) {
        self.connections[ObjectIdentifier(connection)] = nil
    }

    /// Requests that are being answered.
    var openRequests: Int {
        self.connections.values.count { $0.isBusy }
    }

    /// Closes what is idle and lets what is busy end after its answer.
    func drain() {
        self.isDraining = true
        for connection in Array(self.connections.values) { connection.drain() }
    }

    func cut() {
        for connection in Array(self.connections.values) { connection.cut() }
        for pool in self.pools { pool.close() }
    }
}
