// SPDX-License-Identifier: Apache-2.0

internal import NIOCore
internal import NIOHTTP1

/// Gives a connection the bytes of HTTP/1.1 as they come.
final class HTTP1ConnectionHandler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private let connection: ServerConnection

    init(_ shared: RelayLoop) {
        self.connection = ServerConnection(shared: shared)
    }

    func handlerAdded(context: ChannelHandlerContext) {
        self.connection.opened(context.channel)
    }

    func channelInactive(context: ChannelHandlerContext) {
        self.connection.closed()
        context.fireChannelInactive()
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        self.connection.receive(self.unwrapInboundIn(data))
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        self.connection.flushIfNeeded()
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        self.connection.writabilityChanged()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        context.close(promise: nil)
    }
}

/// Gives a connection the one request of an HTTP/2 stream.
final class StreamConnectionHandler: ChannelInboundHandler {
    typealias InboundIn = HTTPServerRequestPart
    typealias OutboundOut = HTTPServerResponsePart

    private let connection: ServerConnection

    init(_ shared: RelayLoop) {
        self.connection = ServerConnection(shared: shared, isStream: true)
    }

    func handlerAdded(context: ChannelHandlerContext) {
        self.connection.opened(context.channel)
    }

    func channelInactive(context: ChannelHandlerContext) {
        self.connection.closed()
        context.fireChannelInactive()
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch self.unwrapInboundIn(data) {
        case .head(let head):
            do throws(HTTPSyntaxError) {
                self.connection.handle(.head(try RequestHead(head)))
            } catch {
                self.connection.refuseMalformed(error)
            }
        case .body(let bytes): self.connection.handle(.body(bytes))
        case .end: self.connection.handle(.end)
        }
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        self.connection.flushIfNeeded()
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        self.connection.writabilityChanged()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        context.close(promise: nil)
    }
}
