// SPDX-License-Identifier: Apache-2.0

internal import GatewayCore
internal import GatewayProviders
internal import NIOCore

/// What an exchange hears from the upstream. All calls come on the exchange's event loop.
protocol UpstreamDelegate: AnyObject {
    func upstreamAnswered(_ head: ResponseHead)
    /// - Parameter framed: The same bytes as one chunk of the chunked transfer coding, where they came as one.
    func upstreamSent(_ bytes: ByteBuffer, framed: ByteBuffer?)
    /// The bytes of one read are through; now is the time to flush.
    func upstreamPaused()
    func upstreamFinished()
    /// The connection broke before the answer was complete.
    func upstreamBroke(_ reason: String)
}

/// One connection to an upstream, confined to its event loop. It carries one exchange at a time and goes back to its
/// pool when an answer ended cleanly.
final class UpstreamConnection {
    private enum State {
        case idle
        case waitingForHead
        case receiving(keepsAlive: Bool)
        case closed
    }

    /// A body up to this length leaves in one write with its head.
    private static let smallBody = 8 << 10

    private var transport: Transport?
    private var state = State.idle
    /// Held while its exchange runs, and never longer.
    private var delegate: (any UpstreamDelegate)?
    private var parser = ResponseParser()
    /// What has come and was not read yet.
    private var inbox = Inbox()
    private var inflater: Inflater?
    private var hasLargeRequest = false
    /// Puts the connection back, or forgets it.
    private let onIdle: (UpstreamConnection) -> Void
    /// Whether an earlier exchange ran on this connection, which may then have been closed by the other side unnoticed.
    private(set) var isReused = false
    /// How long it was idle before its current exchange.
    var idleTime = TimeAmount.zero

    /// Set when a proxy reads the requests.
    private let absoluteForm: (prefix: String, authorization: Secret?)?

    init(
        onIdle: @escaping (UpstreamConnection) -> Void, absoluteForm: (prefix: String, authorization: Secret?)? = nil,
    ) {
        self.absoluteForm = absoluteForm
        self.onIdle = onIdle
    }

    var isUsable: Bool {
        if case .idle = self.state { self.transport?.isActive ?? false } else { false }
    }

    func opened(_ transport: Transport) {
        self.transport = transport
    }

    // MARK: Sending

    /// Sends a whole request. `slices` are the body, in order.
    func send(
        _ request: UpstreamRequest, slices: [ByteBuffer], _ credential: ResolvedCredential?,
        for delegate: any UpstreamDelegate,
    ) {
        guard let transport else { return }
        self.delegate = delegate
        self.state = .waitingForHead
        self.parser.expectResponse()
        let length = slices.reduce(0) { $0 + $1.readableBytes }
        self.hasLargeRequest = length > Self.smallBody
        // With room for the start line, a bearer and the length.
        let head = request.headers.bytes.count + request.target.utf8.count + 256
        var lines = FieldLines(capacity: head + (self.hasLargeRequest ? 0 : length))
        lines.addRequestLine(prefix: self.absoluteForm?.prefix ?? "", target: request.target)
        lines.add(request.headers)
        for (name, value) in request.signature(slices, credential) { lines.add(name: name, value) }
        if let authorization = self.absoluteForm?.authorization {
            lines.add("proxy-authorization", authorization.reveal())
        }
        lines.add("content-length", length)
        lines.add(lines: "\r\n")
        guard self.hasLargeRequest else {
            for slice in slices { lines.add(body: slice) }
            lines.writer.withBytes { transport.writeAndFlush(UnsafeRawBufferPointer($0)) }
            return
        }
        transport.write(lines.buffer())
        for slice in slices where slice.readableBytes > 0 { transport.write(slice) }
        transport.flush()
    }

    /// Whether the request has left; an upstream may answer before it has taken all of it.
    private var isRequestSent: Bool {
        !self.hasLargeRequest || self.transport?.pendingBytes == 0
    }

    /// Stops or resumes reading, so that a slow client slows its upstream.
    func setReading(_ isOn: Bool) {
        guard let transport, transport.isActive else { return }
        transport.setReading(isOn)
        self.isReadingStopped = !isOn
    }

    private var isReadingStopped = false

    /// Ends the exchange from this side: the connection is of no further use.
    func abandon() {
        self.delegate = nil
        self.close()
    }

    private func close() {
        if case .closed = self.state { return }
        self.state = .closed
        self.inbox.clear()
        self.inflater = nil
        self.transport?.close()
    }

    // MARK: Receiving

    func socketReceived(_ bytes: ByteBuffer) {
        if case .closed = self.state { return }
        self.inbox.add(bytes)
        do throws(HTTPSyntaxError) {
            while let event = try self.next() {
                self.receive(event)
                if case .closed = self.state { return }
            }
        } catch {
            self.broke("the answer is no HTTP/1.1 (\(error))")
            return
        }
        self.inbox.compact()
    }

    @inline(__always)
    private func next() throws(HTTPSyntaxError) -> ResponseParser.Event? {
        try self.inbox.read { bytes throws(HTTPSyntaxError) in try self.parser.next(&bytes) }
    }

    private func receive(_ event: ResponseParser.Event) {
        switch event {
        case .head(let head):
            if head.status < 200 { return }
            self.state = .receiving(keepsAlive: head.keepsAlive)
            self.inflater = ResponseFilter.isDecoded(head) ? Inflater() : nil
            self.delegate?.upstreamAnswered(head)
        case .body(let bytes, let framed):
            guard let inflater else {
                self.delegate?.upstreamSent(bytes, framed: framed)
                return
            }
            do throws(Inflater.Failure) {
                try inflater.receive(bytes) { self.delegate?.upstreamSent($0, framed: nil) }
            } catch {
                self.broke("the answer is not in the coding that it claims")
            }
        case .end: self.finished()
        }
    }

    private func finished() {
        let delegate = self.delegate
        self.delegate = nil
        self.inflater = nil
        if case .receiving(keepsAlive: true) = self.state, self.inbox.count == 0, self.isRequestSent,
            self.transport?.isActive == true
        {
            self.state = .idle
            self.isReused = true
            if self.isReadingStopped { self.setReading(true) }
            self.onIdle(self)
        } else {
            self.close()
        }
        delegate?.upstreamFinished()
    }

    func socketPaused() {
        self.delegate?.upstreamPaused()
    }

    /// What waits to leave is the request, which is there whole.
    func socketWritabilityChanged() {}

    func socketClosed(_ error: SocketError?) {
        if case .closed = self.state { return }
        if let error {
            self.broke(error.description)
        } else if self.parser.close() {
            self.state = .receiving(keepsAlive: false)
            self.finished()
        } else {
            self.broke("the connection was closed")
        }
    }

    func broke(_ reason: String) {
        let delegate = self.delegate
        self.delegate = nil
        self.close()
        delegate?.upstreamBroke(reason)
    }
}

extension UpstreamConnection: SocketUser {}

/// Gives an upstream connection what comes through TLS.
final class UpstreamHandler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    let connection: UpstreamConnection
    private var didRead = false

    init(_ connection: UpstreamConnection) {
        self.connection = connection
    }

    func handlerAdded(context: ChannelHandlerContext) {
        self.connection.opened(.channel(context.channel))
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        self.didRead = true
        self.connection.socketReceived(self.unwrapInboundIn(data))
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        if self.didRead {
            self.didRead = false
            self.connection.socketPaused()
        }
    }

    func channelInactive(context: ChannelHandlerContext) {
        self.connection.socketClosed(nil)
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        self.connection.broke("\(error)")
    }
}
