// SPDX-License-Identifier: Apache-2.0

package import GatewayCore
internal import GatewayPolicy
internal import GatewayProviders
internal import NIOCore
internal import NIOHTTP1

/// One client connection, confined to its event loop: takes requests one at a time, turns away what the edge rules
/// refuse, and hands the rest to an inference exchange or to the asynchronous routes.
final class ServerConnection {
    /// A request of which the head is known.
    private struct Incoming {
        enum Destination {
            case inference(InboundCall.Endpoint, Caller)
            case plain(PlainRequest)
        }

        let head: RequestHead
        let target: RequestTarget
        let destination: Destination
        let generation: RelayGeneration
        private(set) var body: ByteBuffer?
        private static let fillLimit = 256 << 10

        /// - Returns: Whether that much was declared: HTTP/2 frames a body without saying how long it is, and what was
        ///   not declared is not taken.
        mutating func take(_ bytes: ByteBuffer) -> Bool {
            let length = self.head.contentLength
            guard (self.body?.readableBytes ?? 0) + bytes.readableBytes <= length else { return false }
            if bytes.readableBytes == length {
                self.body = bytes
                return true
            }
            self.makeRoom()
            self.body?.writeImmutableBuffer(bytes)
            return true
        }

        /// Whether it is a developer's. Memory is given to their bodies ahead, and to strangers' as they come.
        var isKnown: Bool { if case .inference = self.destination { true } else { false } }

        private mutating func makeRoom() {
            guard self.body == nil else { return }
            self.body = ByteBufferAllocator().buffer(
                capacity: min(self.head.contentLength, self.isKnown ? 1 << 20 : 1024))
        }

        /// Has bytes read to where they belong. One more than all of them is asked for when there is room: when it does
        /// not come, nothing else is there to be read.
        ///
        /// - Parameter rest: How many belong there.
        /// - Returns: How many were asked for, how many have come that belong there, and the one behind them.
        mutating func fill(
            _ rest: Int, _ read: (UnsafeMutableRawBufferPointer) -> Int,
        ) -> (asked: Int, count: Int, next: UInt8?) {
            self.makeRoom()
            var result = (asked: 0, count: 0, next: UInt8?.none)
            self.body?.writeWithUnsafeMutableBytes(minimumWritableBytes: min(rest, Self.fillLimit)) { space in
                result.asked = min(rest + 1, Self.fillLimit, space.count)
                let count = read(UnsafeMutableRawBufferPointer(rebasing: space[..<result.asked]))
                result.count = min(count, rest)
                if count > rest { result.next = space[rest] }
                return result.count
            }
            return result
        }
    }

    /// Whose bearer this connection carried last.
    private final class KnownCaller {
        let authorization: [UInt8]
        let caller: Caller
        let generation: RelayGeneration
        let epoch: Int
        /// Where the last request went whose body names one model.
        var route: (model: String, candidates: [InferenceDecision.Candidate], eligible: Int)?

        init(authorization: [UInt8], caller: Caller, generation: RelayGeneration, epoch: Int) {
            self.authorization = authorization
            self.caller = caller
            self.generation = generation
            self.epoch = epoch
        }

        func matches(_ bytes: UnsafeRawBufferPointer) -> Bool {
            self.authorization.withUnsafeBytes { ByteSearch.areEqual($0, bytes) }
        }
    }

    private enum State {
        /// Waiting for a request.
        case idle
        case receiving
        /// The request is whole and being answered.
        case answering
        /// The answer is out, the rest of the request is being thrown away.
        case discarding
        /// Nothing more is read; the connection ends when the last bytes are out.
        case closing
    }

    /// A refused request's body up to this size is read and thrown away to keep the connection; a longer one ends it.
    private static let discardLimit = 1 << 18
    /// So many bytes of further requests are held while one is being answered.
    private static let pipelineLimit = 64 << 10
    /// A request's head is read and seldom more; the rest of a body is read to where it belongs, and not copied.
    static let readLimit = 4 << 10
    private static let smallRest = 4 << 10

