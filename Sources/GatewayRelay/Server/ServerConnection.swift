// SPDX-License-Identifier: Apache-2.0

package import GatewayCore
internal import GatewayPolicy
internal import GatewayProviders
internal import NIOCore
internal import NIOHTTP1

/// One client connection, confined to its event loop: takes requests one at a time, turns away what the edge rules
/// refuse, and hands the rest to an inference exchange or to the asynchronous routes.
final class ServerConnection: ChannelInboundHandler, RemovableChannelHandler {
    typealias InboundIn = HTTPServerRequestPart
    typealias OutboundOut = HTTPServerResponsePart

    /// A request of which the head is known.
    private struct Incoming {
        enum Destination {
            case inference(InboundCall.Endpoint, Caller)
            case plain
        }

        let head: HTTPRequestHead
        let target: RequestTarget
        let requestID: RequestID
        let client: IPAddress
        let destination: Destination
        let generation: RelayGeneration
        var body: ByteBuffer
    }

    private enum State {
        /// Waiting for a request.
        case idle
        case receiving(Incoming)
        /// The request is whole and being answered.
        case answering
        /// The answer is out, the rest of the request is being thrown away.
        case discarding
        /// Nothing more is read; the connection ends when the last bytes are out.
        case closing
    }

    /// A refused request's body up to this size is read and thrown away to keep the connection; a longer one ends it.
    private static let discardLimit = 1 << 18
    private static let pipelineLimit = 64

    private let shared: RelayLoop
    private var channel: (any Channel)!
    private var state = State.idle
    private var peer: IPAddress = IPAddress(bytes: [0, 0, 0, 0])!
    private var queue: [HTTPServerRequestPart] = []
    private var isTakingQueued = false
    private var keepsAlive = true
    private var version = HTTPVersion.http1_1
    private var isHead = false
    private var needsFlush = false
    private var requestID = RequestID()
    private var measured: Measured?
    private var exchange: InferenceExchange?
    private var task: Task<Void, Never>?
    private var exchangeNumber = 0
    private var hadRequest = false
    /// When this connection last got any further, as exact as the loop's clock.
    private var lastProgress: NIODeadline
    private var lastPendingBytes = 0
    private var isOutputClosed = false

    /// Whether this is a stream of an HTTP/2 connection, which carries one request.
    private let isStream: Bool

    init(shared: RelayLoop, isStream: Bool = false) {
        self.shared = shared
        self.isStream = isStream
        self.lastProgress = .now()
    }

    /// Whether an answer is owed or on its way.
    var isBusy: Bool {
        if case .answering = self.state { true } else { !self.isOutputClosed && self.pendingBytes > 0 }
    }

    /// Bytes of answers that the client has not taken yet.
    private var pendingBytes: Int {
        // A stream does not say how much waits, only whether it is too much.
        if self.isStream { return self.channel.isWritable ? 0 : 1 }
        return (try? self.channel.syncOptions?.getOption(.bufferedWritableBytes)) ?? 0
    }

    var isWritable: Bool { self.channel.isWritable }
    var services: RelayServices { self.shared.services }
    var loop: RelayLoop { self.shared }

    // MARK: Life

    func handlerAdded(context: ChannelHandlerContext) {
        self.channel = context.channel
        self.peer = context.channel.remoteAddress?.gatewayAddress ?? self.peer
        self.shared.opened(self)
    }

    func channelInactive(context: ChannelHandlerContext) {
        self.shared.closed(self)
        self.task?.cancel()
        self.task = nil
        let exchange = self.exchange
        self.exchange = nil
        self.state = .closing
        exchange?.clientLeft()
        if self.measured != nil {
            // The status that was sent, or that of a client who closed before there was one.
            if self.measured?.status == 0 { self.measured?.status = 499 }
            self.noteAnswered()
        }
        context.fireChannelInactive()
    }

    func drain() {
        switch self.state {
        case .answering, .closing: self.keepsAlive = false
        // The last answer may still be on its way to a slow client.
        case .idle where self.pendingBytes > 0, .discarding where self.pendingBytes > 0: self.linger()
        case .idle, .receiving, .discarding: self.channel.close(promise: nil)
        }
    }

    func cut() {
        self.channel.close(promise: nil)
    }

    private func progressed() {
        self.lastProgress = self.shared.now
    }

