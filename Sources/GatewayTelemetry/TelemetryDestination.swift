// SPDX-License-Identifier: Apache-2.0

internal import GatewayCore
internal import GatewayHTTPClient
internal import GatewayProviders
internal import Logging
internal import Synchronization

/// One collector: a bounded queue before it, retries for what may succeed later, and a rest for a collector that keeps
/// failing. A dead one costs nobody latency, and memory only up to the queue's bound.
///
/// What is retried is what OTLP says (<https://opentelemetry.io/docs/specs/otlp/#otlphttp-response>): 429, 502, 503, 504 and
/// no answer. An export that the collector does not take for what it is (400, 413, 415, 422) is no failure of the
/// collector's.
final class TelemetryDestination: Sendable {
    private static let maximumExports = 1024
    private static let maximumBytes = 32 << 20
    private static let maximumRunning = 16
    /// After so many failures in a row the collector is left alone for a while; then one export tries it.
    private static let tripsAfter = 5
    private static let rest = Duration.seconds(30)
    private static let firstBackoff = 1.0
    private static let longestBackoff = 30.0
    /// Older exports are of no use to anybody.
    private static let maximumAge = Duration.seconds(300)

    private struct Export: Sendable {
        var request: OutboundRequest
        let since: ContinuousClock.Instant
        var attempts = 0
        var notBefore: ContinuousClock.Instant

        var size: Int { self.request.body?.count ?? 0 }
    }

    private struct State {
        /// Whatever is not being sent; the earliest `notBefore` first.
        var waiting: [Export] = []
        /// Exports and bytes that are waiting or being sent.
        var count = 0
        var bytes = 0
        var running = 0
        var failures = 0
        var restsUntil: ContinuousClock.Instant?
        var wakeUp: ContinuousClock.Instant?
        var isFull = false
        var hasRefused = false
        var isDraining = false
        var isClosed = false
    }

    fileprivate enum Result {
        case success
        case refused(Int)
        case retry(String, after: Duration?)
        case failure(String)
    }

    private let host: String
    private let client: OutboundClient
    private let credential: (any UpstreamCredential)?
    private let metrics: TelemetryMetrics?
    private let log: Logger
    private let state = Mutex(State())

    init(
        host: String, client: OutboundClient, credential: (any UpstreamCredential)?, metrics: TelemetryMetrics?,
        log: Logger,
    ) {
        self.host = host
        self.client = client
        self.credential = credential
        self.metrics = metrics
        self.log = log
        metrics?.watch(host) { [weak self] in self?.state.withLock { ($0.count, $0.bytes) } ?? (0, 0) }
    }

    var isIdle: Bool { self.state.withLock { $0.count == 0 } }

    func take(_ request: OutboundRequest) {
        let now = ContinuousClock.now
        let export = Export(request: request, since: now, notBefore: now)
        let (isTaken, isNews) = self.state.withLock { state -> (Bool, Bool) in
            // One export may be larger than the bound; several together may not.
            guard !state.isClosed, state.count < Self.maximumExports,
                state.count == 0 || state.bytes + export.size <= Self.maximumBytes
            else {
                defer { state.isFull = true }
                return (false, !state.isFull)
            }
            state.isFull = false
            state.count += 1
            state.bytes += export.size
            state.waiting.append(export)
            return (true, false)
        }
        guard isTaken else {
            self.metrics?.dropped(self.host, "queue_full")
            if isNews {
                self.log.warning(
                    "the queue of a telemetry destination is full; exports are dropped",
                    metadata: ["destination": "\(self.host)"])
            }
            return
        }
        self.pump()
    }

    /// From here on nothing waits for a better time.
    func drain() {
        self.state.withLock { state in
            state.isDraining = true
            if state.restsUntil != nil { Self.forget(&state) }
        }
        self.pump()
    }

    func close() {
        self.state.withLock { state in
            state.isClosed = true
            Self.forget(&state)
        }
    }

    private static func forget(_ state: inout State) {
        state.count -= state.waiting.count
        state.bytes -= state.waiting.reduce(0) { $0 + $1.size }
        state.waiting = []
    }