    private let shared: RelayLoop
    private var transport: Transport!
    private var state = State.idle
    /// The request that is coming in.
    private var incoming: Incoming?
    private var peer: IPAddress = IPAddress(bytes: [0, 0, 0, 0])!
    private var parser = RequestParser()
    /// What has come and was not read yet.
    private var inbox = Inbox()
    private var isReadingInbox = false
    private var isReadingStopped = false
    private var keepsAlive = true
    /// Whether the request is one of HTTP/1.0.
    private var isOld = false
    private var isHead = false
    private var outbox = AnswerBuffer()
    private var needsFlush = false
    private var requestID = RequestID()
    private var measured: Measured?
    private var exchange: InferenceExchange?
    private var lastCaller: KnownCaller?
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
        if case .answering = self.state { return true }
        return self.isReceivingInference || !self.isOutputClosed && self.pendingBytes > 0
    }

    /// Whether the rest of a developer's request is on its way.
    private var isReceivingInference: Bool {
        if case .receiving = self.state, case .inference? = self.incoming?.destination { true } else { false }
    }

    /// Bytes of answers that the client has not taken yet.
    private var pendingBytes: Int {
        // A stream does not say how much waits, only whether it is too much.
        if self.isStream { return self.transport.isWritable ? 0 : 1 }
        return self.transport.pendingBytes
    }

    var isWritable: Bool { self.transport.isWritable }
    var services: RelayServices { self.shared.services }
    var loop: RelayLoop { self.shared }

    // MARK: Life

    func opened(_ transport: Transport) {
        self.transport = transport
        self.peer = transport.remoteAddress?.gatewayAddress ?? self.peer
        self.shared.opened(self)
    }

    func closed() {
        self.shared.closed(self)
        self.task?.cancel()
        self.task = nil
        let exchange = self.exchange
        self.exchange = nil
        self.incoming = nil
        self.state = .closing
        exchange?.clientLeft()
        if self.measured != nil {
            // The status that was sent, or that of a client who closed before there was one.
            if self.measured?.status == 0 { self.measured?.status = 499 }
            self.noteAnswered()
        }
    }

    func drain() {
        switch self.state {
        case .answering, .closing: self.keepsAlive = false
        // It is in the middle of its words, and gets its answer.
        case .receiving where self.isReceivingInference: self.keepsAlive = false
        // The last answer may still be on its way to a slow client.
        case .idle where self.pendingBytes > 0, .discarding where self.pendingBytes > 0: self.linger()
        case .idle, .receiving, .discarding: self.transport.close()
        }
    }

    func cut() {
        self.transport.close()
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
        if self.shared.now - self.lastProgress > TimeAmount(limit) { self.transport.close() }
    }

    // MARK: Reading

    /// Takes bytes of an HTTP/1.1 connection.
    func receive(_ bytes: ByteBuffer) {
        if case .closing = self.state { return }
        self.inbox.add(bytes)
        self.readInbox()
    }

    /// Whether what arrives now has its turn later: an answer is owed, or the client does not take the ones it has.
    private var mustWait: Bool {
        switch self.state {
        case .answering: true
        case .idle: !self.transport.isWritable
        case .receiving, .discarding, .closing: false
        }
    }

    private func readInbox() {
        guard !self.isReadingInbox else { return }
        self.isReadingInbox = true
        defer { self.isReadingInbox = false }
        do throws(HTTPSyntaxError) {
            while !self.mustWait, let event = try self.next() { self.handle(event) }
        } catch {
            // Nothing about such bytes can be trusted, so the answer says nothing about them.
            self.refuseMalformed(error)
        }
        if case .closing = self.state { self.inbox.clear() }
        self.inbox.compact()
        let isTooMuch = self.mustWait && self.inbox.count > Self.pipelineLimit
        if isTooMuch != self.isReadingStopped {
            self.isReadingStopped = isTooMuch
            self.transport.setReading(!isTooMuch)
        }
    }

    @inline(__always)
    private func next() throws(HTTPSyntaxError) -> RequestParser.Event? {
        if self.inbox.count == 0, self.parser.needsBytes { return nil }
        return try self.inbox.read { bytes throws(HTTPSyntaxError) in try self.parser.next(&bytes) }
    }

    func writabilityChanged() {
        let isWritable = self.transport.isWritable
        self.exchange?.clientWritabilityChanged(isWritable)
        if isWritable, case .idle = self.state { self.readInbox() }
    }

    func refuseMalformed(_ error: HTTPSyntaxError? = nil) {
        guard case .idle = self.state else {
            self.transport.close()
            return
        }
        self.keepsAlive = false
        self.isOld = false
        let status = error == .tooLong ? HTTPResponseStatus.requestHeaderFieldsTooLarge : .badRequest
        var head = self.answerHead(status)
        head.add(lines: "content-length: 0\r\nconnection: close\r\n")
        self.begin(status, head, .declared)
        self.end()
        self.linger()
    }

    func handle(_ event: RequestParser.Event) {
        switch (event, self.state) {
        case (.head(let head), .idle): self.begin(head)
        case (.body(let bytes), .receiving):
            if self.incoming?.take(bytes) != true {
                self.transport.close()
                return
            }
            self.progressed()
        case (.end, .receiving):
            self.state = .answering
            guard let incoming = self.incoming.take() else { return }
            self.answer(incoming)
        case (.body, .discarding): self.progressed()
        case (.end, .discarding): self.ready()
        case (_, .closing): break
        default: self.transport.close()
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
        self.readInbox()
    }

    /// Closes so that the peer can still read the last answer although it is sending: half-close, read into the void
    /// for a while, close (RFC 9112 §9.6).
    private func linger() {
        self.state = .closing
        self.inbox.clear()
        self.flushIfNeeded()
        // A stream ends with its answer, and HTTP/2 has frames for the rest.
        if self.isStream { return }
        self.transport.whenSent(isStream: false) { _ in
            self.transport.closeOutput()
            self.isOutputClosed = true
            self.progressed()
        }
    }

    // MARK: The edge

    private func begin(_ head: RequestHead) {
        self.hadRequest = true
        self.progressed()
        self.exchangeNumber += 1
        self.isOld = head.isOld
        self.keepsAlive = head.keepsAlive
        self.isHead = head.verb == .head
        self.requestID = RequestID(chosenByClient: head.fields.first("x-client-request-id"))
        switch head.fields.only("host", HostSyntax.isValid) {
        case .one(true): break
        case .none where head.isOld: break
        default:
            self.refuseMalformed()
            return
        }
        let target = RequestTarget(head.target)
        if self.services.metrics != nil { self.measured = Measured(method: head.method, path: target.path) }
        let generation = self.shared.current
        self.admit(head, target, generation, generation.configuration.edge)
    }

    private func admit(
        _ head: RequestHead, _ target: RequestTarget, _ generation: RelayGeneration, _ edge: EdgeSettings,
    ) {
        let isProbe = target.path == "/healthz" || target.path == "/readyz"

        if self.shared.isDraining {
            if target.path == "/readyz" {
                self.shared.departure.tell()
                self.respondEarly(.text(.serviceUnavailable, "shutting down"), head)
                return
            }
            guard target.path == "/healthz", self.shared.departure.isKnown else {
                self.state = .closing
                self.transport.close()
                return
            }
        }
        let client: IPAddress
        switch edge.access.client(peer: self.peer, forwardedFor: head.fields.values("x-forwarded-for")) {
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
        let destination: Incoming.Destination
        if head.verb == .post, let endpoint = Self.endpoint(target.path) {
            switch self.caller(head, generation) {
            case .success(let caller): destination = .inference(endpoint, caller)
            case .failure(let failure):
                self.auditDenied(failure.problem, path: target.path, client: client)
                self.respondEarly(.error(.invalidToken, requestID: self.requestID), head)
                return
            }
        } else {
            let request = PlainRequest(head, target, requestID: self.requestID, client: client)
            if let refusal = generation.responder.immediateAnswer(to: request) {
                self.respondEarly(refusal, head)
                return
            }
            destination = .plain(request)
        }
        if head.contentLength > 0, head.fields.lists("100-continue", under: "expect") {
            self.writeInterim(.continue)
        }
        self.incoming = Incoming(head: head, target: target, destination: destination, generation: generation)
        self.state = .receiving
    }

    /// Developers send the same bearer with each request, so what was verified last is compared first.
    private func caller(_ head: RequestHead, _ generation: RelayGeneration)
        -> Result<Caller, RelayGeneration.BearerFailure>
    {
        if let known = self.lastCaller, known.generation === generation,
            case .one(true) = head.fields.only("authorization", known.matches),
            generation.isStillGood(known.caller, since: known.epoch)
        {
            return .success(known.caller)
        }
        // Several `Authorization` fields are joined, and so never fit.
        let values = head.fields.values("authorization")
        let authorization = values.isEmpty ? nil : values.joined(separator: ", ")
        let result = generation.caller(authorization: authorization)
        if case .success(let caller) = result, let authorization {
            self.lastCaller = KnownCaller(
                authorization: Array(authorization.utf8), caller: caller, generation: generation,
                epoch: generation.epoch)
        }
        return result
    }

    /// Where a request may go. With one model in its body that follows from the caller and the model, and mostly both are
    /// those of the request before.
    func decide(_ scan: BodyScan, _ caller: Caller, _ generation: RelayGeneration) -> InferenceDecision {
        guard let known = self.lastCaller, known.caller === caller, known.generation === generation,
            case .string(let model) = scan.model, !scan.hasConflictingModels, scan.nestedModels.isEmpty
        else { return generation.decide(scan, caller) }
        if let route = known.route, ByteSearch.areEqual(route.model, model) {
            return .route(model: model, route.candidates, eligible: route.eligible)
        }
        let decision = generation.decide(scan, caller)
        if case .route(_, let candidates, let eligible) = decision { known.route = (model, candidates, eligible) }
        return decision
    }

    private static func endpoint(_ path: String) -> InboundCall.Endpoint? {
        switch path {
        case InboundCall.Endpoint.messages.path: .messages
        case InboundCall.Endpoint.countTokens.path: .countTokens
        default: nil
        }
    }

    private static func limitRefusal(
        _ head: RequestHead, _ edge: EdgeSettings, isProbe: Bool, requestID: RequestID,
    ) -> PlainResponse? {
        if !isProbe {
            if let limit = edge.maximumURLLength {
                let scheme = edge.terminatesTLS ? "https://" : "http://"
                let host = head.fields.first("host") ?? ""
                if scheme.utf8.count + host.utf8.count + head.target.utf8.count > limit {
                    return .text(.uriTooLong, "uri too long")
                }
            }
            if let limit = edge.maximumHeaderBytes, head.fields.size > limit {
                return .text(.requestHeaderFieldsTooLarge, "request header fields too large")
            }
        }
        if head.hasTransferCoding { return .text(.lengthRequired, "length required") }
        if head.contentLength > edge.maximumBodyBytes {
            let envelope = ErrorEnvelope(
                status: 413, type: "request_too_large",
                message: "the request body is larger than this gateway's limit of \(edge.maximumBodyBytes) bytes")
            return .error(envelope, requestID: requestID)
        }
        return nil
    }

    private func deny(_ reason: String, client: IPAddress, _ head: RequestHead) {
        self.shared.record(
            AuditEvent(
                "access.denied",
                [
                    "request_id": .string(self.requestID.description), "reason": .string(reason),
                    "client_ip": .string(client.description),
                ]))
        self.respondEarly(.text(.forbidden, "forbidden"), head)
    }

    private func auditDenied(_ problem: BearerProblem, path: String, client: IPAddress) {
        self.shared.record(
            AuditEvent.denied(problem, requestID: self.requestID, path: path, client: client))
    }

    /// Answers before the body is there, and gets rid of the body.
    private func respondEarly(_ response: PlainResponse, _ head: RequestHead) {
        if head.hasTransferCoding || head.contentLength > Self.discardLimit { self.keepsAlive = false }
        self.state = .answering
        self.write(response)
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
                head: incoming.head, body: incoming.body ?? ByteBuffer(), requestID: self.requestID)
            self.exchange = exchange
            exchange.start()
        case .plain(var request):
            request.body = incoming.body ?? ByteBuffer()
            let responder = incoming.generation.responder
            let bound = NIOLoopBound(self, eventLoop: self.shared.loop)
            let number = self.exchangeNumber
            self.task = Task { [request] in
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
        var head = self.answerHead(response)
        if response.status != .notModified, response.status != .noContent {
            head.add("content-length", bytes.readableBytes)
        }
        self.beginAnswer(status: response.status, head, .declared)
        if !self.isHead { self.writeAnswer(bytes) }
        self.end()
        self.noteAnswered()
        self.flushIfNeeded()
    }

    private func answerHead(_ response: PlainResponse) -> FieldLines {
        var head = self.answerHead(response.status)
        for (name, value) in response.headers where name.lowercased() != "content-length" {
            head.add(name: name, value)
        }
        return head
    }

    private func stream(
        _ response: PlainResponse, _ produce: @escaping @Sendable (PlainBodyWriter) async throws -> Void, _ number: Int,
    ) {
        self.beginAnswer(
            status: response.status, self.answerHead(response), self.isOld ? .connectionEnd : .chunked)
        self.flushIfNeeded()
        let bound = NIOLoopBound(self, eventLoop: self.shared.loop)
        self.task = Task {
            let writer = PlainBodyWriter { bytes in
                try await bound.eventLoop.flatSubmit { bound.value.writePiece(bytes) }.get()
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
                    connection.endAnswer()
                } else {
                    connection.abortAnswer()
                }
            }
        }
    }

    /// - Returns: Completes when the client has taken the piece.
    private func writePiece(_ bytes: ByteBuffer) -> EventLoopFuture<Void> {
        guard case .answering = self.state else {
            return self.shared.loop.makeFailedFuture(ChannelError.ioOnClosedChannel)
        }
        self.writeAnswer(bytes)
        self.flushIfNeeded()
        let sent = self.shared.loop.makePromise(of: Void.self)
        self.transport.whenSent(isStream: self.isStream) { isSent in
            if isSent { sent.succeed() } else { sent.fail(ChannelError.ioOnClosedChannel) }
        }
        return sent.futureResult
    }

    /// A head to which an answer's own fields are added before it is given to `beginAnswer`.
    func answerHead(_ status: HTTPResponseStatus) -> FieldLines {
        var head = FieldLines()
        // HTTP/2 has a status and no line (RFC 9113 §8.3.2).
        if !self.isStream { head.addStatusLine(status, isOld: self.isOld) }
        return head
    }

    private static let security: StaticString =
        "X-Content-Type-Options: nosniff\r\nX-Frame-Options: DENY\r\nReferrer-Policy: no-referrer\r\nCross-Origin-Opener-Policy: same-origin\r\n"
    private static let transportSecurity: StaticString =
        "Strict-Transport-Security: max-age=31536000; includeSubDomains\r\n"

    /// Completes the head of an answer with the gateway's own fields, and begins the answer.
    func beginAnswer(
        status: HTTPResponseStatus, _ fields: consuming FieldLines, _ framing: BodyFraming, hasDate: Bool = false,
    ) {
        var head = fields
        head.add(lines: Self.security)
        if self.shared.current.configuration.edge.terminatesTLS { head.add(lines: Self.transportSecurity) }
        head.add("x-request-id", sound: self.requestID.description)
        if !hasDate { head.add("Date", sound: self.shared.httpDate) }
        if self.shared.isDraining { self.keepsAlive = false }
        if case .connectionEnd = framing { self.keepsAlive = false }
        self.measured?.status = status.code
        if !self.isStream {
            if case .chunked = framing { head.add(lines: "transfer-encoding: chunked\r\n") }
            if !self.keepsAlive { head.add(lines: "connection: close\r\n") }
        }
        self.begin(status, head, framing)
    }

    private func begin(_ status: HTTPResponseStatus, _ fields: consuming FieldLines, _ framing: BodyFraming) {
        var head = fields
        if self.isStream {
            let head = HTTPResponseHead(version: .http1_1, status: status, headers: head.headers())
            self.transport.write(part: .head(head))
        } else {
            head.add(lines: "\r\n")
            self.outbox.begin(head, framing) { self.transport.write($0) }
        }
        self.needsFlush = true
    }

    /// - Parameter framed: The same bytes as one chunk, if they came in that form.
    func writeAnswer(_ bytes: ByteBuffer, framed: ByteBuffer? = nil) {
        guard bytes.readableBytes > 0 else { return }
        self.needsFlush = true
        if self.isStream {
            self.transport.write(part: .body(.byteBuffer(bytes)))
        } else {
            self.outbox.body(bytes, framed: framed) { self.transport.write($0) }
        }
    }

    private func end() {
        self.needsFlush = true
        if self.isStream {
            self.transport.write(part: .end(nil))
        } else {
            self.outbox.end { self.transport.write($0) }
        }
    }

    /// An answer before the answer, which has neither fields nor a body.
    private func writeInterim(_ status: HTTPResponseStatus) {
        self.begin(status, self.answerHead(status), .declared)
        self.flushIfNeeded()
    }

    func flushIfNeeded() {
        guard self.needsFlush else { return }
        self.needsFlush = false
        // Taken before it is written: writing may call back.
        var own = self.outbox.takeOwn()
        if own.used > 0 {
            own.withBytes { self.transport.writeAndFlush(UnsafeRawBufferPointer($0)) }
        } else if let passed = self.outbox.takePassed() {
            self.transport.writeAndFlush(passed)
        } else {
            self.transport.flush()
        }
    }

    /// The answer is whole.
    func endAnswer() {
        self.end()
        self.noteAnswered()
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
        self.transport.close()
    }

    private func finished() {
        guard case .answering = self.state else { return }
        self.ready()
    }

    /// A request that is being measured.
    private struct Measured {
        let method: HTTPMethod
        let path: String
        let start = NIODeadline.now()
        var status: UInt = 0
    }

    /// Before the answer's end leaves: whoever has it finds it counted.
    private func noteAnswered() {
        guard let metrics = self.services.metrics, let measured else { return }
        self.measured = nil
        let generation = self.shared.current
        let seconds = Double((NIODeadline.now() - measured.start).nanoseconds) / 1e9
        metrics.answered(
            Self.known.contains(measured.method.rawValue) ? measured.method.rawValue : "_OTHER",
            generation.responder.route(of: measured.path), status: measured.status, seconds: seconds)
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

extension ServerConnection: SocketUser {
    func socketReceived(_ bytes: ByteBuffer) {
        self.receive(bytes)
    }

    /// The rest of a developer's body is read to where it belongs.
    func socketFills(_ read: (UnsafeMutableRawBufferPointer) -> Int) -> Int? {
        guard case .receiving = self.state, self.inbox.count == 0, self.parser.remaining >= Self.smallRest,
            self.incoming?.isKnown == true
        else { return nil }
        guard let filled = self.incoming?.fill(self.parser.remaining, read) else { return nil }
        self.parser.pass(filled.count)
        if let next = filled.next { self.inbox.add(ByteBuffer(bytes: CollectionOfOne(next))) }
        return filled.asked
    }

    func socketFilled() {
        self.progressed()
        self.readInbox()
    }

    func socketPaused() {
        self.flushIfNeeded()
    }

    func socketWritabilityChanged() {
        self.writabilityChanged()
    }

    func socketClosed(_ error: SocketError?) {
        self.closed()
    }
}
