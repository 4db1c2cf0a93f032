// SPDX-License-Identifier: Apache-2.0

internal import GatewayCore
internal import GatewayPolicy
internal import GatewayProviders
internal import Logging
internal import NIOCore
internal import NIOHTTP1
internal import NIOPosix

/// One model request from its whole body to the last byte of its answer, confined to its event loop.
final class InferenceExchange: UpstreamDelegate {
    private enum Phase {
        case deciding
        /// Nothing has gone to the client; other upstreams may still be tried.
        case attempting
        /// Collecting the body of an answer that may or may not be the one the client gets.
        case collecting(HTTPResponseHead, ByteBuffer)
        case relaying
        case finished
    }

    /// An answer that was not good enough to relay at once.
    private struct StoredAnswer {
        let head: HTTPResponseHead
        let body: ByteBuffer
        let upstream: Int
    }

    /// Error bodies are small; what is longer is cut, because it must be held in memory until another upstream answered.
    private static let storedBodyLimit = 1 << 20

    private let connection: ServerConnection
    private let generation: RelayGeneration
    private let caller: Caller
    private let endpoint: InboundCall.Endpoint
    private let target: RequestTarget
    private let head: HTTPRequestHead
    private var body: ByteBuffer
    private let requestID: RequestID
    private let started = NIODeadline.now()

    private var phase = Phase.deciding
    private var call: InboundCall!
    private var candidates: [InferenceDecision.Candidate] = []
    private var next = 0
    private var eligible = 0
    private var ledger = AttemptLedger(candidates: 0)
    private var stored: [Int: StoredAnswer] = [:]
    private var upstream: UpstreamConnection?
    /// Tells the callbacks of an attempt that was given up from those of the current one.
    private var attempt = 0
    private var deadline: Scheduled<Void>?
    private var retriedFresh = false
    private var isReadingPaused = false
    private var isEventStream = false
    private var hasDeclaredLength = false
    private var relayedBytes = 0
    /// When the upstream last sent a part of the answer, as exact as the loop's clock.
    private var lastPart = NIODeadline.uptimeNanoseconds(0)

    init(
        connection: ServerConnection, generation: RelayGeneration, caller: Caller, endpoint: InboundCall.Endpoint,
        target: RequestTarget, head: HTTPRequestHead, body: ByteBuffer, requestID: RequestID,
    ) {
        self.connection = connection
        self.generation = generation
        self.caller = caller
        self.endpoint = endpoint
        self.target = target
        self.head = head
        self.body = body
        self.requestID = requestID
    }

    private var configuration: RelayConfiguration { self.generation.configuration }

    private var log: Logger { self.connection.services.log }

    private var currentUpstream: UpstreamSettings {
        self.configuration.upstreams[self.candidates[self.next].upstream]
    }

    // MARK: Deciding

    func start() {
        let scan: BodyScan
        do throws(BodyScanError) {
            scan = try self.scanBody()
        } catch {
            self.refuse(.invalidRequest(error == .invalidJSON ? "invalid JSON" : "request body must be a JSON object"))
            return
        }
        let decision = InferenceDecision.decide(
            scan, caller: self.caller, catalog: self.configuration.catalog, upstreams: self.configuration.upstreams)
        switch decision {
        case .refused(let envelope, let failures):
            if let failures { self.warn("inference: model resolution failed", ["reasons": "\(failures)"]) }
            self.refuse(envelope)
        case .route(let model, let candidates, let eligible):
            self.candidates = candidates
            self.eligible = eligible
            self.ledger = AttemptLedger(candidates: candidates.count)
            self.call = InboundCall(
                endpoint: self.endpoint, query: self.target.query.map { "?" + $0 } ?? "",
                headers: self.head.headers.map { ($0.name, $0.value) }, model: model, modelRanges: scan.modelRanges,
                principal: self.caller.principal, requestID: self.requestID)
            self.phase = .attempting
            self.tryNext()
        }
    }

    private func scanBody() throws(BodyScanError) -> BodyScan {
        let findsNested = self.caller.policy?.models != nil
        let result: Result<BodyScan, BodyScanError> = self.body.withUnsafeReadableBytes { bytes in
            do throws(BodyScanError) {
                return .success(try BodyScanner.scan(bytes, findsNestedModels: findsNested))
            } catch {
                return .failure(error)
            }
        }
        return try result.get()
    }

