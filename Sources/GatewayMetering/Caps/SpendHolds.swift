// SPDX-License-Identifier: Apache-2.0

internal import GatewayCore
package import GatewayStore
package import Logging
internal import Synchronization

/// Exact mode: before a request begins, the most that it can cost is reserved in the store, where all replicas see it;
/// the booking of what it did cost removes the reservation. What is spent and what is reserved never exceed a limit
/// together, so that a limit is passed by no more than what an answer costs beyond its estimate.
package final class SpendHolds: Sendable {
    package struct Request: Sendable {
        let requestID: RequestID
        let caller: SpendCaller
        let worstCase: Money
        let billingGroup: String?
        let rules: SpendRules
        let deadline: ContinuousClock.Instant
        let done: @Sendable (Decision) -> Void
    }

    package enum Decision: Sendable {
        case held(SpendGrant)
        case refused(SpendRefusal)
        /// The store does not answer.
        case unavailable
    }

    private enum Outcome {
        case held(SpendHold)
        case refused(SpendRefusal)
        /// Running requests may leave enough.
        case wait
    }

    /// Should this process be killed, its reservations end by themselves after this long.
    private static let lifetime = Duration.seconds(300)
    private static let heartbeat = Duration.seconds(60)
    /// How often waiting requests look for what other replicas have given back.
    private static let poll = Duration.milliseconds(200)
    private static let batchSize = 100

    private struct State {
        var waiting: [Request] = []
        /// Did not fit; tried again when something has changed.
        var parked: [Request] = []
        var releases: [String] = []
        var active: Set<String> = []
        var isWorking = false
        var isReleasing = false
        var isPolling = false
        var isBeating = false
    }

    private let store: any SpendStore
    private let log: Logger
    private let state = Mutex(State())

    package init(store: any SpendStore, log: Logger) {
        self.store = store
        self.log = log
    }

    /// `done` is called once, on any thread.
    package func take(_ request: Request) {
        let mustWork = self.state.withLock { state -> Bool in
            state.waiting.append(request)
            defer { state.isWorking = true }
            return !state.isWorking
        }
        if mustWork { Task { await self.work() } }
    }

    private func work() async {
        while true {
            let batch = self.state.withLock { state -> [Request] in
                let batch = Array(state.waiting.prefix(Self.batchSize))
                state.waiting.removeFirst(batch.count)
                if batch.isEmpty { state.isWorking = false }
                return batch
            }
            if batch.isEmpty { return }
            await self.decide(batch)
        }
    }

    private func decide(_ batch: [Request]) async {
        let now = Timestamp.now
        let end = Timestamp(milliseconds: now.milliseconds + Self.lifetime.components.seconds * 1000)
        let outcomes = Mutex<[Outcome]>([])
        let question = SpendQuestion(
            principals: Array(Set(batch.map(\.caller.principal))),
            groups: Array(Set(batch.lazy.flatMap(\.caller.groups))))
        do {
            try await self.store.hold(question, now: now) { state in
                var state = state
                let found = batch.map { Self.outcome($0, &state, now: now, end: end) }
                outcomes.withLock { $0 = found }
                return found.compactMap { if case .held(let hold) = $0 { hold } else { nil } }
            }
        } catch {
            self.log.warning("spend cannot be reserved", metadata: ["reason": "\(error)"])
            for request in batch { request.done(.unavailable) }
            return
        }
        var parked: [Request] = []
        for (request, outcome) in zip(batch, outcomes.withLock { $0 }) {
            switch outcome {
            case .held(let hold):
                self.keepAlive(hold.id)
                request.done(.held(SpendGrant(pool: hold.pool, hold: hold.id)))
            case .refused(let refusal): request.done(.refused(refusal))
            case .wait:
                if ContinuousClock.now < request.deadline {
                    parked.append(request)
                } else {
                    request.done(.refused(request.rules.busy(request.caller, requestID: request.requestID)))
                }
            }
        }
        if !parked.isEmpty { self.park(parked) }
    }

    /// Decides about one request, and counts what it takes.
    private static func outcome(
        _ request: Request, _ state: inout SpendState, now: Timestamp, end: Timestamp,
    ) -> Outcome {
        let (caller, rules, worst) = (request.caller, request.rules, request.worstCase)
        if case .blocked(let refusal) = rules.verdict(caller, state, requestID: request.requestID, now: now) {
            return .refused(refusal)
        }
        let held = state.held[caller.principal] ?? .zero
        let caps = state.caps(of: caller, rules.mode, at: now).filter { $0.amount != nil }
        let short = caps.filter { cap in (cap.remaining ?? .zero) < held + worst }
        if let cap = short.first(where: { ($0.remaining ?? .zero) < worst }) {
            return .refused(rules.tooDear(cap, worst, caller, requestID: request.requestID, now: now))
        }
        if !short.isEmpty { return .wait }
        var pools = state.activePools(of: caller.groups)
        if let named = pools.first(where: { $0.group == request.billingGroup }) { pools = [named] }
        func left(_ pool: SpendState.ActivePool) -> Money { Money(cents: pool.amount) - pool.spend }
        let pool = pools.first { left($0) >= (state.heldOfPools[$0.group] ?? .zero) + worst }
        if pool == nil, let largest = pools.first {
            if pools.contains(where: { left($0) >= worst }) { return .wait }
            return .refused(rules.tooDear(largest, worst, caller, requestID: request.requestID, now: now))
        }
        state.held[caller.principal] = held + worst
        if let pool { state.heldOfPools[pool.group, default: .zero] += worst }
        return .held(
            SpendHold(
                id: TimeOrderedID.make(), requestID: request.requestID.description, principal: caller.principal,
                pool: pool?.group, amount: worst, expiresAt: end))
    }

    // MARK: Waiting

    private func park(_ requests: [Request]) {
        let mustPoll = self.state.withLock { state -> Bool in
            state.parked += requests
            defer { state.isPolling = true }
            return !state.isPolling
        }
        guard mustPoll else { return }
        Task {
            while true {
                try? await Task.sleep(for: Self.poll)
                self.retry()
                let isDone = self.state.withLock { state -> Bool in
                    guard state.parked.isEmpty, state.waiting.isEmpty, !state.isWorking else { return false }
                    state.isPolling = false
                    return true
                }
                if isDone { return }
            }
        }
    }

    /// Something may have been given back.
    private func retry() {
        let mustWork = self.state.withLock { state -> Bool in
            guard !state.parked.isEmpty else { return false }
            state.waiting += state.parked
            state.parked = []
            defer { state.isWorking = true }
            return !state.isWorking
        }
        if mustWork { Task { await self.work() } }
    }

    // MARK: The end of a hold

    /// The request came to nothing.
    func release(_ id: String) {
        let mustRelease = self.state.withLock { state -> Bool in
            state.releases.append(id)
            defer { state.isReleasing = true }
            return !state.isReleasing
        }
        if mustRelease { Task { await self.sendReleases() } }
    }

    private func sendReleases() async {
        while true {
            let ids = self.state.withLock { state -> [String] in
                let ids = Array(state.releases.prefix(1000))
                if ids.isEmpty { state.isReleasing = false }
                return ids
            }
            if ids.isEmpty { return }
            do {
                try await self.store.releaseHolds(ids)
                self.state.withLock { $0.releases.removeFirst(ids.count) }
                self.settled(ids)
            } catch {
                // They go on counting until the store answers, or their time is over.
                try? await Task.sleep(for: .seconds(1))
            }
        }
    }

    /// The holds are gone from the store.
    func settled(_ ids: [String]) {
        self.state.withLock { $0.active.subtract(ids) }
        self.retry()
    }

    private func keepAlive(_ id: String) {
        let mustBeat = self.state.withLock { state -> Bool in
            state.active.insert(id)
            defer { state.isBeating = true }
            return !state.isBeating
        }
        guard mustBeat else { return }
        Task {
            while true {
                try? await Task.sleep(for: Self.heartbeat)
                let ids = self.state.withLock { state -> [String] in
                    if state.active.isEmpty { state.isBeating = false }
                    return Array(state.active)
                }
                if ids.isEmpty { return }
                let end = Timestamp(
                    milliseconds: Timestamp.now.milliseconds + Self.lifetime.components.seconds * 1000)
                try? await self.store.extendHolds(ids, to: end)
            }
        }
    }
}
