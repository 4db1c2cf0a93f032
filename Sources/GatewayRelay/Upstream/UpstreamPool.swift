// SPDX-License-Identifier: Apache-2.0

internal import GatewayCore
internal import NIOCore
internal import NIOHTTP1
internal import NIOHTTPCompression
internal import NIOPosix
internal import NIOSSL

/// Keep-alive connections to one upstream on one event loop. Last in, first out: what was used last is the least likely
/// to have been closed by the other side, and the rest can time out.
final class UpstreamPool {
    private static let maximumIdle = 512
    private static let idleTimeout = TimeAmount.seconds(60)

    private let loop: any EventLoop
    private let url: WebURL
    private let rule: AddressGuard
    private let tls: NIOSSLContext?
    private let connectTimeout: TimeAmount
    private var idle: [(connection: UpstreamConnection, since: NIODeadline)] = []
    private var sweep: Scheduled<Void>?
    private var isClosed = false

    init(
        url: WebURL, loop: any EventLoop, rule: AddressGuard, tls: NIOSSLContext?,
        connectTimeout: TimeAmount = .seconds(10)
    ) {
        self.url = url
        self.loop = loop
        self.rule = rule
        self.tls = url.isSecure ? tls : nil
        self.connectTimeout = connectTimeout
    }

    /// Hands out a connection, at once when an idle one is there.
    ///
    /// - Parameter fresh: Asks for a new connection, after a reused one turned out to be stale.
    func withConnection(fresh: Bool = false, _ body: @escaping (Result<UpstreamConnection, any Error>) -> Void) {
        if !fresh {
            while let last = self.idle.popLast() {
                if last.connection.isUsable {
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
        let bound = NIOLoopBound(self, eventLoop: self.loop)
        let done = NIOLoopBound(body, eventLoop: self.loop)
        let (tls, host) = (self.tls, self.url.host)
        let bootstrap = ClientBootstrap(group: self.loop)
            .resolver(GuardedResolver(rule: self.rule, loop: self.loop))
            .connectTimeout(self.connectTimeout)
            .channelOption(.socketOption(.tcp_nodelay), value: 1)
            .channelOption(.socketOption(.so_keepalive), value: 1)
            .channelOption(.allowRemoteHalfClosure, value: false)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    let pool = bound.value
                    let operations = channel.pipeline.syncOperations
                    if let tls {
                        let isName = IPAddress(host) == nil
                        try operations.addHandler(
                            NIOSSLClientHandler(context: tls, serverHostname: isName ? host : nil))
                    }
                    try operations.addHandler(HTTPRequestEncoder())
                    try operations.addHandler(
                        ByteToMessageHandler(HTTPResponseDecoder(leftOverBytesStrategy: .dropBytes)))
                    try operations.addHandler(NIOHTTPResponseDecompressor(limit: .none))
                    let connection = UpstreamConnection(
                        onIdle: { [weak pool] connection in
                            if let pool { pool.release(connection) } else { connection.abandon() }
                        }, onClose: { _ in })
                    try operations.addHandler(connection)
                }
            }
        bootstrap.connect(host: host, port: self.url.port).whenComplete { result in
            switch result {
            case .failure(let error): done.value(.failure(error))
            case .success(let channel):
                done.value(
                    Result {
                        try channel.pipeline.syncOperations.handler(type: UpstreamConnection.self)
                    })
            }
        }
    }

    private func release(_ connection: UpstreamConnection) {
        guard !self.isClosed, self.idle.count < Self.maximumIdle else {
            connection.abandon()
            return
        }
        self.idle.append((connection, .now()))
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