    private func refuse(_ envelope: ErrorEnvelope) {
        self.phase = .finished
        self.audit(status: envelope.status, model: nil, upstream: nil, head: nil)
        self.connection.answerWhole(.error(envelope, requestID: self.requestID))
    }

    // MARK: Attempting

    private func tryNext(fresh: Bool = false) {
        guard self.next < self.candidates.count else {
            self.giveUp()
            return
        }
        self.attempt += 1
        self.retriedFresh = fresh
        let attempt = self.attempt
        self.scheduleDeadline(attempt)
        self.generation.pools[self.candidates[self.next].upstream].withConnection(fresh: fresh) { result in
            self.connected(result, attempt)
        }
    }

    private func scheduleDeadline(_ attempt: Int) {
        self.deadline?.cancel()
        let bound = NIOLoopBound(self, eventLoop: self.connection.loop.loop)
        let amount = TimeAmount(self.configuration.firstByteTimeout)
        self.deadline = self.connection.loop.loop.scheduleTask(in: amount) {
            let exchange = bound.value
            guard exchange.attempt == attempt else { return }
            if case .collecting(let head, _) = exchange.phase {
                exchange.dropUpstream()
                exchange.attemptFailed(.status(Int(head.status.code)))
                return
            }
            guard case .attempting = exchange.phase else { return }
            exchange.dropUpstream()
            exchange.attemptFailed(.noAnswer("no answer within \(amount.nanoseconds / 1_000_000) ms"))
        }
    }

    private func connected(_ result: Result<UpstreamConnection, any Error>, _ attempt: Int) {
        guard attempt == self.attempt, case .attempting = self.phase else {
            // Given up while connecting: the connection is as good as new.
            if case .success(let connection) = result { connection.abandon() }
            return
        }
        switch result {
        case .failure(let error): self.attemptFailed(.noAnswer(Self.reason(error)))
        case .success(let connection):
            self.upstream = connection
            self.isReadingPaused = false
            let upstream = self.currentUpstream
            let request: UpstreamRequest
            do throws(ProviderRefusal) {
                request = try upstream.provider.request(
                    for: self.call, upstreamModel: self.candidates[self.next].model, upstream)
            } catch {
                self.dropUpstream()
                switch error {
                case .unsupported(let reason): self.attemptFailed(.noAnswer(reason))
                }
                return
            }
            let slices = BodySlices.apply(request.edits, to: self.body)
            var headers = HTTPHeaders(request.headers)
            headers.replaceOrAdd(name: "content-length", value: String(slices.reduce(0) { $0 + $1.readableBytes }))
            let head = HTTPRequestHead(version: .http1_1, method: .POST, uri: request.target, headers: headers)
            connection.send(head, slices: slices, for: self)
        }
    }

    private func dropUpstream() {
        self.upstream?.abandon()
        self.upstream = nil
    }

    private func attemptFailed(_ reason: FailedAttempt.Reason) {
        self.deadline?.cancel()
        self.deadline = nil
        self.upstream = nil
        self.phase = .attempting
        self.ledger.record(FailedAttempt(upstream: self.currentUpstream.name, reason: reason))
        self.next += 1
        if self.next < self.candidates.count {
            let failure = self.ledger.failures.last!
            self.warn(
                "upstream failed, trying next",
                ["upstream": "\(failure.upstream.singleLine)", "reason": "\(failure.reason.text)"])
        }
        self.tryNext()
    }

    /// No upstream served the request: the most telling answer, or a gateway error.
    private func giveUp() {
        let reasons = self.ledger.failures.map { "\($0.upstream): \($0.reason.text)" }.joined(separator: "; ")
        let last = self.stored[self.ledger.failures.count - 1]
        switch self.ledger.verdict {
        case .answer(let index):
            guard let answer = self.stored[index] else { break }
            self.phase = .finished
            let name = self.configuration.upstreams[answer.upstream].name
            if answer.head.status.code >= 500 { self.warnServerError(answer.head.status.code) }
            self.audit(status: Int(answer.head.status.code), model: self.call.model, upstream: name, head: answer.head)
            let headers = ResponseFilter.headers(of: answer.head, isDecoded: ResponseFilter.isDecoded(answer.head))
            self.connection.answerWhole(
                PlainResponse(status: answer.head.status, headers: headers, body: .bytes(answer.body)))
            return
        case .credentialRefused(let index):
            self.warn(
                "upstream refused the gateway's credential", ["upstream": "\(self.ledger.failures[index].upstream)"])
            let envelope = ErrorEnvelope(
                status: 502, type: "api_error",
                message:
                    "the upstream refused the gateway's own credential; your sign-in is fine. Tell your administrator")
            self.finish(envelope, head: self.stored[index]?.head)
            return
        case .allFailed: break
        }
        self.warn("all upstreams failed", ["reasons": "\(reasons.singleLine)"])
        let envelope = ErrorEnvelope(
            status: 502, type: "api_error", message: "all upstreams failed (\(self.eligible) attempted)")
        self.finish(envelope, head: last?.head)
    }

