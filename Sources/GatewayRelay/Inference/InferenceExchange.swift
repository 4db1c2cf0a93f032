// SPDX-License-Identifier: Apache-2.0

internal import GatewayCore
internal import GatewayMetering
internal import GatewayPolicy
internal import GatewayProviders
internal import Logging
internal import NIOCore
internal import NIOHTTP1

/// One model request from its whole body to the last byte of its answer, confined to its event loop.
final class InferenceExchange: DeadlineQueue.Entry, UpstreamDelegate {
    private enum Phase {
        case deciding
        /// Nothing has gone to the client; other upstreams may still be tried.
        case attempting
        /// Collecting the body of an answer that may or may not be the one the client gets.
        case collecting(Collection)
        /// Holding the begin of a stream until it has shown that it is none of an error.
        case peeking(Peek)
        case relaying
        /// Relaying a cloud provider's stream.
        case translating(Translation)
        case finished
    }

    private final class Collection {
        let head: ResponseHead
        var body = ByteBuffer()

        init(_ head: ResponseHead) {
            self.head = head.compacted()
        }
    }

    private final class Peek {
        let head: ResponseHead
        var held = ByteBuffer()
        var splitter = SSESplitter()

        init(_ head: ResponseHead) {
            self.head = head.compacted()
        }
    }

    private final class Translation {
        let head: ResponseHead
        var stream: CloudStream
        /// Whether the client has had a head.
        var hasBegun = false

        init(_ head: ResponseHead, _ stream: CloudStream) {
            self.head = head.compacted()
            self.stream = stream
        }
    }

    /// An answer that was not good enough to relay at once, as the client would get it.
    private struct StoredAnswer {
        let head: ResponseHead
        let response: PlainResponse
        let upstream: Int
    }

    /// How long a stream may be held to see how it begins.
    private static let peekLimit = 1 << 16
    /// After this much silence a cloud provider's stream gets a ping of the gateway's own.
    private static let pingInterval = TimeAmount.seconds(15)
    private static let ping = ByteBuffer(string: "event: ping\ndata: {\"type\": \"ping\"}\n\n")
    /// A pooled connection that has been idle for less than this has not been closed by a keep-alive timeout.
    private static let stalenessThreshold = TimeAmount.seconds(1)
    /// Of requests without a usable `max_tokens`, which upstreams refuse anyway.
    private static let assumedOutput = 4096

    /// Error bodies are small; what is longer is cut, because it must be held in memory until another upstream answered.
    private static let storedBodyLimit = 1 << 20

    private let connection: ServerConnection
    private let generation: RelayGeneration
    private let caller: Caller
    private let endpoint: InboundCall.Endpoint
    private let target: RequestTarget
    /// Let go when nobody will look at it again.
    private var head: RequestHead?
    /// Whether the client speaks HTTP/1.0.
    private let isOld: Bool
    private var keptBody: ByteBuffer?
    private let requestID: RequestID
    private let started: NIODeadline

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
    private var retriedFresh = false
    private var retriedCredential = false
    /// What was sent to the current upstream.
    private var request: UpstreamRequest?
    private var usedCredential: ResolvedCredential?
    private var isReadingPaused = false
    private var isEventStream = false
    private var hasDeclaredLength = false
    private var relayedBytes = 0
    /// When the upstream last sent a part of the answer, as exact as the loop's clock.
    private var lastPart = NIODeadline.uptimeNanoseconds(0)
    private var lastPing = NIODeadline.uptimeNanoseconds(0)
    /// Events that came before the first that says something.
    private var held: ByteBuffer?
    /// The request's bill; `nil` where none is kept.
    private var ticket: SpendTicket?
    /// The request as it was, for asking how long its prompt is when an answer does not say.
    private var countable: (body: ByteBuffer, scan: BodyScan)?
    private var maximumOutput: Int?
    private var recorder: ExchangeRecorder
    /// What is left of the client's betas, where some are only for the gateway.
    private var betas: [String]?
    /// Held while the request runs, where requests are counted.
    private var slot: InferenceLimiter.Slot?
    /// The status that the client got.
    private var answeredStatus = 0
    /// The scan of the body as it is sent on, where that is not the client's.
    private var rescanned: BodyScan?

    init(
        connection: ServerConnection, generation: RelayGeneration, caller: Caller, endpoint: InboundCall.Endpoint,
        target: RequestTarget, head: RequestHead, body: ByteBuffer, requestID: RequestID,
    ) {
        self.connection = connection
        self.generation = generation
        self.caller = caller
        self.endpoint = endpoint
        self.target = target
        self.head = head
        self.isOld = head.isOld
        self.keptBody = body
        self.requestID = requestID
        self.started = connection.loop.eventTime
        self.recorder = ExchangeRecorder(
            connection.services, traceparent: head.fields.first("traceparent"))
    }

    private var configuration: RelayConfiguration { self.generation.configuration }

    /// The request's body, until nothing of it is sent again.
    private var body: ByteBuffer { self.keptBody ?? ByteBuffer() }

    private var log: Logger { self.connection.services.log }

    private var currentUpstream: UpstreamSettings {
        self.configuration.upstreams[self.candidates[self.next].upstream]
    }

    // MARK: Deciding

