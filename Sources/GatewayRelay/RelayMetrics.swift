// SPDX-License-Identifier: Apache-2.0

package import GatewayCore
internal import Synchronization

/// What the data plane counts.
package final class RelayMetrics: Sendable {
    /// Of answers, which can take minutes.
    private static let seconds = [
        0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 40, 80, 160, 320, 640,
    ]

    private let requests: MetricFamily
    private let attempts: MetricFamily
    private let firstBytes: MetricFamily
    private let failovers: MetricFamily
    private let answers: MetricFamily
    private let bytes: MetricFamily
    private let open = OpenStreams()

    /// Outlives a reading.
    private final class OpenStreams: Sendable {
        let count = Atomic(0)
    }

    package init(_ registry: MetricRegistry) {
        self.requests = registry.histogram(
            "http_server_request_duration_seconds", "Requests to the gateway, until their answer has ended.",
            labels: ["http_request_method", "http_route", "http_response_status_code"], bounds: Self.seconds)
        self.attempts = registry.histogram(
            "gen_ai_client_operation_duration_seconds",
            "Requests of the gateway to upstreams, until their answer has ended. error_type is empty when it was served.",
            labels: ["upstream", "gen_ai_request_model", "error_type"], bounds: Self.seconds)
        self.firstBytes = registry.histogram(
            "gen_ai_server_time_to_first_token_seconds",
            "From the begin of a request to an upstream to the first byte of its answer that goes to the client.",
            labels: ["upstream", "gen_ai_request_model"], bounds: Self.seconds)
        self.failovers = registry.counter(
            "claude_gateway_failovers_total", "Requests that went on to the next upstream.",
            labels: ["upstream", "reason"])
        self.answers = registry.counter(
            "claude_gateway_answers_total", "Answers of models that began to go to a client, by how they ended.",
            labels: ["outcome"])
        self.bytes = registry.counter(
            "claude_gateway_answer_bytes_total", "Bytes of models' answers that went to clients.")
        registry.observe { [open] in
            [
                MetricRegistry.Observation(
                    "claude_gateway_streams_open", "Answers that are on their way to clients.",
                    value: Double(open.count.load(ordering: .relaxed)))
            ]
        }
    }

    func answered(_ method: String, _ route: String, status: UInt, seconds: Double) {
        self.requests.note(seconds, method, route, String(status))
    }

    func attempted(_ upstream: String, _ model: String, error: String, seconds: Double) {
        self.attempts.note(seconds, upstream, model, error)
    }

    func firstByte(_ upstream: String, _ model: String, seconds: Double) {
        self.firstBytes.note(seconds, upstream, model)
    }

    func failedOver(_ upstream: String, reason: String) {
        self.failovers.add(1, upstream, reason)
    }

    func streamBegan() {
        self.open.count.add(1, ordering: .relaxed)
    }

    func streamEnded(_ outcome: AnswerOutcome, bytes: Int) {
        self.open.count.subtract(1, ordering: .relaxed)
        self.answers.add(1, outcome.rawValue)
        self.bytes.add(Double(bytes))
    }
}

/// How an answer ended that had begun to go to the client.
package enum AnswerOutcome: String, Sendable {
    case complete
    /// The upstream broke it off, or told of an error in it.
    case interrupted
    /// The client went away.
    case abandoned
}
