// SPDX-License-Identifier: Apache-2.0

internal import GatewayCore
internal import NIOCore
internal import NIOExtras
internal import NIOHTTP1
internal import NIOSSL

/// Keep-alive connections to one upstream on one event loop. Last in, first out: what was used last is the least likely
/// to have been closed by the other side, and the rest can time out.
final class UpstreamPool {
    private static let maximumIdle = 512
    private static let idleTimeout = TimeAmount.seconds(60)

    private let loop: PollLoop
    private let route: UpstreamRoute
    private let rule: AddressGuard
    private let connectTimeout: TimeAmount
    private var idle: [(connection: UpstreamConnection, since: NIODeadline)] = []
    private var sweep: Scheduled<Void>?
    private var isClosed = false

    init(route: UpstreamRoute, loop: PollLoop, rule: AddressGuard, connectTimeout: TimeAmount = .seconds(10)) {
        self.route = route
        self.loop = loop
        self.rule = rule
        self.connectTimeout = connectTimeout
    }

    /// Hands out a connection, at once when an idle one is there.
    ///
    /// - Parameter fresh: Asks for a new connection, after a reused one turned out to be stale.
    func withConnection(fresh: Bool = false, _ body: @escaping (Result<UpstreamConnection, any Error>) -> Void) {
        if !fresh {
            while let last = self.idle.popLast() {
                if last.connection.isUsable {
                    last.connection.idleTime = self.loop.eventTime - last.since
                    body(.success(last.connection))
                    return
                }
            }
        }
        self.connect(body)
    }

    func close() {
        self.isClosed = true
        self.sweep?.cancel()
        let all = self.idle
        self.idle = []
        for entry in all { entry.connection.abandon() }
    }

    private func connect(_ body: @escaping (Result<UpstreamConnection, any Error>) -> Void) {
        let url = self.route.url
        // A proxy resolves the upstream's name: what can be judged without resolving is judged here.
        if self.route.proxy != nil, let refusal = self.rule.refusal(ofHost: url.host) {
            body(.failure(UpstreamConnectError.blocked(url.host, refusal.description)))
            return
        }
        let deadline = NIODeadline.now() + self.connectTimeout
        let (host, port) = (self.route.proxy?.host ?? url.host, self.route.proxy?.port ?? url.port)
        let loop = self.loop
        GuardedResolver.resolve(
            host: host, port: port, rule: self.route.proxy == nil ? self.rule : nil, on: loop
        ) { result in
            switch result {
            case .failure(let error): body(.failure(error))
            case .success(let addresses):
                Connector.connect(to: addresses, by: deadline, on: loop) { result in
                    switch result {
                    case .failure(let error): body(.failure(error))
                    case .success(let descriptor): self.open(descriptor, by: deadline, body)
                    }
                }
            }
        }
    }

    /// Makes a connection ready on a connected socket.
    private func open(
        _ descriptor: Int32, by deadline: NIODeadline,
        _ body: @escaping (Result<UpstreamConnection, any Error>) -> Void,
    ) {
        let route = self.route
        let connection = UpstreamConnection(
            onIdle: { connection in self.release(connection) }, absoluteForm: route.absoluteForm)
        let isPlain = route.tls == nil && route.proxyTLS == nil
        // Answers pass, and what is kept of them is copied; handlers of NIO's keep what they like.
        let socket = Socket(descriptor, loop: self.loop, copiesReads: !isPlain)
        if isPlain {
            connection.opened(.socket(socket))
            let isOpen = socket.start(connection)
            body(isOpen ? .success(connection) : .failure(UpstreamConnectError.noRoom))
            return
        }
        var tunnel: EventLoopFuture<Void>?
        do {
            let channel = try SocketChannel.open(socket) { channel in
                if let proxy = route.proxy, let tls = route.proxyTLS {
                    try Self.addTLS(tls, host: proxy.host, to: channel)
                }
                if route.tunnels {
                    tunnel = try self.openTunnel(on: channel, by: deadline, to: connection)
                } else {
                    try self.addHandlers(for: connection, to: channel)
                }
            }
            guard channel.isActive || tunnel != nil else { throw UpstreamConnectError.noRoom }
        } catch {
            body(.failure(error))
            return
        }
        if let tunnel {
            tunnel.assumeIsolated().whenComplete { result in body(result.map { connection }) }
        } else {
            body(.success(connection))
        }
    }