    private func finish(_ envelope: ErrorEnvelope, head: HTTPResponseHead?) {
        self.phase = .finished
        self.warnServerError(UInt(envelope.status))
        self.audit(status: envelope.status, model: self.call.model, upstream: nil, head: head)
        var response = PlainResponse.error(envelope, requestID: self.requestID)
        if let wait = head?.headers.first(name: "retry-after") {
            response.headers.add(name: "retry-after", value: wait)
        }
        self.connection.answerWhole(response)
    }

    // MARK: The upstream's answer

    func upstreamAnswered(_ head: HTTPResponseHead) {
        guard case .attempting = self.phase else { return }
        let status = Int(head.status.code)
        if AttemptLedger.movesOn(status) {
            // The deadline goes on: an upstream that stalls in its error must not hold the request.
            self.phase = .collecting(head, ByteBuffer())
            return
        }
        self.deadline?.cancel()
        self.deadline = nil
        self.phase = .relaying
        self.lastPart = self.connection.loop.now
        // Nothing is sent again from here on; a stream may last long.
        self.body = ByteBuffer()
        self.stored = [:]
        let isDecoded = ResponseFilter.isDecoded(head)
        var headers = ResponseFilter.headers(of: head, isDecoded: isDecoded)
        self.isEventStream =
            head.headers.first(name: "content-type")?.lowercased().hasPrefix("text/event-stream") ?? false
        self.hasDeclaredLength = headers.contains(name: "content-length")
        let hasBody = head.status != .noContent && head.status != .notModified
        if hasBody, !self.hasDeclaredLength, self.head.version != .http1_0 {
            headers.add(name: "transfer-encoding", value: "chunked")
        }
        if (200..<300).contains(status) { headers.add(name: "request-id", value: self.requestID.description) }
        self.audit(status: status, model: self.call.model, upstream: self.currentUpstream.name, head: head)
        self.connection.beginAnswer(status: head.status, headers: headers)
    }

    func upstreamSent(_ bytes: ByteBuffer) {
        switch self.phase {
        case .relaying:
            self.relayedBytes += bytes.readableBytes
            self.lastPart = self.connection.loop.now
            self.connection.writeAnswer(bytes)
        case .collecting(let head, var body):
            self.phase = .attempting
            let room = Self.storedBodyLimit - body.readableBytes
            body.writeImmutableBuffer(bytes.getSlice(at: bytes.readerIndex, length: min(room, bytes.readableBytes))!)
            self.phase = .collecting(head, body)
        case .deciding, .attempting, .finished: break
        }
    }

    func upstreamPaused() {
        guard case .relaying = self.phase else { return }
        self.connection.flushIfNeeded()
        // A slow client slows its upstream instead of filling the gateway's memory.
        if !self.connection.isWritable, !self.isReadingPaused {
            self.isReadingPaused = true
            self.upstream?.setReading(false)
        }
    }

    func upstreamFinished() {
        self.upstream = nil
        switch self.phase {
        case .relaying:
            self.phase = .finished
            self.connection.endAnswer()
        case .collecting(let head, let body):
            self.stored[self.ledger.failures.count] = StoredAnswer(
                head: head, body: body, upstream: self.candidates[self.next].upstream)
            self.attemptFailed(.status(Int(head.status.code)))
        case .deciding, .attempting, .finished: break
        }
    }

    func upstreamBroke(_ reason: String) {
        let isStale = self.upstream?.isReused ?? false
        self.upstream = nil
        switch self.phase {
        case .attempting:
            // A pooled connection that the other side had closed: nothing has come back, so one more try is safe.
            if isStale, !self.retriedFresh {
                self.tryNext(fresh: true)
            } else {
                self.attemptFailed(.noAnswer(reason))
            }
        case .collecting(let head, _): self.attemptFailed(.status(Int(head.status.code)))
        case .relaying: self.interrupted(reason)
        case .deciding, .finished: break
        }
    }

    func upstreamWritabilityChanged(_ isWritable: Bool) {}

