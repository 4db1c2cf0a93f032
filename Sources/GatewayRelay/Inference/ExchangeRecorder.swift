// SPDX-License-Identifier: Apache-2.0

internal import GatewayCore
internal import GatewayProviders
internal import NIOCore

/// Measures one model request: its attempts at upstreams, its answer, and its place in a trace. Costs next to nothing
/// where neither metrics nor traces are wanted.
struct ExchangeRecorder {
    /// What a recorded trace knows of the request and of the attempt that runs.
    private final class Trace {
        let spans: any SpanSink
        /// The request's own span.
        let context: TraceContext
        let parent: String?
        let start = Timestamp.now
        var attempt: (context: TraceContext, start: Timestamp)?

        init(_ spans: any SpanSink, traceparent: String?) {
            self.spans = spans
            if let caller = traceparent.flatMap(TraceContext.init(header:)) {
                self.context = caller.child()
                self.parent = caller.spanID
            } else {
                self.context = .root(isSampled: spans.samples())
                self.parent = nil
            }
        }
    }

    private let services: RelayServices
    private let trace: Trace?
    /// When the attempt that runs began.
    private var attemptStart: NIODeadline?
    private var firstByte: NIODeadline?
    private var isStreaming = false

    init(_ services: RelayServices, traceparent: String?) {
        self.services = services
        self.trace = services.spans.map { Trace($0, traceparent: traceparent) }
    }

    private var metrics: RelayMetrics? { self.services.metrics }

    /// - Returns: The `traceparent` for the upstream; `nil` where the gateway has nothing to say about traces.
    mutating func beginAttempt(_ now: NIODeadline) -> String? {
        self.attemptStart = now
        self.firstByte = nil
        guard let trace else { return nil }
        let context = trace.context.child()
        trace.attempt = (context, .now)
        return context.header
    }

    /// A part of the answer goes to the client.
    mutating func passed(_ upstream: String, _ model: String, _ now: NIODeadline) {
        guard let attemptStart, self.firstByte == nil else { return }
        self.firstByte = now
        self.metrics?.firstByte(upstream, model, seconds: Self.seconds(attemptStart, now))
    }

    /// Milliseconds to the first part of the answer.
    var firstByteMilliseconds: Int? {
        guard let attemptStart, let firstByte else { return nil }
        return Int((firstByte - attemptStart).nanoseconds / 1_000_000)
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
    mutating func endAttempt(_ upstream: UpstreamSettings, _ model: String, error: String?) {
        guard let attemptStart else { return }
        self.attemptStart = nil
        self.metrics?.attempted(
            upstream.name, model, error: error ?? "", seconds: Self.seconds(attemptStart, .now()))
        guard let trace, let attempt = trace.attempt, attempt.context.isSampled else { return }
        trace.spans.record(
            TraceSpan(
                "chat \(model)", .client, attempt.context, parent: trace.context.spanID, start: attempt.start,
                end: .now,
                attributes: [
                    ("gen_ai.operation.name", "chat"), ("gen_ai.provider.name", .string(upstream.name)),
                    ("gen_ai.request.model", .string(model)), ("server.address", .string(upstream.baseURL.host)),
                ] + (error.map { [("error.type", .string($0))] } ?? []), failure: error))
    }

    func failedOver(_ upstream: String, reason: String) {
        self.metrics?.failedOver(upstream, reason: reason)
    }

    /// The request is over.
    func end(status: Int, path: String, requestID: RequestID) {
        guard let trace, trace.context.isSampled else { return }
        trace.spans.record(
            TraceSpan(
                "POST \(path)", .server, trace.context, parent: trace.parent, start: trace.start, end: .now,
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
