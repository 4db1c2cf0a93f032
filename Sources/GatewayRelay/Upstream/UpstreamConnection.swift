// SPDX-License-Identifier: Apache-2.0

internal import GatewayCore
internal import NIOCore
internal import NIOHTTP1

/// What an exchange hears from the upstream. All calls come on the exchange's event loop.
protocol UpstreamDelegate: AnyObject {
    func upstreamAnswered(_ head: HTTPResponseHead)
    func upstreamSent(_ bytes: ByteBuffer)
    /// The bytes of one read are through; now is the time to flush.
    func upstreamPaused()
    func upstreamFinished()
    /// The connection broke before the answer was complete.
    func upstreamBroke(_ reason: String)
    /// The upstream takes bytes again, or stopped taking them.
    func upstreamWritabilityChanged(_ isWritable: Bool)
}

/// One connection to an upstream, confined to its event loop. It carries one exchange at a time and goes back to its
/// pool when an answer ended cleanly.
final class UpstreamConnection: ChannelInboundHandler, RemovableChannelHandler {
    typealias InboundIn = HTTPClientResponsePart
    typealias OutboundOut = HTTPClientRequestPart

    private enum State {
        case idle
        case waitingForHead
        case receiving(keepsAlive: Bool)
        case closed
    }

    private(set) var channel: (any Channel)?
    private var state = State.idle
    private weak var delegate: (any UpstreamDelegate)?
    private var didRead = false
    /// Puts the connection back, or forgets it.
    private let onIdle: (UpstreamConnection) -> Void
    private let onClose: (UpstreamConnection) -> Void
    /// Whether an earlier exchange ran on this connection, which may then have been closed by the other side unnoticed.
    private(set) var isReused = false
    /// Since when it has been idle, before its current exchange.
    private(set) var idleSince = NIODeadline.uptimeNanoseconds(0)
    private(set) var idleTime = TimeAmount.zero

    /// Set when a proxy reads the requests.
    private let absoluteForm: (prefix: String, authorization: Secret?)?

    init(
        onIdle: @escaping (UpstreamConnection) -> Void, onClose: @escaping (UpstreamConnection) -> Void,
        absoluteForm: (prefix: String, authorization: Secret?)? = nil,
    ) {
        self.absoluteForm = absoluteForm
        self.onIdle = onIdle
        self.onClose = onClose
    }

    var isUsable: Bool {
        if case .idle = self.state { self.channel?.isActive ?? false } else { false }
    }

    func handlerAdded(context: ChannelHandlerContext) {
        self.channel = context.channel
    }

    // MARK: Sending

    /// Sends a whole request. `slices` are the body, in order.
    func send(_ head: HTTPRequestHead, slices: [ByteBuffer], for delegate: any UpstreamDelegate) {
        guard let channel = self.channel else { return }
        self.delegate = delegate
        self.state = .waitingForHead
        if self.isReused { self.idleTime = .now() - self.idleSince }
        var head = head
        if let absoluteForm {
            head.uri = absoluteForm.prefix + head.uri
            if let authorization = absoluteForm.authorization {
                head.headers.add(name: "proxy-authorization", value: authorization.reveal())
            }
        }
        channel.write(HTTPClientRequestPart.head(head), promise: nil)
        for slice in slices where slice.readableBytes > 0 {
            channel.write(HTTPClientRequestPart.body(.byteBuffer(slice)), promise: nil)
        }
        channel.writeAndFlush(HTTPClientRequestPart.end(nil), promise: nil)
    }

    /// Whether the request has left; an upstream may answer before it has taken all of it.
    private var isRequestSent: Bool {
        (try? self.channel?.syncOptions?.getOption(.bufferedWritableBytes)) == 0
    }

    /// Stops or resumes reading, so that a slow client slows its upstream.
    func setReading(_ isOn: Bool) {
        guard let channel = self.channel, channel.isActive else { return }
        _ = try? channel.syncOptions?.setOption(.autoRead, value: isOn)
        if isOn { channel.read() }
    }

    /// Ends the exchange from this side: the connection is of no further use.
    func abandon() {
        self.delegate = nil
        self.close()
    }

    private func close() {
        if case .closed = self.state { return }
        self.state = .closed
        self.channel?.close(promise: nil)
        self.onClose(self)
    }

    // MARK: Receiving

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        self.didRead = true
        switch (self.unwrapInboundIn(data), self.state) {
        case (.head(let head), .waitingForHead):
            // 100 Continue and 103 Early Hints announce the real answer.
            if (100..<200).contains(head.status.code) { return }
            self.state = .receiving(keepsAlive: head.isKeepAlive)
            self.delegate?.upstreamAnswered(head)
        case (.body(let bytes), .receiving):
            self.delegate?.upstreamSent(bytes)
        case (.end, .receiving(let keepsAlive)):
            let delegate = self.delegate
            self.delegate = nil
            if keepsAlive, self.isRequestSent, context.channel.isActive {
                self.state = .idle
                self.isReused = true
                self.idleSince = .now()
                self.setReading(true)
                self.onIdle(self)
            } else {
                self.close()
            }
            delegate?.upstreamFinished()
        case (.end, .waitingForHead): break
        default:
            // Bytes that nobody asked for.
            self.close()
        }
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        if self.didRead {
            self.didRead = false
            self.delegate?.upstreamPaused()
        }
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        self.delegate?.upstreamWritabilityChanged(context.channel.isWritable)
    }

    func channelInactive(context: ChannelHandlerContext) {
        self.broke("the connection was closed")
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        self.broke("\(error)")
    }

    private func broke(_ reason: String) {
        let delegate = self.delegate
        self.delegate = nil
        self.close()
        delegate?.upstreamBroke(reason)
    }
}
