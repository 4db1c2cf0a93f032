// SPDX-License-Identifier: Apache-2.0

internal import NIOCore
internal import NIOHTTP2
internal import NIOSSL
internal import NIOTLS

/// The handlers of an accepted connection: HTTP/1.1 in the clear, and over TLS what its client prefers of HTTP/2
/// (RFC 9113) and HTTP/1.1. Each HTTP/2 stream is served by a `ServerConnection` of its own, as if it were a connection
/// with one request.
enum ConnectionPipeline {
    /// Requests that a client may have under way on one HTTP/2 connection.
    private static let maximumStreams = 128
    /// Bytes of a request's body that may come before they are asked for.
    private static let window = 1 << 20
    private static let minimumHeaderBytes = 64 << 10

    static func addTLS(_ context: NIOSSLContext, to channel: any Channel, _ shared: RelayLoop) throws {
        let bound = NIOLoopBound(shared, eventLoop: shared.loop)
        // Until the handshake is over, and with HTTP/2 until the first stream opens, there is nobody else to notice that
        // nothing comes.
        let limit = TimeAmount(shared.current.configuration.edge.timeouts.firstRequest)
        let deadline = shared.loop.scheduleTask(in: limit) { channel.close(promise: nil) }
        channel.closeFuture.whenComplete { _ in deadline.cancel() }
        let operations = channel.pipeline.syncOperations
        try operations.addHandler(NIOSSLServerHandler(context: context))
        try operations.addHandler(
            ApplicationProtocolNegotiationHandler { result, channel in
                channel.eventLoop.makeCompletedFuture {
                    if case .negotiated("h2") = result {
                        try self.addHTTP2(to: channel, bound.value, deadline)
                    } else {
                        deadline.cancel()
                        try self.addHTTP1(to: channel, bound.value)
                    }
                }
            })
    }

    static func addHTTP1(to channel: any Channel, _ shared: RelayLoop) throws {
        try channel.pipeline.syncOperations.addHandler(HTTP1ConnectionHandler(shared))
    }

    /// - Parameter firstStream: Closes the connection unless it is cancelled by then.
    private static func addHTTP2(
        to channel: any Channel, _ shared: RelayLoop, _ firstStream: Scheduled<Void>,
    ) throws {
        let edge = shared.current.configuration.edge
        var connection = NIOHTTP2Handler.ConnectionConfiguration()
        connection.initialSettings = [
            HTTP2Setting(parameter: .maxConcurrentStreams, value: self.maximumStreams),
            HTTP2Setting(
                parameter: .maxHeaderListSize, value: max(edge.maximumHeaderBytes ?? 0, self.minimumHeaderBytes)),
            HTTP2Setting(parameter: .initialWindowSize, value: self.window),
        ]
        connection.targetWindowSize = self.window
        var stream = NIOHTTP2Handler.StreamConfiguration()
        stream.targetWindowSize = self.window
        stream.outboundBufferSizeHighWatermark = 64 << 10
        stream.outboundBufferSizeLowWatermark = 32 << 10
        let management = NIOHTTP2ServerConnectionManagementHandler(
            eventLoop: shared.loop,
            configuration: .init(
                maxIdleTime: TimeAmount(edge.timeouts.idle), maxAge: nil,
                maxGraceTime: TimeAmount(edge.timeouts.stall),
                keepalive: .init(pingInterval: .seconds(120), ackTimeout: .seconds(30))))
        let bound = NIOLoopBound(shared, eventLoop: shared.loop)
        let operations = channel.pipeline.syncOperations
        let watch = ConnectionErrors.GoAwayWatch()
        try operations.addHandler(watch)
        _ = try operations.configureHTTP2Pipeline(
            mode: .server, connectionConfiguration: connection, streamConfiguration: stream,
            streamDelegate: management.http2StreamDelegate
        ) { stream in
            firstStream.cancel()
            return stream.eventLoop.makeCompletedFuture {
                try stream.pipeline.syncOperations.addHandler(HTTP2FramePayloadToHTTP1ServerCodec())
                try stream.pipeline.syncOperations.addHandler(StreamConnectionHandler(bound.value))
            }
        }
        try operations.addHandlers([management, ConnectionErrors.Closer(watch)])
        shared.openedMultiplexed(channel)
    }
}