    func start() {
        if self.endpoint == .messages, let rates = self.configuration.rates {
            let principal = self.caller.principal.subject
            switch rates.limiter.admit(principal, rates.settings, now: .now) {
            case .success(let slot): self.slot = slot
            case .failure(let refusal):
                self.refuse(refusal)
                return
            }
        }
        guard self.endpoint == .messages, let control = self.configuration.spend else {
            self.decide()
            return
        }
        let principal = self.caller.principal
        self.ticket = SpendTicket(control, self.connection.loop.spending, principal, self.requestID)
        // Whoever may not spend is told so whatever the request says.
        let memory = self.generation.memory(of: principal)
        if let verdict = control.recall(memory, requestID: self.requestID) {
            self.checked(verdict)
            return
        }
        let bound = NIOLoopBound(self, eventLoop: self.connection.loop.loop)
        let known = control.check(principal, memory, requestID: self.requestID) { verdict in
            bound.eventLoop.execute { bound.value.checked(verdict) }
        }
        if let known { self.checked(known) }
    }

    private func checked(_ verdict: SpendVerdict) {
        guard case .deciding = self.phase else { return }
        switch verdict {
        case .blocked(let refusal): self.refuse(refusal)
        case .allowed(let allowance):
            self.ticket?.allowance = allowance
            self.decide()
        }
    }

    private func decide() {
        let scan: BodyScan
        do throws(BodyScanError) {
            scan = try self.scanBody()
            if let ticket { try self.readSpend(scan, ticket) }
        } catch {
            self.refuse(.invalidRequest(error == .invalidJSON ? "invalid JSON" : "request body must be a JSON object"))
            return
        }
        if let rescanned { self.decide(rescanned) } else { self.decide(scan) }
    }

    /// Notes what the body says about its cost, and takes out what is only for the gateway.
    private func readSpend(_ scan: BodyScan, _ ticket: SpendTicket) throws(BodyScanError) {
        var spend = BodySpend(scan, BufferBody(self.body))
        if let tag = ticket.control.billingGroupTag {
            self.withholdTagBeta()
            if spend.hasTags {
                ticket.billing = spend.billing(tag: tag, groups: self.caller.principal.groups ?? [])
                self.keptBody = ByteBuffer(bytes: spend.untagged)
                let scan = try self.scanBody()
                self.rescanned = scan
                spend = BodySpend(scan, BufferBody(self.body))
            }
        }
        ticket.inputEstimate = spend.promptTokens
        self.maximumOutput = spend.maximumOutput
        if !scan.streams { self.countable = (self.body, self.rescanned ?? scan) }
    }

    private static let tagBeta = "request-tags-2026-08-21"

    private func withholdTagBeta() {
        let values = self.head?.fields.values("anthropic-beta") ?? []
        guard values.contains(where: { $0.contains(Self.tagBeta) }) else { return }
        self.betas = values.compactMap { value in
            let kept = value.split(separator: ",").map { String($0).trimmingSpaces }.filter { $0 != Self.tagBeta }
            return kept.isEmpty ? nil : kept.joined(separator: ",")
        }
    }

    private func decide(_ scan: BodyScan) {
        switch self.connection.decide(scan, self.caller, self.generation) {
        case .refused(let envelope, let failures):
            if let failures { self.warn("inference: model resolution failed", ["reasons": "\(failures)"]) }
            self.refuse(envelope)
        case .route(let model, let all, let eligible):
            let (candidates, missing) = self.able(all, scan)
            if let missing {
                self.refuse(.invalidRequest(Self.sentence(missing, model: model)))
                return
            }
            self.candidates = self.ordered(candidates)
            self.eligible = eligible
            self.ledger = AttemptLedger(candidates: candidates.count)
            self.call = InboundCall(
                endpoint: self.endpoint, query: self.target.query.map { "?" + $0 } ?? "",
                headers: self.head ?? FieldBlock(), betas: self.betas, model: model, modelRanges: scan.modelRanges,
                streams: scan.streams, members: scan.members, body: BufferBody(self.body),
                principal: self.caller.principal, requestID: self.requestID)
            self.ticket?.model = model
            self.reserve()
        }
    }

    /// The candidates that have what the request needs; or the need that none of them meets.
    private func able(_ candidates: [InferenceDecision.Candidate], _ scan: BodyScan)
        -> ([InferenceDecision.Candidate], missing: Capability?)
    {
        guard self.endpoint == .messages, !self.configuration.unevenCapabilities.isEmpty else {
            return (candidates, nil)
        }
        let uneven = self.configuration.unevenCapabilities.filter { self.body.contains($0.mark) }
        guard !uneven.isEmpty else { return (candidates, nil) }
        var left = candidates
        for need in Capability.needed(by: BufferBody(self.body), scan.members, among: uneven) {
            left.removeAll { self.configuration.upstreams[$0.upstream].lacks.contains(need) }
            if left.isEmpty { return ([], need) }
        }
        return (left, nil)
    }

    private static func sentence(_ need: Capability, model: String) -> String {
        let having = ProviderRegistry.standard.filter { !$0.lacks.contains(need) }.map { $0.name }
        return
            "\(need.noun) is not available for \(model.printableASCII(limit: 128)) through this gateway; an upstream of kind \(having.joined(separator: ", ")) would have it"
    }