    private static func addTLS(_ context: NIOSSLContext, host: String, to channel: any Channel) throws {
        let name = IPAddress(host) == nil ? host : nil
        try channel.pipeline.syncOperations.addHandler(NIOSSLClientHandler(context: context, serverHostname: name))
    }

    /// Asks the proxy for a tunnel to the upstream, and speaks with the upstream through it.
    private func openTunnel(
        on channel: any Channel, by deadline: NIODeadline, to connection: UpstreamConnection,
    ) throws -> EventLoopFuture<Void> {
        let route = self.route
        guard let proxy = route.proxy else { return self.loop.makeSucceededVoidFuture() }
        let (host, port) = (route.url.host, route.url.port)
        let authority = WebURL.bracketed(host)
        var headers: HTTPHeaders = ["host": "\(authority):\(port)"]
        if let authorization = proxy.authorization {
            headers.add(name: "proxy-authorization", value: authorization.reveal())
        }
        let isOpen = self.loop.makePromise(of: Void.self)
        let operations = channel.pipeline.syncOperations
        let encoder = HTTPRequestEncoder()
        let decoder = ByteToMessageHandler(HTTPResponseDecoder(leftOverBytesStrategy: .dropBytes))
        let connect = NIOHTTP1ProxyConnectHandler(
            targetHost: authority, targetPort: port, headers: headers, deadline: deadline, promise: isOpen)
        // An answer that is no HTTP ends the attempt at once.
        try operations.addHandlers([encoder, decoder, connect, NIOCloseOnErrorHandler()])
        return isOpen.futureResult.assumeIsolated()
            .flatMapError { error in
                channel.close(promise: nil)
                return channel.eventLoop.makeFailedFuture(
                    UpstreamConnectError.proxy(proxy.host, Self.reason(error)))
            }
            .flatMap { operations.removeHandler(encoder) }
            .flatMap { operations.removeHandler(decoder) }
            .flatMapThrowing { try self.addHandlers(for: connection, to: channel) }
            .nonisolated()
    }

    private static func reason(_ error: any Error) -> String {
        guard let error = error as? NIOHTTP1ProxyConnectHandler.Error else { return "closed the connection" }
        if error == .proxyAuthenticationRequired() { return "wants a user and a password; write them into its URL" }
        if error == .httpProxyHandshakeTimeout() { return "did not answer CONNECT in time" }
        let refused = NIOHTTP1ProxyConnectHandler.Error.invalidProxyResponseHead(
            HTTPResponseHead(version: .http1_1, status: .forbidden))
        return error == refused ? "refused the connection to the upstream" : "closed the connection"
    }

    /// The handlers that speak with the upstream itself.
    private func addHandlers(for connection: UpstreamConnection, to channel: any Channel) throws {
        if let tls = self.route.tls { try Self.addTLS(tls, host: self.route.url.host, to: channel) }
        try channel.pipeline.syncOperations.addHandler(UpstreamHandler(connection))
    }

    private func release(_ connection: UpstreamConnection) {
        guard !self.isClosed, self.idle.count < Self.maximumIdle else {
            connection.abandon()
            return
        }
        self.idle.append((connection, self.loop.eventTime))
        self.scheduleSweep()
    }

    private func scheduleSweep() {
        guard self.sweep == nil else { return }
        let bound = NIOLoopBound(self, eventLoop: self.loop)
        self.sweep = self.loop.scheduleTask(in: Self.idleTimeout) {
            let pool = bound.value
            pool.sweep = nil
            let limit = NIODeadline.now() - Self.idleTimeout
            let old = pool.idle.prefix { $0.since <= limit }
            pool.idle.removeFirst(old.count)
            for entry in old { entry.connection.abandon() }
            if !pool.idle.isEmpty { pool.scheduleSweep() }
        }
    }
}
