// SPDX-License-Identifier: Apache-2.0

internal import NIOCore

/// Ends an HTTP/2 connection behind an error of the connection (RFC 9113 §5.4.1): the HTTP/2 handler says GOAWAY and goes
/// on reading, and keeps what comes. An error of one stream ends that stream only, and looks the same from here but for
/// the GOAWAY.
enum ConnectionErrors {
    /// Between the network and the HTTP/2 handler, which writes frame by frame.
    final class GoAwayWatch: ChannelOutboundHandler {
        typealias OutboundIn = ByteBuffer
        typealias OutboundOut = ByteBuffer

        fileprivate private(set) var hasSaidGoAway = false

        func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
            if !self.hasSaidGoAway { self.hasSaidGoAway = Self.isGoAway(self.unwrapOutboundIn(data)) }
            context.write(data, promise: promise)
        }

        /// A frame of that type on the connection itself, without debug data, and with another code than NO_ERROR
        /// (RFC 9113 §4.1 and §6.8).
        private static func isGoAway(_ frame: ByteBuffer) -> Bool {
            let start = frame.readerIndex
            return frame.readableBytes == 17 && frame.getInteger(at: start, as: UInt32.self) == 0x0000_0807
                && frame.getInteger(at: start + 4, as: UInt8.self) == 0
                && frame.getInteger(at: start + 5, as: UInt32.self) == 0
                && frame.getInteger(at: start + 13, as: UInt32.self) != 0
        }
    }

    /// Behind the HTTP/2 handler.
    final class Closer: ChannelInboundHandler {
        typealias InboundIn = NIOAny

        private let watch: GoAwayWatch

        init(_ watch: GoAwayWatch) {
            self.watch = watch
        }

        func errorCaught(context: ChannelHandlerContext, error: any Error) {
            if self.watch.hasSaidGoAway { context.close(promise: nil) }
        }
    }
}