    /// Sends what may be sent now, and comes back for the rest.
    private func pump() {
        let now = ContinuousClock.now
        var expired = 0
        let (due, wakeUp) = self.state.withLock { state -> ([Export], ContinuousClock.Instant?) in
            var due: [Export] = []
            var kept: [Export] = []
            // After a rest one export tries; the others wait for what becomes of it.
            var room = state.restsUntil == nil ? Self.maximumRunning - state.running : state.running == 0 ? 1 : 0
            if let end = state.restsUntil, end > now { room = 0 }
            for export in state.waiting {
                if now - export.since > Self.maximumAge {
                    expired += 1
                    state.count -= 1
                    state.bytes -= export.size
                } else if room > 0, export.notBefore <= now || state.isDraining {
                    room -= 1
                    due.append(export)
                } else {
                    kept.append(export)
                }
            }
            state.waiting = kept
            state.running += due.count
            var next: ContinuousClock.Instant?
            // Whoever is being sent comes back here.
            if state.running == 0 || state.restsUntil == nil, let earliest = kept.map(\.notBefore).min() {
                next = max(earliest, state.restsUntil ?? earliest)
            }
            if let planned = state.wakeUp, let time = next, planned > now, planned <= time { next = nil }
            if let next { state.wakeUp = next }
            return (due, next)
        }
        for _ in 0..<expired { self.metrics?.dropped(self.host, "expired") }
        for export in due { Task { await self.send(export) } }
        if let wakeUp {
            Task {
                try? await Task.sleep(until: wakeUp)
                self.pump()
            }
        }
    }

    private func send(_ export: Export) async {
        let result = await self.exchange(export.request)
        let now = ContinuousClock.now
        var notice: (Logger.Level, Logger.Message, String)?
        var dropReason: String?
        self.state.withLock { state in
            state.running -= 1
            var isKept = false
            switch result {
            case .success:
                if state.failures > 0 { notice = (.info, "a telemetry destination works again", "") }
                state.failures = 0
                state.restsUntil = nil
            case .refused(let status):
                dropReason = "refused"
                if !state.hasRefused {
                    notice = (.warning, "a telemetry destination refuses an export's payload", "HTTP \(status)")
                }
                state.hasRefused = true
            case .failure(let reason):
                dropReason = "failed"
                notice = self.noteFailure(&state, reason, now)
            case .retry(let reason, let wait):
                notice = self.noteFailure(&state, reason, now)
                if state.isDraining || state.isClosed {
                    dropReason = "failed"
                } else {
                    isKept = true
                    var again = export
                    again.attempts += 1
                    let backoff = min(Self.firstBackoff * Double(1 << min(export.attempts, 6)), Self.longestBackoff)
                    again.notBefore = now + (wait ?? .seconds(backoff * Double.random(in: 0.75...1.25)))
                    state.waiting.append(again)
                }
            }
            if !isKept {
                state.count -= 1
                state.bytes -= export.size
            }
        }
        if let dropReason { self.metrics?.dropped(self.host, dropReason) }
        self.metrics?.exported(self.host, result.label)
        if let (level, message, reason) = notice {
            self.log.log(
                level: level, message,
                metadata: reason.isEmpty
                    ? ["destination": "\(self.host)"] : ["destination": "\(self.host)", "reason": "\(reason)"])
        }
        self.pump()
    }

    /// When failing begins, and when the collector is left alone: not for every export.
    private func noteFailure(_ state: inout State, _ reason: String, _ now: ContinuousClock.Instant)
        -> (Logger.Level, Logger.Message, String)?
    {
        state.failures += 1
        if state.failures >= Self.tripsAfter { state.restsUntil = now + Self.rest }
        if state.failures == Self.tripsAfter {
            return (
                .warning,
                "a telemetry destination keeps failing and is left alone for \(Self.rest.components.seconds) s", reason
            )
        }
        return state.failures == 1 ? (.warning, "a telemetry destination fails", reason) : nil
    }

    private func exchange(_ request: OutboundRequest) async -> Result {
        var request = request
        let nobody = Principal(subject: "claude-gateway")
        var used: ResolvedCredential?
        do {
            if let credential {
                used = try await credential.resolve(for: nobody)
                if case .bearer(let token)? = used {
                    request.headers.append(("authorization", "Bearer " + token.reveal()))
                }
            }
            let response = try await self.client.send(request)
            switch response.status {
            case 200..<300: return .success
            case 400, 413, 415, 422: return .refused(response.status)
            case 429, 502, 503, 504:
                let wait = response.header("retry-after").flatMap(Int.init).map { min(max(0, $0), 300) }
                return .retry("HTTP \(response.status)", after: wait.map { .seconds($0) })
            case 401:
                if let used { self.credential?.invalidate(used) }
                return .failure("HTTP 401")
            default: return .failure("HTTP \(response.status)")
            }
        } catch {
            return .retry("\(error)", after: nil)
        }
    }
}

extension TelemetryDestination.Result {
    fileprivate var label: String {
        switch self {
        case .success: "success"
        case .refused: "refused"
        case .retry, .failure: "failure"
        }
    }
}
