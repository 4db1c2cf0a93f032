// SPDX-License-Identifier: Apache-2.0

internal import NIOCore
internal import NIOPosix
internal import Synchronization

/// Passes TCP connections on to a port of this machine, until it is cut: then open connections are dropped and new ones
/// closed, as when a server is stopped.
package final class CuttableProxy: Sendable {
    private struct State {
        var isCut = false
        var open: [ObjectIdentifier: any Channel] = [:]
    }

    private let state = Mutex(State())
    private let listener = Mutex<(any Channel)?>(nil)

    package init() {}

    /// - Returns: The proxy's own port.
    package func start(to port: Int) async throws -> Int {
        let channel = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .childChannelOption(.autoRead, value: false)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(Front(self, port))
                }
            }
            .bind(host: "127.0.0.1", port: 0).get()
        self.listener.withLock { $0 = channel }
        return channel.localAddress?.port ?? 0
    }

    package func cut() {
        let open = self.state.withLock { state in
            state.isCut = true
            return Array(state.open.values)
        }
        for channel in open { channel.close(promise: nil) }
    }

    package func mend() {
        self.state.withLock { $0.isCut = false }
    }

    package func stop() async {
        self.cut()
        let channel = self.listener.withLock { $0 }
        try? await channel?.close().get()
    }

    private func note(_ channel: any Channel) -> Bool {
        let isOpen = self.state.withLock { state -> Bool in
            if !state.isCut { state.open[ObjectIdentifier(channel)] = channel }
            return !state.isCut
        }
        channel.closeFuture.whenComplete { _ in
            self.state.withLock { $0.open[ObjectIdentifier(channel)] = nil }
        }
        return isOpen
    }

    /// A client's connection, which is not read before there is one to the server.
    private final class Front: ChannelInboundHandler {
        typealias InboundIn = ByteBuffer

        private let proxy: CuttableProxy
        private let port: Int

        init(_ proxy: CuttableProxy, _ port: Int) {
            self.proxy = proxy
            self.port = port
        }

        func channelActive(context: ChannelHandlerContext) {
            let (channel, proxy) = (context.channel, self.proxy)
            guard proxy.note(channel) else {
                channel.close(promise: nil)
                return
            }
            ClientBootstrap(group: context.eventLoop)
                .channelInitializer { other in
                    other.eventLoop.makeCompletedFuture {
                        try other.pipeline.syncOperations.addHandler(Forwarder(to: channel))
                    }
                }
                .connect(host: "127.0.0.1", port: self.port)
                .whenComplete { result in
                    guard case .success(let other) = result, proxy.note(other) else {
                        channel.close(promise: nil)
                        return
                    }
                    try? channel.pipeline.syncOperations.addHandler(Forwarder(to: other))
                    channel.setOption(.autoRead, value: true).whenComplete { _ in channel.read() }
                }
        }
    }
}

/// Writes what it reads to another channel of the same loop.
final class Forwarder: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer

    private let other: any Channel

    init(to other: any Channel) {
        self.other = other
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        self.other.writeAndFlush(self.unwrapInboundIn(data), promise: nil)
    }

    func channelInactive(context: ChannelHandlerContext) {
        self.other.close(promise: nil)
    }
}
