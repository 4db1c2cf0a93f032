// SPDX-License-Identifier: Apache-2.0

internal import NIOCore
internal import NIOHTTP1
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

    private let loops: [NIOLoopBound<RelayLoop>]
    private let listener = Mutex<NIOLoopBound<Listener>?>(nil)

    package init(
        services: RelayServices, serving: RelayServing,
        on group: PollLoops = .shared,
    ) async throws {
        var loops: [NIOLoopBound<RelayLoop>] = []
        let departure = Departure()
        for loop in group.all {
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
        let loops = self.loops
        let resolved = try SocketAddress.makeAddressResolvingHost(address.host, port: address.port)
        let first = loops[0].eventLoop
        let (listener, port) = try await first.submit {
            var next = 0
            let listener = try Listener(resolved, loop: loops[0].value.loop) { descriptor in
                let shared = loops[next]
                next = (next + 1) % loops.count
                shared.eventLoop.execute { Self.serve(descriptor, shared.value, tls) }
            }
            try listener.start()
            return (NIOLoopBound(listener, eventLoop: first), listener.port)
        }.get()
        self.listener.withLock { $0 = listener }
        return port ?? address.port
    }

    private static func serve(_ descriptor: Int32, _ shared: RelayLoop, _ tls: (@Sendable () -> NIOSSLContext)?) {
        descriptor.setConnectionOptions()
        if let tls {
            let socket = Socket(descriptor, loop: shared.loop)
            // Without handlers nothing is served.
            _ = try? SocketChannel.open(socket) { try ConnectionPipeline.addTLS(tls(), to: $0, shared) }
            return
        }
        let socket = Socket(descriptor, loop: shared.loop, readLimit: ServerConnection.readLimit)
        let connection = ServerConnection(shared: shared)
        connection.opened(.socket(socket))
        if !socket.start(connection) { connection.closed() }
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
        if let listener { try? await listener.eventLoop.submit { listener.value.close() }.get() }
        for bound in self.loops {
            try? await bound.eventLoop.submit { bound.value.cut() }.get()
        }
        return open
    }
}