    /// Ends an answer of which no part has come for too long, unless it is the client that is not taking it.
    func checkProgress(_ limit: Duration) {
        guard case .relaying = self.phase, !self.isReadingPaused,
            self.connection.loop.now - self.lastPart > TimeAmount(limit)
        else { return }
        self.dropUpstream()
        self.interrupted("nothing came for \(limit.components.seconds) s")
    }

    /// The upstream died in the middle of its answer: the client is told in the stream's own language where there is
    /// one, and must notice in any case.
    private func interrupted(_ reason: String) {
        self.phase = .finished
        let upstream = self.currentUpstream.name
        self.warn("upstream broke off its answer", ["upstream": "\(upstream)", "reason": "\(reason.singleLine)"])
        self.connection.services.audit.record(
            AuditEvent(
                "inference.interrupted",
                [
                    "request_id": .string(self.requestID.description), "sub": .string(self.caller.principal.subject),
                    "email": self.caller.principal.email.map(JSONValue.string), "path": .string(self.endpoint.path),
                    "model": .string(self.call.model), "upstream": .string(upstream), "reason": .string(reason),
                    "bytes": .integer(self.relayedBytes), "ms": .integer(self.elapsedMilliseconds),
                ]))
        guard self.isEventStream, !self.hasDeclaredLength else {
            self.connection.abortAnswer()
            return
        }
        let event = JSONValue.object([
            "type": "error",
            "error": [
                "type": "api_error", "message": "the upstream broke off its answer; the text so far is incomplete",
            ],
            "request_id": .string(self.requestID.description),
        ])
        // The blank line ends whatever event was cut in two.
        self.connection.writeAnswer(ByteBuffer(string: "\n\nevent: error\ndata: \(event.text())\n\n"))
        self.connection.endAnswer()
    }

    // MARK: The client

    func clientWritabilityChanged(_ isWritable: Bool) {
        if isWritable, self.isReadingPaused {
            self.isReadingPaused = false
            self.lastPart = self.connection.loop.now
            self.upstream?.setReading(true)
        }
    }

    /// The client is gone: the upstream is cancelled in the same turn.
    func clientLeft() {
        self.deadline?.cancel()
        self.attempt += 1
        switch self.phase {
        case .attempting, .collecting:
            self.phase = .finished
            self.audit(status: 499, model: self.call.model, upstream: nil, head: nil)
        case .deciding, .relaying, .finished: self.phase = .finished
        }
        self.dropUpstream()
    }

    // MARK: Records

    private var elapsedMilliseconds: Int {
        Int((NIODeadline.now() - self.started).nanoseconds / 1_000_000)
    }

    private func audit(status: Int, model: String?, upstream: String?, head: HTTPResponseHead?) {
        func header(_ names: String...) -> JSONValue {
            names.lazy.compactMap { head?.headers.first(name: $0) }.first.jsonOrNull
        }
        self.connection.services.audit.record(
            AuditEvent(
                "inference",
                [
                    "request_id": .string(self.requestID.description), "sub": .string(self.caller.principal.subject),
                    "email": self.caller.principal.email.map(JSONValue.string), "path": .string(self.endpoint.path),
                    "model": model.jsonOrNull, "upstream": upstream.jsonOrNull,
                    "upstream_request_id": header("request-id", "x-amzn-requestid"),
                    "upstream_cloud_request_id": header("apim-request-id", "x-amzn-requestid"),
                    "status": .integer(status), "ms": .integer(self.elapsedMilliseconds),
                ]))
    }

    private func warn(_ message: Logger.Message, _ metadata: Logger.Metadata) {
        self.log.warning(message, metadata: metadata.merging(["request_id": "\(self.requestID)"]) { first, _ in first })
    }

    private func warnServerError(_ status: UInt) {
        self.warn("upstream answer is a server error", ["status": "\(status)", "path": "\(self.endpoint.path)"])
    }

    private static func reason(_ error: any Error) -> String {
        if let error = error as? NIOConnectionError {
            let inner: [any Error] =
                error.connectionErrors.map(\.error) + [error.dnsAError, error.dnsAAAAError].compactMap { $0 }
            if let known = inner.lazy.compactMap({ $0 as? UpstreamConnectError }).first { return known.description }
            return inner.first.map { "\($0)".singleLine } ?? "cannot connect"
        }
        return "\(error)".singleLine
    }
}

extension FailedAttempt.Reason {
    var text: String {
        switch self {
        case .status(let status): String(status)
        case .noAnswer(let reason): reason
        }
    }
}