    /// Takes the request's share of what is left to spend.
    private func reserve() {
        guard let ticket else {
            self.beginAttempts()
            return
        }
        let control = ticket.control
        var worstCase = Money.zero
        for candidate in self.candidates {
            let price = self.source(of: candidate, ticket).price
            worstCase = max(
                worstCase,
                control.pricer.worstCase(
                    promptTokens: ticket.longestPrompt, maximumOutput: self.maximumOutput ?? Self.assumedOutput, price))
            // Exact mode cannot tell which upstream will answer.
            if !control.isExact { break }
        }
        if let grant = control.reserve(ticket.allowance, worstCase: worstCase) {
            self.reserved(.granted(grant))
            return
        }
        var group: String?
        if case .group(let name) = ticket.billing { group = name }
        let bound = NIOLoopBound(self, eventLoop: self.connection.loop.loop)
        let now = control.reserve(
            self.caller.principal, ticket.allowance, worstCase: worstCase, billingGroup: group,
            requestID: self.requestID
        ) { reservation in
            bound.eventLoop.execute { bound.value.reserved(reservation) }
        }
        if let now { self.reserved(now) }
    }

    private func source(of candidate: InferenceDecision.Candidate, _ ticket: SpendTicket) -> SpendSource {
        self.generation.source(
            ticket.control, upstream: candidate.upstream, upstreamModel: candidate.model, modelID: ticket.model)
    }

    private func reserved(_ reservation: SpendReservation) {
        if case .granted(let grant) = reservation { self.ticket?.granted(grant) }
        guard case .deciding = self.phase else {
            // The client has gone while the request waited.
            self.ticket?.release()
            return
        }
        switch reservation {
        case .refused(let refusal): self.refuse(refusal)
        case .granted: self.beginAttempts()
        }
    }

    private func beginAttempts() {
        self.phase = .attempting
        self.configuration.retryBudget?.began(now: .now)
        self.tryNext()
    }

    /// Upstreams that have lately failed come last.
    private func ordered(_ candidates: [InferenceDecision.Candidate]) -> [InferenceDecision.Candidate] {
        guard candidates.count > 1 else { return candidates }
        var candidates = candidates
        if self.configuration.hasWeights {
            let session =
                self.configuration.routing.keepsSessions
                ? self.head?.fields.first("x-claude-code-session-id") : nil
            let items = candidates.map { candidate in
                let upstream = self.configuration.upstreams[candidate.upstream]
                return (name: upstream.name, weight: upstream.weight)
            }
            candidates = WeightedOrder.order(items, key: session ?? self.requestID.description).map { candidates[$0] }
        }
        let (health, now) = (self.configuration.health, Timestamp.now)
        let resting = candidates.map { health.rests($0.upstream, model: $0.model, now: now) }
        if !resting.contains(true) { return candidates }
        let pairs = zip(candidates, resting)
        return pairs.filter { !$0.1 }.map(\.0) + pairs.filter { $0.1 }.map(\.0)
    }

    private func scanBody() throws(BodyScanError) -> BodyScan {
        let findsNested = self.caller.limitsModels
        let listsMembers = self.configuration.listsMembers
        return try self.body.reading { bytes throws(BodyScanError) in
            try BodyScanner.scan(bytes, findsNestedModels: findsNested, listsMembers: listsMembers)
        }
    }

    private func refuse(_ refusal: InferenceLimiter.Refusal) {
        self.phase = .finished
        self.connection.loop.record(
            AuditEvent(
                "rate.limited",
                [
                    "request_id": .string(self.requestID.description), "sub": .string(self.caller.principal.subject),
                    "email": self.caller.principal.email.map(JSONValue.string), "reason": .string(refusal.limit),
                ]))
        let envelope = ErrorEnvelope(status: 429, type: "rate_limit_error", message: refusal.message)
        var response = PlainResponse.error(envelope, requestID: self.requestID)
        response.headers.add(name: "retry-after", value: String(refusal.retryAfterSeconds))
        self.connection.answerWhole(response)
    }

    /// No request of the model's: there is no `inference` line, and the error has no id in its body.
    private func refuse(_ refusal: SpendRefusal) {
        self.phase = .finished
        self.ticket?.release()
        let body: JSONValue = [
            "type": "error", "error": ["type": "billing_error", "message": .string(refusal.message)],
        ]
        var headers: HTTPHeaders = ["content-type": "application/json;charset=utf-8"]
        for header in refusal.headers { headers.add(name: header.name, value: header.value) }
        self.connection.answerWhole(
            PlainResponse(status: .tooManyRequests, headers: headers, body: .bytes(ByteBuffer(bytes: body.bytes()))))
    }

    private func refuse(_ envelope: ErrorEnvelope) {
        self.phase = .finished
        self.ticket?.release()
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
        let now = self.connection.loop.eventTime
        let traceparent = self.recorder.beginAttempt(now)
        let attempt = self.attempt
        self.generation.firstBytes.begin(self, now: now)
        let candidate = self.candidates[self.next]
        do throws(ProviderRefusal) {
            let upstream = self.currentUpstream
            self.request = try upstream.provider.request(for: self.call, upstreamModel: candidate.model, upstream)
            if let traceparent, let headers = self.request?.headers {
                self.request?.headers = headers.replacing("traceparent", with: traceparent)
            }
        } catch {
            self.cannotAsk(error)
            return
        }
        self.usedCredential = nil
        guard self.request?.authorization != .included,
            let credential = self.configuration.credentials[candidate.upstream]
        else {
            self.connect(attempt, fresh: fresh)
            return
        }
        if let ready = credential.ready(for: self.caller.principal, now: .now) {
            self.usedCredential = ready
            self.connect(attempt, fresh: fresh)
            return
        }
        let bound = NIOLoopBound(self, eventLoop: self.connection.loop.loop)
        let principal = self.caller.principal
        Task {
            let result: Result<ResolvedCredential, any Error>
            do {
                result = .success(try await credential.resolve(for: principal))
            } catch {
                result = .failure(error)
            }
            bound.eventLoop.execute {
                let exchange = bound.value
                guard exchange.attempt == attempt, case .attempting = exchange.phase else { return }
                switch result {
                case .success(let credential):
                    exchange.usedCredential = credential
                    exchange.connect(attempt, fresh: fresh)
                case .failure(let error): exchange.attemptFailed(.noAnswer("credential: \(error)".singleLine))
                }
            }
        }
    }

