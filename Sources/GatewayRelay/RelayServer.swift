// SPDX-License-Identifier: Apache-2.0

internal import NIOCore
internal import NIOHTTP1
package import NIOPosix
package import NIOSSL
internal import Synchronization

/// The listener: accepts connections on every event loop and serves them until it is drained.
package final class RelayServer: Sendable {
    /// Where to listen.
    package struct Address: Sendable, Equatable {
        package let host: String
        package let port: Int

        package init(host: String, port: Int) {
            self.host = host
            self.port = port
        }
    }

    private let group: MultiThreadedEventLoopGroup
    private let loops: [NIOLoopBound<RelayLoop>]
    private let listener = Mutex<(any Channel)?>(nil)

    package init(
        services: RelayServices, serving: RelayServing,
        group: MultiThreadedEventLoopGroup = .singleton,
    ) async throws {
        self.group = group
        var loops: [NIOLoopBound<RelayLoop>] = []
        let departure = Departure()
        for loop in group.makeIterator() {
            loops.append(
                try await loop.submit {
                    NIOLoopBound(
                        RelayLoop(loop: loop, services: services, serving: serving, departure: departure),
                        eventLoop: loop)
                }.get())
        }
        self.loops = loops
    }

    /// Starts to accept connections.
    ///
    /// - Parameter tls: Makes the context for a new connection, so that renewed certificates are taken up; `nil` for
    ///   plain HTTP.
    /// - Returns: The port, which the system has chosen when `address.port` is 0.
    package func listen(_ address: Address, tls: (@Sendable () -> NIOSSLContext)?) async throws -> Int {
        let loops = Dictionary(uniqueKeysWithValues: self.loops.map { (ObjectIdentifier($0.eventLoop), $0) })
        let channel = try await ServerBootstrap(group: self.group)
            .serverChannelOption(.backlog, value: 4096)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .childChannelOption(.tcpOption(.tcp_nodelay), value: 1)
            .childChannelOption(.socketOption(.so_keepalive), value: 1)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    guard let shared = loops[ObjectIdentifier(channel.eventLoop)] else {
                        preconditionFailure("a connection runs on a loop of the server's own group")
                    }
                    if let tls {
                        try ConnectionPipeline.addTLS(tls(), to: channel, shared.value)
                    } else {
                        try ConnectionPipeline.addHTTP1(to: channel, shared.value)
                    }
                }
            }
            .bind(host: address.host, port: address.port).get()
        self.listener.withLock { $0 = channel }
        return channel.localAddress?.port ?? address.port
    }

    /// Uses another configuration for the requests that begin from now on.
    package func replace(_ serving: RelayServing) async throws {
        for bound in self.loops {
            try await bound.eventLoop.submit { bound.value.replace(serving) }.get()
        }
    }

    /// Requests that are being answered, on all loops.
    package func openRequests() async -> Int {
        var count = 0
        for bound in self.loops {
            count += (try? await bound.eventLoop.submit { bound.value.openRequests }.get()) ?? 0
        }
        return count
    }

    /// Closes idle connections and waits for open requests to end. Until then health probes are still answered:
    /// `/readyz` with 503, and `/healthz` with 200 once a probe has heard that. Every other new connection is closed
    /// without an answer, so that its client goes elsewhere.
    ///
    /// - Returns: How many requests were still open at the deadline and have been cut.
    package func drain(within limit: Duration, isHurried: @escaping @Sendable () -> Bool) async -> Int {
        for bound in self.loops {
            try? await bound.eventLoop.submit { bound.value.drain() }.get()
        }
        let deadline = ContinuousClock.now + limit
        var open = await self.openRequests()
        while open > 0, ContinuousClock.now < deadline, !isHurried() {
            try? await Task.sleep(for: .milliseconds(20))
            open = await self.openRequests()
        }
        let listener = self.listener.withLock { $0 }
        try? await listener?.close().get()
        for bound in self.loops {
            try? await bound.eventLoop.submit { bound.value.cut() }.get()
        }
        return open
    }
}
