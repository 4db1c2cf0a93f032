// SPDX-License-Identifier: Apache-2.0

internal import GatewayCore
internal import NIOCore

/// Measures one model request: its attempts at upstreams, its answer, and its place in a trace. Costs next to nothing
/// where neither metrics nor traces are wanted.
struct ExchangeRecorder {
    private struct Attempt {
        let context: TraceContext?
        let start: NIODeadline
        let startTime: Timestamp
        var firstByte: NIODeadline?
    }

    private let metrics: RelayMetrics?
    private let spans: (any SpanSink)?
    /// The request's own span; `nil` when it is not recorded.
    private let context: TraceContext?
    private let parent: String?
    private let startTime: Timestamp
    private var attempt: Attempt?
    private var isStreaming = false

    init(_ services: RelayServices, traceparent: String?) {
        self.metrics = services.metrics
        self.spans = services.spans
        self.startTime = services.spans == nil ? Timestamp(milliseconds: 0) : .now
        guard let spans = services.spans else {
            self.context = nil
            self.parent = nil
            return
        }
        if let caller = traceparent.flatMap(TraceContext.init(header:)) {
            self.context = caller.child()
            self.parent = caller.spanID
        } else {
            self.context = .root(isSampled: spans.samples())
            self.parent = nil
        }
    }

    /// - Returns: The `traceparent` for the upstream; `nil` where the gateway has nothing to say about traces.
    mutating func beginAttempt() -> String? {
        let context = self.context?.child()
        self.attempt = Attempt(
            context: context, start: .now(), startTime: self.spans == nil ? Timestamp(milliseconds: 0) : .now)
        return context?.header
    }

    /// A part of the answer goes to the client.
    mutating func passed(_ upstream: String, _ model: String) {
        guard let attempt, attempt.firstByte == nil else { return }
        let now = NIODeadline.now()
        self.attempt?.firstByte = now
        self.metrics?.firstByte(upstream, model, seconds: Self.seconds(attempt.start, now))
    }

    /// Milliseconds to the first part of the answer.
    var firstByteMilliseconds: Int? {
        guard let attempt, let first = attempt.firstByte else { return nil }
        return Int((first - attempt.start).nanoseconds / 1_000_000)
    }

    mutating func beganAnswer() {
        self.isStreaming = true
        self.metrics?.streamBegan()
    }

    mutating func endedAnswer(_ outcome: AnswerOutcome, bytes: Int) {
        guard self.isStreaming else { return }
        self.isStreaming = false
        self.metrics?.streamEnded(outcome, bytes: bytes)
    }

    /// - Parameter error: Why the attempt served nothing, or only a part: a status or one of few words.
    mutating func endAttempt(_ upstream: String, _ model: String, host: String, error: String?) {
        guard let attempt else { return }
        self.attempt = nil
        self.metrics?.attempted(
            upstream, model, error: error ?? "", seconds: Self.seconds(attempt.start, .now()))
        guard let spans, let context = attempt.context, context.isSampled else { return }
        spans.record(
            TraceSpan(
                "chat \(model)", .client, context, parent: self.context?.spanID, start: attempt.startTime, end: .now,
                attributes: [
                    ("gen_ai.operation.name", "chat"), ("gen_ai.provider.name", .string(upstream)),
                    ("gen_ai.request.model", .string(model)), ("server.address", .string(host)),
                ] + (error.map { [("error.type", .string($0))] } ?? []), failure: error))
    }

    func failedOver(_ upstream: String, reason: String) {
        self.metrics?.failedOver(upstream, reason: reason)
    }

    /// The request is over.
    func end(status: Int, path: String, requestID: RequestID) {
        guard let spans, let context, context.isSampled else { return }
        spans.record(
            TraceSpan(
                "POST \(path)", .server, context, parent: self.parent, start: self.startTime, end: .now,
                attributes: [
                    ("http.request.method", "POST"), ("http.route", .string(path)),
                    ("http.response.status_code", .integer(status)),
                    ("claude_gateway.request_id", .string(requestID.description)),
                ], failure: status >= 500 ? String(status) : nil))
    }

    private static func seconds(_ start: NIODeadline, _ end: NIODeadline) -> Double {
        Double((end - start).nanoseconds) / 1e9
    }
}