    private func cannotAsk(_ refusal: ProviderRefusal) {
        switch refusal {
        case .unsupported(let reason):
            self.storeUnsupported()
            self.warn(
                "upstream cannot serve this", ["upstream": "\(self.currentUpstream.name)", "reason": "\(reason)"])
            self.attemptFailed(.status(501))
        }
    }

    private func connect(_ attempt: Int, fresh: Bool) {
        self.generation.pools[self.candidates[self.next].upstream].withConnection(fresh: fresh) { result in
            self.connected(result, attempt)
        }
    }

    override func deadlineCame() {
        if case .collecting(let collection) = self.phase {
            self.dropUpstream()
            self.attemptFailed(.status(collection.head.status))
            return
        }
        guard case .attempting = self.phase else { return }
        self.dropUpstream()
        self.configuration.health.wasSilent(self.candidates[self.next].upstream, now: .now)
        let amount = TimeAmount(self.configuration.firstByteTimeout)
        self.attemptFailed(.noAnswer("no answer within \(amount.nanoseconds / 1_000_000) ms"))
    }

    private func endDeadline() {
        self.generation.firstBytes.end(self)
    }

    deinit {
        self.endDeadline()
    }

    private func connected(_ result: Result<UpstreamConnection, any Error>, _ attempt: Int) {
        guard attempt == self.attempt, case .attempting = self.phase else {
            // Given up while connecting: the connection is as good as new.
            if case .success(let connection) = result { connection.abandon() }
            return
        }
        switch result {
        case .failure(let error): self.attemptFailed(.noAnswer("\(error)".singleLine))
        case .success(let connection):
            guard let request = self.request else { return }
            self.upstream = connection
            self.isReadingPaused = false
            let slices = request.body.map { [ByteBuffer(bytes: $0)] } ?? BodySlices.apply(request.edits, to: self.body)
            connection.send(request, slices: slices, self.usedCredential, for: self)
        }
    }

    private func dropUpstream() {
        self.upstream?.abandon()
        self.upstream = nil
    }

