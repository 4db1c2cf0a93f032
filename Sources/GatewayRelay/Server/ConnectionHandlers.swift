// SPDX-License-Identifier: Apache-2.0

internal import NIOCore
internal import NIOHTTP1

/// Stands in a channel's pipeline for a connection, which hears from it what happens there.
protocol ConnectionHandler: ChannelInboundHandler {
    var connection: ServerConnection { get }
}

extension ConnectionHandler {
    func handlerAdded(context: ChannelHandlerContext) {
        self.connection.opened(.channel(context.channel))
    }

    func channelInactive(context: ChannelHandlerContext) {
        self.connection.closed()
        context.fireChannelInactive()
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

/// Gives a connection the bytes of HTTP/1.1 as they come.
final class HTTP1ConnectionHandler: ConnectionHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    let connection: ServerConnection

    init(_ shared: RelayLoop) {
        self.connection = ServerConnection(shared: shared)
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        self.connection.receive(self.unwrapInboundIn(data))
    }
}

/// Gives a connection the one request of an HTTP/2 stream.
final class StreamConnectionHandler: ConnectionHandler {
    typealias InboundIn = HTTPServerRequestPart
    typealias OutboundOut = HTTPServerResponsePart

    let connection: ServerConnection

    init(_ shared: RelayLoop) {
        self.connection = ServerConnection(shared: shared, isStream: true)
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
}