    /// Called at the loop's intervals: closes a connection that has got no further for too long.
    func checkProgress() {
        let pending = self.pendingBytes
        if pending != self.lastPendingBytes {
            self.lastPendingBytes = pending
            self.progressed()
        }
        let timeouts = self.shared.current.configuration.edge.timeouts
        let limit: Duration
        switch self.state {
        case .idle where pending > 0: limit = timeouts.stall
        case .idle: limit = self.hadRequest ? timeouts.idle : timeouts.firstRequest
        case .receiving, .discarding: limit = timeouts.body
        case .answering:
            self.exchange?.checkProgress(TimeAmount(timeouts.stall))
            guard pending > 0 else { return }
            limit = timeouts.stall
        case .closing: limit = self.isOutputClosed ? timeouts.linger : timeouts.stall
        }
        if self.shared.now - self.lastProgress > TimeAmount(limit) { self.channel.close(promise: nil) }
    }

    // MARK: Reading

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let part = self.unwrapInboundIn(data)
        if self.mustWait {
            // Pipelined behind a request that is still being answered.
            self.queue.append(part)
            if self.queue.count > Self.pipelineLimit { self.setReading(false) }
            return
        }
        self.handle(part)
    }

    /// Whether what arrives now has its turn later: an answer is owed, or the client does not take the ones it has.
    private var mustWait: Bool {
        if !self.queue.isEmpty { return true }
        switch self.state {
        case .answering: return true
        case .idle: return !self.channel.isWritable
        case .receiving, .discarding, .closing: return false
        }
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        self.flushIfNeeded()
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        self.exchange?.clientWritabilityChanged(context.channel.isWritable)
        if context.channel.isWritable, case .idle = self.state { self.takeQueued() }
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        context.fireUserInboundEventTriggered(event)
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        if error is HTTPParserError, case .idle = self.state {
            // Nothing about such bytes can be trusted, so the answer says nothing about them.
            self.refuseMalformed()
        } else {
            context.close(promise: nil)
        }
    }

    private func refuseMalformed(_ status: HTTPResponseStatus = .badRequest) {
        let head = HTTPResponseHead(
            version: .http1_1, status: status, headers: ["content-length": "0", "connection": "close"])
        self.channel.write(HTTPServerResponsePart.head(head), promise: nil)
        self.channel.write(HTTPServerResponsePart.end(nil), promise: nil)
        self.linger()
    }

    private func setReading(_ isOn: Bool) {
        _ = try? self.channel.syncOptions?.setOption(.autoRead, value: isOn)
    }

    private func handle(_ part: HTTPServerRequestPart) {
        switch (part, self.state) {
        case (.head(let head), .idle): self.begin(head)
        case (.body(let bytes), .receiving(var incoming)):
            // HTTP/2 frames a body without saying how long it is: what was not declared is not taken.
            guard
                !self.isStream
                    || incoming.body.readableBytes + bytes.readableBytes <= Self.declaredLength(incoming.head)
            else {
                self.channel.close(promise: nil)
                return
            }
            // The old value must be gone before the buffer grows, or each append copies it.
            self.state = .idle
            incoming.body.writeImmutableBuffer(bytes)
            self.progressed()
            self.state = .receiving(incoming)
        case (.end, .receiving(let incoming)):
            self.state = .answering
            self.answer(incoming)
        case (.body, .discarding): self.progressed()
        case (.end, .discarding): self.ready()
        case (_, .closing): break
        default: self.channel.close(promise: nil)
        }
    }

    /// Takes the next request, or ends the connection.
    private func ready() {
        self.exchange = nil
        self.task = nil
        self.progressed()
        guard self.keepsAlive, !self.shared.isDraining, !self.isStream else {
            self.linger()
            return
        }
        self.state = .idle
        if !self.isTakingQueued { self.takeQueued() }
    }

    private func takeQueued() {
        self.isTakingQueued = true
        defer { self.isTakingQueued = false }
        let parts = self.queue
        self.queue = []
        for (index, part) in parts.enumerated() {
            if self.mustWait {
                self.queue = Array(parts[index...])
                return
            }
            self.handle(part)
        }
        if !parts.isEmpty { self.setReading(true) }
    }

    /// Closes so that the peer can still read the last answer although it is sending: half-close, read into the void
    /// for a while, close (RFC 9112 §9.6).
    private func linger() {
        self.state = .closing
        self.queue = []
        // A stream ends with its answer, and HTTP/2 has frames for the rest.
        if self.isStream { return }
        let channel = self.channel!
        let bound = NIOLoopBound(self, eventLoop: self.shared.loop)
        channel.writeAndFlush(HTTPServerResponsePart.body(.byteBuffer(ByteBuffer()))).whenComplete { _ in
            channel.close(mode: .output, promise: nil)
            bound.value.isOutputClosed = true
            bound.value.progressed()
        }
    }

    // MARK: The edge

    private func begin(_ head: HTTPRequestHead) {
        self.hadRequest = true
        self.progressed()
        self.exchangeNumber += 1
        self.version = head.version == .http1_0 ? .http1_0 : .http1_1
        // The parser stops behind an upgrade that nobody takes up; HTTP/1.0 has no framing for answers without a length.
        self.keepsAlive =
            head.isKeepAlive && head.version != .http1_0 && head.method != .CONNECT
            && !head.headers.contains(name: "upgrade")
        self.isHead = head.method == .HEAD
        self.requestID = RequestID(chosenByClient: head.headers.first(name: "x-client-request-id"))
        if self.services.metrics != nil { self.measured = Measured(method: head.method, uri: head.uri) }
        if head.version != .http1_0, head.version != .http0_9, head.headers[canonicalForm: "host"].count != 1 {
            self.keepsAlive = false
            self.refuseMalformed()
            return
        }
        let target = RequestTarget(head.uri)
        let generation = self.shared.current
        let edge = generation.configuration.edge
        let isProbe = target.path == "/healthz" || target.path == "/readyz"

        if self.shared.isDraining {
            if target.path == "/readyz" {
                self.shared.departure.tell()
                self.respondEarly(.text(.serviceUnavailable, "shutting down"), head)
                return
            }
            guard target.path == "/healthz", self.shared.departure.isKnown else {
                self.state = .closing
                self.channel.close(promise: nil)
                return
            }
        }
        let client: IPAddress
        switch edge.access.client(peer: self.peer, forwardedFor: head.headers["x-forwarded-for"]) {
        case .success(let address):
            client = address
            if let refusal = edge.access.refusal(of: address, isProbe: isProbe) {
                self.deny(refusal.rawValue, client: address, head)
                return
            }
        case .failure(let failure):
            self.deny(AccessControl.Refusal.unparseable.rawValue, client: failure.peer, head)
            return
        }
        if let refusal = Self.limitRefusal(head, edge, isProbe: isProbe, requestID: self.requestID) {
            self.respondEarly(refusal, head)
            return
        }
        let request = PlainRequest(
            method: head.method, path: target.path, query: target.query ?? "", headers: head.headers,
            body: ByteBuffer(),
            requestID: self.requestID, client: client)
        let destination: Incoming.Destination
        if head.method == .POST, let endpoint = Self.endpoint(target.path) {
            switch generation.caller(authorization: Self.authorization(head)) {
            case .success(let caller): destination = .inference(endpoint, caller)
            case .failure(let failure):
                self.auditDenied(failure.problem, path: target.path, client: client)
                self.respondEarly(.error(.invalidToken, requestID: self.requestID), head)
                return
            }
        } else {
            if let refusal = generation.responder.immediateAnswer(to: request) {
                self.respondEarly(refusal, head)
                return
            }
            destination = .plain
        }
        var incoming = Incoming(
            head: head, target: target, requestID: self.requestID, client: client, destination: destination,
            generation: generation, body: ByteBuffer())
        let length = Self.declaredLength(head)
        if length > 0 {
            // Memory is given to developers' bodies ahead, and to strangers' as they come.
            let isKnown = if case .inference = destination { true } else { false }
            incoming.body = self.channel.allocator.buffer(capacity: min(length, isKnown ? 1 << 20 : 1024))
            if head.headers.first(name: "expect")?.lowercased() == "100-continue" {
                let head = HTTPResponseHead(version: .http1_1, status: .continue)
                self.channel.writeAndFlush(HTTPServerResponsePart.head(head), promise: nil)
            }
        }
        self.state = .receiving(incoming)
    }

    private static func endpoint(_ path: String) -> InboundCall.Endpoint? {
        switch path {
        case InboundCall.Endpoint.messages.path: .messages
        case InboundCall.Endpoint.countTokens.path: .countTokens
        default: nil
        }
    }

    /// Several `Authorization` headers are joined, and so never fit.
    private static func authorization(_ head: HTTPRequestHead) -> String? {
        let values = head.headers["authorization"]
        return values.count > 1 ? values.joined(separator: ", ") : values.first
    }

    private static func declaredLength(_ head: HTTPRequestHead) -> Int {
        head.headers.first(name: "content-length").flatMap(Int.init) ?? 0
    }

    private static func limitRefusal(
        _ head: HTTPRequestHead, _ edge: EdgeSettings, isProbe: Bool, requestID: RequestID,
    ) -> PlainResponse? {
        if !isProbe {
            if let limit = edge.maximumURLLength {
                let scheme = edge.terminatesTLS ? "https://" : "http://"
                let host = head.headers.first(name: "host") ?? ""
                if scheme.utf8.count + host.utf8.count + head.uri.utf8.count > limit {
                    return .text(.uriTooLong, "uri too long")
                }
            }
            if let limit = edge.maximumHeaderBytes {
                let size = head.headers.reduce(0) { $0 + $1.name.utf8.count + $1.value.utf8.count + 4 }
                if size > limit { return .text(.requestHeaderFieldsTooLarge, "request header fields too large") }
            }
        }
        if head.headers.contains(name: "transfer-encoding") { return .text(.lengthRequired, "length required") }
        if self.declaredLength(head) > edge.maximumBodyBytes {
            let envelope = ErrorEnvelope(
                status: 413, type: "request_too_large",
                message: "the request body is larger than this gateway's limit of \(edge.maximumBodyBytes) bytes")
            return .error(envelope, requestID: requestID)
        }
        return nil
    }

    private func deny(_ reason: String, client: IPAddress, _ head: HTTPRequestHead) {
        self.services.audit.record(
            AuditEvent(
                "access.denied",
                [
                    "request_id": .string(self.requestID.description), "reason": .string(reason),
                    "client_ip": .string(client.description),
                ]))
        self.respondEarly(.text(.forbidden, "forbidden"), head)
    }

    private func auditDenied(_ problem: BearerProblem, path: String, client: IPAddress) {
        self.services.audit.record(
            AuditEvent.denied(problem, requestID: self.requestID, path: path, client: client))
    }

    /// Answers before the body is there, and gets rid of the body.
    private func respondEarly(_ response: PlainResponse, _ head: HTTPRequestHead) {
        let length = Self.declaredLength(head)
        if head.headers.contains(name: "transfer-encoding") || length > Self.discardLimit { self.keepsAlive = false }
        self.state = .answering
        self.write(response)
        self.noteAnswered()
        if self.keepsAlive {
            self.state = .discarding
        } else {
            self.linger()
        }
    }

    // MARK: Answering

    private func answer(_ incoming: Incoming) {
        switch incoming.destination {
        case .inference(let endpoint, let caller):
            let exchange = InferenceExchange(
                connection: self, generation: incoming.generation, caller: caller, endpoint: endpoint,
                target: incoming.target,
                head: incoming.head, body: incoming.body, requestID: incoming.requestID)
            self.exchange = exchange
            exchange.start()
        case .plain:
            let request = PlainRequest(
                method: incoming.head.method, path: incoming.target.path, query: incoming.target.query ?? "",
                headers: incoming.head.headers, body: incoming.body, requestID: incoming.requestID,
                client: incoming.client)
            let responder = incoming.generation.responder
            let bound = NIOLoopBound(self, eventLoop: self.shared.loop)
            let number = self.exchangeNumber
            self.task = Task {
                let response = await responder.respond(to: request)
                bound.eventLoop.execute { bound.value.deliver(response, number) }
            }
        }
    }

    private func deliver(_ response: PlainResponse, _ number: Int) {
        guard number == self.exchangeNumber, case .answering = self.state else { return }
        switch response.body {
        case .bytes:
            self.write(response)
            self.finished()
        case .stream(let produce): self.stream(response, produce, number)
        }
    }

    private func write(_ response: PlainResponse) {
        guard case .bytes(let bytes) = response.body else { preconditionFailure("early answers are not streamed") }
        var headers = response.headers
        if response.status != .notModified, response.status != .noContent {
            headers.replaceOrAdd(name: "content-length", value: String(bytes.readableBytes))
        }
        self.beginAnswer(status: response.status, headers: headers)
        if !self.isHead { self.writeAnswer(bytes) }
        self.channel.write(HTTPServerResponsePart.end(nil), promise: nil)
        self.needsFlush = true
        self.flushIfNeeded()
    }

    private func stream(
        _ response: PlainResponse, _ produce: @escaping @Sendable (PlainBodyWriter) async throws -> Void, _ number: Int,
    ) {
        var headers = response.headers
        headers.replaceOrAdd(name: "transfer-encoding", value: "chunked")
        self.beginAnswer(status: response.status, headers: headers)
        self.channel.flush()
        let channel = self.channel!
        let bound = NIOLoopBound(self, eventLoop: self.shared.loop)
        self.task = Task {
            let writer = PlainBodyWriter { bytes in
                try await channel.writeAndFlush(HTTPServerResponsePart.body(.byteBuffer(bytes)))
            }
            let isWhole: Bool
            do {
                try await produce(writer)
                isWhole = true
            } catch {
                isWhole = false
            }
            bound.eventLoop.execute {
                let connection = bound.value
                guard number == connection.exchangeNumber, case .answering = connection.state else { return }
                if isWhole {
                    connection.channel.writeAndFlush(HTTPServerResponsePart.end(nil), promise: nil)
                    connection.finished()
                } else {
                    connection.abortAnswer()
                }
            }
        }
    }

    /// Writes the head of an answer; the gateway's own headers win over equal names in `headers`.
    func beginAnswer(status: HTTPResponseStatus, headers: HTTPHeaders) {
        var headers = headers
        headers.add(name: "X-Content-Type-Options", value: "nosniff")
        headers.add(name: "X-Frame-Options", value: "DENY")
        headers.add(name: "Referrer-Policy", value: "no-referrer")
        headers.add(name: "Cross-Origin-Opener-Policy", value: "same-origin")
        if self.shared.current.configuration.edge.terminatesTLS {
            headers.add(name: "Strict-Transport-Security", value: "max-age=31536000; includeSubDomains")
        }
        headers.add(name: "x-request-id", value: self.requestID.description)
        if !headers.contains(name: "date") { headers.add(name: "Date", value: self.shared.httpDate) }
        if self.shared.isDraining { self.keepsAlive = false }
        if !self.keepsAlive { headers.replaceOrAdd(name: "connection", value: "close") }
        let head = HTTPResponseHead(version: self.version, status: status, headers: headers)
        self.measured?.status = status.code
        self.channel.write(HTTPServerResponsePart.head(head), promise: nil)
        self.needsFlush = true
    }

    func writeAnswer(_ bytes: ByteBuffer) {
        guard bytes.readableBytes > 0 else { return }
        self.channel.write(HTTPServerResponsePart.body(.byteBuffer(bytes)), promise: nil)
        self.needsFlush = true
    }

    func flushIfNeeded() {
        guard self.needsFlush else { return }
        self.needsFlush = false
        self.channel.flush()
    }

    /// The answer is whole.
    func endAnswer() {
        self.channel.write(HTTPServerResponsePart.end(nil), promise: nil)
        self.needsFlush = true
        self.flushIfNeeded()
        self.finished()
    }

    /// Sends a whole answer of an inference exchange.
    func answerWhole(_ response: PlainResponse) {
        self.write(response)
        self.finished()
    }

    /// The answer cannot be completed: the connection ends, so that the client cannot take a part for the whole.
    func abortAnswer() {
        self.noteAnswered()
        self.state = .closing
        self.channel.close(promise: nil)
    }

    private func finished() {
        guard case .answering = self.state else { return }
        self.noteAnswered()
        self.ready()
    }

    /// A request that is being measured.
    private struct Measured {
        let method: HTTPMethod
        let uri: String
        let start = NIODeadline.now()
        var status: UInt = 0
    }

    private func noteAnswered() {
        guard let metrics = self.services.metrics, let measured else { return }
        self.measured = nil
        let path = RequestTarget(measured.uri).path
        let generation = self.shared.current
        let seconds = Double((NIODeadline.now() - measured.start).nanoseconds) / 1e9
        metrics.answered(
            Self.known.contains(measured.method.rawValue) ? measured.method.rawValue : "_OTHER",
            generation.responder.route(of: path), status: measured.status, seconds: seconds)
    }

    private static let known: Set<String> = ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"]
}

extension AuditEvent {
    /// A bearer that was missing or not accepted.
    package static func denied(_ problem: BearerProblem, requestID: RequestID, path: String, client: IPAddress)
        -> AuditEvent
    {
        AuditEvent(
            "auth.denied",
            [
                "request_id": .string(requestID.description), "reason": .string(problem.rawValue),
                "path": .string(path),
                "client_ip": .string(client.description),
            ])
    }
}