    private func attemptFailed(_ reason: FailedAttempt.Reason) {
        self.endDeadline()
        self.upstream = nil
        self.phase = .attempting
        self.ledger.record(FailedAttempt(upstream: self.currentUpstream.name, reason: reason))
        let candidate = self.candidates[self.next]
        self.endAttempt(error: reason.label)
        if reason.isAboutUpstream {
            self.configuration.health.failed(candidate.upstream, model: candidate.model, now: .now)
        }
        self.next += 1
        if self.next < self.candidates.count {
            if self.configuration.retryBudget?.take(now: .now) == false {
                self.warn("the retry budget is used up; no further upstream is tried", [:])
                self.giveUp()
                return
            }
            let failure = self.ledger.failures.last!
            self.recorder.failedOver(failure.upstream, reason: reason.label)
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
            if answer.response.status.code >= 500 { self.warnServerError(answer.response.status.code) }
            self.audit(
                status: Int(answer.response.status.code), model: self.call.model, upstream: name, head: answer.head)
            self.ticket?.release()
            self.connection.answerWhole(answer.response)
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

    private func finish(_ envelope: ErrorEnvelope, head: ResponseHead?) {
        self.phase = .finished
        self.ticket?.release()
        self.warnServerError(UInt(envelope.status))
        self.audit(status: envelope.status, model: self.call.model, upstream: nil, head: head)
        var response = PlainResponse.error(envelope, requestID: self.requestID)
        if let wait = head?.fields.first("retry-after") {
            response.headers.add(name: "retry-after", value: wait)
        }
        self.connection.answerWhole(response)
    }

    // MARK: The upstream's answer

    private var passesAnswers: Bool { self.currentUpstream.passesAnswers }

    func upstreamAnswered(_ head: ResponseHead) {
        guard case .attempting = self.phase else { return }
        self.configuration.health.answered(self.candidates[self.next].upstream)
        let status = head.status
        if self.renewsCredential(status) { return }
        let isGood = (200..<300).contains(status)
        // A cloud provider's refusals are told in the gateway's words, and its counts in another form.
        let mustCollect = !self.passesAnswers && (!isGood || self.request?.answer == .bedrockCount)
        if self.movesOn(status) || mustCollect {
            // The deadline goes on: an upstream that stalls in its error must not hold the request.
            self.phase = .collecting(Collection(head))
            return
        }
        self.endDeadline()
        self.lastPart = self.connection.loop.now
        let isStream = head.isEventStream
        if !self.passesAnswers, isStream {
            self.phase = .translating(Translation(head, CloudStream(self.request?.answer ?? .messages)))
        } else if self.passesAnswers, isStream, isGood, self.next + 1 < self.candidates.count {
            self.phase = .peeking(Peek(head))
        } else {
            self.beginRelaying(head)
        }
    }

    /// A fetched credential that is refused may have been replaced behind the gateway's back: one more try with a new
    /// one.
    private func renewsCredential(_ status: Int) -> Bool {
        guard status == 401, !self.retriedCredential, let used = self.usedCredential,
            let credential = self.configuration.credentials[self.candidates[self.next].upstream]
        else { return false }
        self.retriedCredential = true
        credential.invalidate(used)
        self.warn(
            "upstream refused a fetched credential, trying once more with a new one",
            ["upstream": "\(self.currentUpstream.name)"])
        self.dropUpstream()
        self.tryNext(fresh: true)
        return true
    }

    private func noteServed() {
        let candidate = self.candidates[self.next]
        self.configuration.health.served(candidate.upstream, model: candidate.model)
    }

    /// Nothing is sent again from here on; a stream may last long.
    private func commit() {
        self.noteServed()
        self.keptBody = nil
        // A question about the prompt's length has the client's headers too.
        self.call.dropBody(keepingHeaders: self.countable != nil)
        self.head = nil
        self.request = nil
        self.rescanned = nil
        self.stored = [:]
    }

    private func beginRelaying(_ head: ResponseHead) {
        self.phase = .relaying
        self.lastPart = self.connection.loop.now
        self.commit()
        let status = HTTPResponseStatus(statusCode: head.status, reasonPhrase: head.reason)
        var lines = self.connection.answerHead(status)
        var passed = ResponseFilter.Passed()
        if self.passesAnswers {
            passed = ResponseFilter.pass(head, into: &lines)
        } else {
            lines.add(lines: "content-type: application/json;charset=utf-8\r\n")
            if !ResponseFilter.isDecoded(head), let length = head.fields.first("content-length") {
                lines.add("content-length", length)
                passed.hasLength = true
            }
        }
        self.isEventStream = head.isEventStream
        self.hasDeclaredLength = passed.hasLength
        let hasBody = head.status != 204 && head.status != 304
        if (200..<300).contains(head.status) {
            lines.add("request-id", sound: self.requestID.description)
            self.beginMetering(&lines)
        }
        self.audit(status: head.status, model: self.call.model, upstream: self.currentUpstream.name, head: head)
        self.connection.beginAnswer(
            status: status, lines, hasBody && !passed.hasLength ? self.openFraming : .declared,
            hasDate: passed.hasDate)
    }

    /// The head of a cloud provider's stream: the gateway's own, for nothing of the provider's concerns the client.
    private func beginTranslating(_ head: ResponseHead) {
        self.commit()
        self.isEventStream = true
        self.hasDeclaredLength = false
        var lines = self.connection.answerHead(.ok)
        lines.add(lines: "content-type: text/event-stream\r\ncache-control: no-cache\r\n")
        lines.add("request-id", sound: self.requestID.description)
        self.beginMetering(&lines)
        self.audit(status: 200, model: self.call.model, upstream: self.currentUpstream.name, head: head)
        self.connection.beginAnswer(status: .ok, lines, self.openFraming)
    }

    /// How a body ends whose length is not known ahead.
    private var openFraming: BodyFraming { self.isOld ? .connectionEnd : .chunked }

    private func beginMetering(_ lines: inout FieldLines) {
        self.recorder.beganAnswer()
        guard let ticket else { return }
        lines.add(ticket.allowance.headers)
        ticket.begin(self.isEventStream ? .events : .json, self.source(of: self.candidates[self.next], ticket))
    }

    /// Gives a part of the answer to the client, and to the books.
    private func pass(_ bytes: ByteBuffer, framed: ByteBuffer? = nil) {
        if self.relayedBytes == 0, bytes.readableBytes > 0 {
            self.recorder.passed(
                self.currentUpstream.name, self.candidates[self.next].model, self.connection.loop.eventTime)
        }
        self.relayedBytes += bytes.readableBytes
        self.ticket?.receive(bytes)
        self.connection.writeAnswer(bytes, framed: framed)
    }

    /// Ends the metering of an answer that the client has got, or a part of it.
    private func closeTicket(isWhole: Bool) {
        guard let ticket else { return }
        let mayAsk = isWhole && self.countable != nil && self.call != nil
        ticket.finish(isWhole: isWhole, count: mayAsk ? { self.countPrompt($0) } : nil)
    }

    /// Asks the upstream that has answered how long the prompt was.
    private func countPrompt(_ done: @escaping (Int?) -> Void) {
        guard let countable, let call else { return done(nil) }
        let candidate = self.candidates[self.next]
        TokenCountQuery.ask(
            call, parts: BodySpend(countable.scan, BufferBody(countable.body)).countable,
            upstream: self.currentUpstream, model: candidate.model, pool: self.generation.pools[candidate.upstream],
            credential: self.usedCredential, loop: self.connection.loop.loop, done)
    }

    func upstreamSent(_ bytes: ByteBuffer, framed: ByteBuffer?) {
        switch self.phase {
        case .relaying:
            self.lastPart = self.connection.loop.now
            self.pass(bytes, framed: framed)
        case .collecting(let collection):
            let room = Self.storedBodyLimit - collection.body.readableBytes
            collection.body.writeImmutableBuffer(
                bytes.getSlice(at: bytes.readerIndex, length: min(room, bytes.readableBytes))!)
        case .peeking(let peek):
            peek.held.writeImmutableBuffer(bytes)
            peek.splitter.receive(bytes)
            self.lastPart = self.connection.loop.now
            self.look(peek)
        case .translating(let translation):
            self.lastPart = self.connection.loop.now
            self.carryOut(translation.stream.receive(bytes), translation)
        case .deciding, .attempting, .finished: break
        }
    }

    /// Looks for the first event that says something: an error there is this upstream's failure, and another may do
    /// better.
    private func look(_ peek: Peek) {
        while let event = peek.splitter.next() {
            if let type = event.errorType {
                self.streamFailedEarly(peek.head, type: type, body: event.data)
                return
            }
            if event.isContent {
                self.release(peek)
                return
            }
        }
        if peek.held.readableBytes > Self.peekLimit { self.release(peek) }
    }

    private func release(_ peek: Peek) {
        self.beginRelaying(peek.head)
        self.pass(peek.held)
    }

    /// An error before any content: as if the upstream had answered with its status.
    private func streamFailedEarly(_ head: ResponseHead, type: String, body: [UInt8]) {
        self.dropUpstream()
        let status = ErrorStatus.of(type)
        let response = PlainResponse(
            status: HTTPResponseStatus(statusCode: status), headers: ["content-type": "application/json"],
            body: .bytes(ByteBuffer(bytes: body)))
        self.settle(head, status: status, response)
    }

    /// An answer that is whole: kept while others may do better, or the client's.
    private func settle(_ head: ResponseHead, status: Int, _ response: PlainResponse) {
        let upstream = self.candidates[self.next].upstream
        if self.movesOn(status) {
            self.stored[self.ledger.failures.count] = StoredAnswer(head: head, response: response, upstream: upstream)
            self.attemptFailed(.status(status))
            return
        }
        self.endDeadline()
        self.phase = .finished
        self.ticket?.release()
        if status < 429 { self.noteServed() }
        self.endAttempt(error: status < 400 ? nil : String(status))
        if status >= 500 { self.warnServerError(UInt(status)) }
        self.audit(status: status, model: self.call.model, upstream: self.currentUpstream.name, head: head)
        self.connection.answerWhole(response)
    }

    /// Whether another upstream may do better after that status of the current one.
    private func movesOn(_ status: Int) -> Bool {
        guard let own = self.currentUpstream.failsOverOn else { return AttemptLedger.movesOn(status) }
        // The gateway's own credential is never the developer's affair.
        return own.contains(status) || status == 401
    }

    private func hold(_ bytes: ByteBuffer) {
        if self.held == nil { self.held = bytes } else { self.held?.writeImmutableBuffer(bytes) }
    }

    private func passHeld() {
        guard let held = self.held.take() else { return }
        self.pass(held)
    }

    private func carryOut(_ steps: [CloudStream.Step], _ translation: Translation) {
        for step in steps {
            guard case .translating = self.phase else { return }
            switch step {
            case .events(let bytes):
                if !translation.hasBegun {
                    // Pings and comments wait with the head for the first event that says something.
                    self.hold(bytes)
                    guard translation.stream.hasContent else { continue }
                    self.beginTranslating(translation.head)
                    translation.hasBegun = true
                    self.passHeld()
                } else {
                    self.pass(bytes)
                }
            case .failure(let type, let detail):
                self.warn(
                    "upstream stream error",
                    ["upstream": "\(self.currentUpstream.name)", "type": "\(type)", "reason": "\(detail)"])
                if translation.hasBegun {
                    self.dropUpstream()
                    self.endWithError(type: type, message: "upstream error", reason: detail)
                } else {
                    self.held = nil
                    let envelope = ErrorEnvelope(status: ErrorStatus.of(type), type: type, message: "upstream error")
                    self.dropUpstream()
                    self.settle(
                        translation.head, status: envelope.status, .error(envelope, requestID: self.requestID))
                }
                return
            }
        }
    }

    func upstreamPaused() {
        switch self.phase {
        case .relaying, .translating: break
        default: return
        }
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
        case .relaying: self.completed()
        case .collecting(let collection): self.collected(collection.head, collection.body)
        case .peeking(let peek):
            self.release(peek)
            self.completed()
        case .translating(let translation):
            self.carryOut(translation.stream.finish(), translation)
            guard case .translating = self.phase else { return }
            if !translation.hasBegun {
                self.beginTranslating(translation.head)
                self.passHeld()
            }
            self.completed()
        case .deciding, .attempting, .finished: break
        }
    }

    private func completed() {
        self.phase = .finished
        // Whoever has the answer finds it in the books and in the log.
        self.closeTicket(isWhole: true)
        self.conclude(.complete)
        self.connection.endAnswer()
    }

    /// A whole answer that was not relayed as it came.
    private func collected(_ head: ResponseHead, _ body: ByteBuffer) {
        let status = head.status
        guard !self.passesAnswers else {
            let answered = HTTPResponseStatus(statusCode: status, reasonPhrase: head.reason)
            self.settle(
                head, status: status,
                PlainResponse(status: answered, headers: ResponseFilter.headers(of: head), body: .bytes(body)))
            return
        }
        let bytes = Array(body.readableBytesView)
        if self.request?.answer == .bedrockCount, self.count(head, status, bytes) { return }
        let upstream = self.currentUpstream
        let failure = CloudFailure(
            status: status, body: bytes, provider: type(of: upstream.provider).name, model: self.call.model)
        self.warn(
            "cloud provider refused",
            ["upstream": "\(upstream.name)", "status": "\(status)", "reason": "\(failure.detail)"])
        // Redirects are not followed: credentials and bodies go to the configured host only.
        let shown = (200..<400).contains(status) ? 502 : status
        let envelope = ErrorEnvelope(status: shown, type: failure.type, message: failure.message)
        var response = PlainResponse.error(envelope, requestID: self.requestID)
        for name in ["retry-after", "x-should-retry"] as [StaticString] {
            if let value = head.fields.first(name) { response.headers.replaceOrAdd(name: "\(name)", value: value) }
        }
        self.settle(head, status: shown, response)
    }

    /// Bedrock's count in the form of the Messages API. What Bedrock cannot count is no failure of the request's.
    private func count(_ head: ResponseHead, _ status: Int, _ body: [UInt8]) -> Bool {
        if status == 200, let tokens = (try? JSONValue(parsing: body))?["inputTokens"]?.integer {
            let json = JSONValue.object(["input_tokens": .integer(tokens)])
            self.settle(
                head, status: 200,
                PlainResponse(
                    status: .ok,
                    headers: [
                        "content-type": "application/json;charset=utf-8", "request-id": self.requestID.description,
                    ], body: .bytes(ByteBuffer(bytes: json.bytes()))))
            return true
        }
        guard status < 429 || status == 501 else { return false }
        self.warn(
            "upstream cannot count", ["upstream": "\(self.currentUpstream.name)", "status": "\(status)"])
        self.storeUnsupported()
        self.attemptFailed(.status(501))
        return true
    }

    private func storeUnsupported() {
        let envelope = ErrorEnvelope(
            status: 501, type: "not_supported", message: "count_tokens is not available on this Bedrock upstream")
        var response = PlainResponse.error(envelope, requestID: self.requestID)
        response.headers.replaceOrAdd(name: "x-should-retry", value: "false")
        self.stored[self.ledger.failures.count] = StoredAnswer(
            head: ResponseHead(status: 501), response: response,
            upstream: self.candidates[self.next].upstream)
    }

    func upstreamBroke(_ reason: String) {
        // Only a connection that was idle for a while may have been closed by the other side's keep-alive timeout.
        let isStale = self.upstream.map { $0.isReused && $0.idleTime >= Self.stalenessThreshold } ?? false
        self.upstream = nil
        switch self.phase {
        case .attempting:
            // A pooled connection that the other side had closed: nothing has come back, so one more try is safe.
            if isStale, !self.retriedFresh {
                self.tryNext(fresh: true)
            } else {
                self.attemptFailed(.noAnswer(reason))
            }
        case .collecting(let collection): self.attemptFailed(.status(collection.head.status))
        case .translating(let translation) where translation.hasBegun: self.interrupted(reason)
        case .peeking, .translating:
            self.held = nil
            self.attemptFailed(.noAnswer(reason))
        case .relaying: self.interrupted(reason)
        case .deciding, .finished: break
        }
    }

    /// Ends an answer of which no part has come for too long, unless it is the client that is not taking it; and keeps a
    /// cloud provider's silent stream alive.
    func checkProgress(_ limit: TimeAmount) {
        let now = self.connection.loop.now
        let silence = now - self.lastPart
        switch self.phase {
        case .relaying, .peeking, .translating: break
        default: return
        }
        guard !self.isReadingPaused else { return }
        if silence > limit {
            self.dropUpstream()
            self.upstreamBroke("nothing came for \(limit.nanoseconds / 1_000_000_000) s")
            return
        }
        switch self.phase {
        case .translating(let translation)
        where silence >= Self.pingInterval && now - self.lastPing >= Self.pingInterval:
            self.lastPing = now
            if !translation.hasBegun {
                self.beginTranslating(translation.head)
                translation.hasBegun = true
                self.passHeld()
            }
            self.connection.writeAnswer(Self.ping)
            self.connection.flushIfNeeded()
        case .peeking(let peek) where silence >= Self.pingInterval:
            self.release(peek)
            self.connection.flushIfNeeded()
        default: return
        }
    }

    /// The upstream died in the middle of its answer: the client is told in the stream's own language where there is
    /// one, and must notice in any case.
    private func interrupted(_ reason: String) {
        self.phase = .finished
        let upstream = self.currentUpstream.name
        self.warn("upstream broke off its answer", ["upstream": "\(upstream)", "reason": "\(reason.singleLine)"])
        self.recordInterruption(reason)
        self.tell(
            type: "api_error", message: "the upstream broke off its answer; the text so far is incomplete")
    }

    private func recordInterruption(_ reason: String) {
        let upstream = self.currentUpstream.name
        self.connection.loop.record(
            AuditEvent(
                "inference.interrupted",
                [
                    "request_id": .string(self.requestID.description), "sub": .string(self.caller.principal.subject),
                    "email": self.caller.principal.email.map(JSONValue.string), "path": .string(self.endpoint.path),
                    "model": .string(self.call.model), "upstream": .string(upstream), "reason": .string(reason),
                    "bytes": .integer(self.relayedBytes), "ms": .integer(self.elapsedMilliseconds),
                ]))
    }

    /// Ends a stream with an error that the provider has told.
    private func endWithError(type: String, message: String, reason: String) {
        self.phase = .finished
        self.recordInterruption(reason)
        self.tell(type: type, message: message)
    }

    private func tell(type: String, message: String) {
        self.closeTicket(isWhole: false)
        self.conclude(.interrupted)
        guard self.isEventStream, !self.hasDeclaredLength else {
            self.connection.abortAnswer()
            return
        }
        let event = JSONValue.object([
            "type": "error", "error": ["type": .string(type), "message": .string(message)],
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
        self.endDeadline()
        self.attempt += 1
        switch self.phase {
        case .translating(let translation) where translation.hasBegun:
            self.phase = .finished
            self.closeTicket(isWhole: false)
            self.conclude(.abandoned)
        case .peeking, .translating:
            // The upstream has begun to work, and charges for it.
            self.phase = .finished
            self.endAttempt(error: AnswerOutcome.abandoned.rawValue)
            self.audit(status: 499, model: self.call.model, upstream: nil, head: nil)
            var unsent = FieldLines()
            self.beginMetering(&unsent)
            self.closeTicket(isWhole: false)
        case .attempting, .collecting:
            self.phase = .finished
            self.endAttempt(error: AnswerOutcome.abandoned.rawValue)
            self.ticket?.release()
            self.audit(status: 499, model: self.call.model, upstream: nil, head: nil)
        case .deciding:
            self.phase = .finished
            self.ticket?.release()
        case .relaying:
            self.phase = .finished
            self.closeTicket(isWhole: false)
            self.conclude(.abandoned)
        case .finished: break
        }
        self.dropUpstream()
    }

    // MARK: Records

    private var elapsedMilliseconds: Int {
        Int((self.connection.loop.eventTime - self.started).nanoseconds / 1_000_000)
    }

    private func endAttempt(error: String?) {
        self.recorder.endAttempt(self.currentUpstream, self.candidates[self.next].model, error: error)
    }

    /// An answer that has begun to go to the client has ended.
    private func conclude(_ outcome: AnswerOutcome) {
        let milliseconds = self.recorder.firstByteMilliseconds
        self.endAttempt(
            error: outcome == .complete
                ? (self.answeredStatus < 400 ? nil : String(self.answeredStatus)) : outcome.rawValue)
        self.recorder.endedAnswer(outcome, bytes: self.relayedBytes)
        self.recorder.end(status: self.answeredStatus, path: self.endpoint.path, requestID: self.requestID)
        self.slot = nil
        let usage = self.ticket?.usage
        if let usage, let rates = self.configuration.rates {
            // Reading a cache costs providers next to nothing, and does not count for their limits either.
            let tokens = usage.input + usage.cacheWrite5m + usage.cacheWrite1h + usage.output
            rates.limiter.used(self.caller.principal.subject, tokens: tokens, now: .now)
        }
        guard self.connection.services.recordsOutcomes else { return }
        self.connection.loop.record(
            AuditEvent("inference.end", countedBy: outcome.rawValue) { event in
                event.add("request_id", word: self.requestID.description)
                event.add("outcome", word: outcome.rawValue)
                event.add("upstream", self.currentUpstream.name)
                event.add("status", self.answeredStatus)
                event.add("bytes", self.relayedBytes)
                event.add("first_byte_ms", ifAny: milliseconds)
                event.add("ms", self.elapsedMilliseconds)
                event.add("input_tokens", ifAny: usage?.input)
                event.add("output_tokens", ifAny: usage?.output)
            })
    }

    private func audit(status: Int, model: String?, upstream: String?, head: ResponseHead?) {
        self.answeredStatus = status
        if case .finished = self.phase {
            self.recorder.end(status: status, path: self.endpoint.path, requestID: self.requestID)
        }
        let amazon = head?.fields.first("x-amzn-requestid")
        self.connection.loop.record(
            AuditEvent("inference", countedBy: "") { event in
                event.add("request_id", word: self.requestID.description)
                event.add(self.caller.auditFields)
                event.add("path", word: self.endpoint.path)
                event.add("model", orNull: model)
                event.add("upstream", orNull: upstream)
                event.add("upstream_request_id", orNull: head?.fields.first("request-id") ?? amazon)
                event.add("upstream_cloud_request_id", orNull: head?.fields.first("apim-request-id") ?? amazon)
                event.add("status", status)
                event.add("ms", self.elapsedMilliseconds)
            })
    }

    private func warn(_ message: Logger.Message, _ metadata: Logger.Metadata) {
        self.log.warning(message, metadata: metadata.merging(["request_id": "\(self.requestID)"]) { first, _ in first })
    }

    private func warnServerError(_ status: UInt) {
        self.warn("upstream answer is a server error", ["status": "\(status)", "path": "\(self.endpoint.path)"])
    }
}

extension FailedAttempt.Reason {
    /// One of few words, for metrics.
    var label: String {
        switch self {
        case .status(let status): String(status)
        case .noAnswer: "no_answer"
        }
    }

    /// Whether it says that the upstream is unwell, and not that it does not serve this request.
    var isAboutUpstream: Bool {
        switch self {
        case .status(let status): status == 429 || status >= 500 && status != 501
        case .noAnswer: true
        }
    }

    var text: String {
        switch self {
        case .status(let status): String(status)
        case .noAnswer(let reason): reason
        }
    }
}
