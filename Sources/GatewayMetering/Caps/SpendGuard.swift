// SPDX-License-Identifier: Apache-2.0

internal import GatewayCore
package import GatewayStore
package import Logging
internal import Synchronization

/// Asks the store whether developers may spend. Checks that come while one query is under way share the next one, and
/// its answer serves the same developer for a millisecond more, and under heavy load for some, along with whose bookings
/// it is then renewed: the database sees few queries whatever the load. What this process books meanwhile is added to
/// the answer, so that only other replicas' bookings and changes of those milliseconds are unknown.
package final class SpendGuard: Sendable {
    /// The longest that a request waits for its limits.
    private static let patience = Duration.seconds(2)
    private static let probeInterval = Duration.milliseconds(500)
    /// How long an answer serves under heavy load.
    package static let freshness = Duration.milliseconds(60)
    /// From this age on the next one is asked for, so that under load nobody waits for it. Bookings bring new ones more
    /// often than that.
    private static let renewalAge = Duration.milliseconds(50)
    private static let maximumReadings = 10_000

    private struct Waiting {
        let caller: SpendCaller
        let done: @Sendable (SpendReading?) -> Void
    }

    private struct State {
        var waiting: [Waiting] = []
        var isAsking = false
        /// The store did not answer the last query: checks fail at once until a probe has succeeded.
        var isDown = false
        /// By principal.
        private(set) var readings: [String: SpendReading] = [:]
        /// Booked while the query under way has been running: it may not have seen that.
        var booked = SpendTotals()
        /// Raised when limits change: what was asked before is not kept.
        var version = 0

        mutating func keep(_ reading: SpendReading, of principal: String) {
            self.readings.updateValue(reading, forKey: principal)?.supersede()
        }

        mutating func forget(where isForgotten: (SpendReading) -> Bool = { _ in true }) {
            for (principal, reading) in self.readings where isForgotten(reading) {
                self.readings[principal] = nil
                reading.supersede()
            }
        }
    }

    package enum Answer: Sendable {
        /// `isRecent` until the answer is being renewed.
        case known(SpendReading, isRecent: Bool)
        /// The store does not answer.
        case unavailable
        /// `done` will be called.
        case later
    }

    private let store: any SpendStore
    private let exposure: SpendExposure
    private let log: Logger
    private let state = Mutex(State())

    package init(store: any SpendStore, exposure: SpendExposure, log: Logger) {
        self.store = store
        self.exposure = exposure
        self.log = log
    }

    /// Reads what concerns a developer.
    ///
    /// - Parameter done: Called once, on any thread, if the answer is not known at once; with `nil` when the store does
    ///   not answer.
    package func read(_ caller: SpendCaller, _ done: @escaping @Sendable (SpendReading?) -> Void) -> Answer {
        let now = ContinuousClock.now
        let (answer, mustAsk) = self.state.withLock { state -> (Answer, Bool) in
            if state.isDown { return (.unavailable, false) }
            if let reading = state.readings[caller.principal], reading.groups == caller.groups, reading.serves(now) {
                guard reading.readAt + Self.renewalAge < now, !reading.isBeingRenewed.exchange(true, ordering: .relaxed)
                else { return (.known(reading, isRecent: true), false) }
                state.waiting.append(Waiting(caller: caller, done: { _ in }))
                defer { state.isAsking = true }
                return (.known(reading, isRecent: false), !state.isAsking)
            }
            state.waiting.append(Waiting(caller: caller, done: done))
            if state.isAsking { return (.later, false) }
            state.isAsking = true
            return (.later, true)
        }
        if mustAsk { Task { await self.ask() } }
        return answer
    }

    /// Whether a reading is what `read` would find at this moment, and not too old to be asked for again.
    func isRecent(_ reading: SpendReading) -> Bool {
        let now = ContinuousClock.now
        return reading.isCurrent && reading.readAt + Self.renewalAge >= now && reading.serves(now)
    }

    /// What is known of a developer at this moment, this process's bookings included; `nil` when nothing is.
    package func known(_ caller: SpendCaller) -> SpendReading? {
        self.state.withLock { state in
            state.readings[caller.principal].flatMap { $0.groups == caller.groups ? $0 : nil }
        }
    }

    /// Reads anew, for those who want to see and not to spend.
    package func read(_ caller: SpendCaller) async -> SpendState? {
        try? await self.query([caller.principal], caller.groups)
    }

    /// Limits have changed: nothing that is known counts any more.
    package func forget() {
        self.state.withLock { state in
            state.forget()
            state.version += 1
        }
    }

    /// Counters as they stand after this process has booked.
    package func learn(_ totals: SpendTotals) {
        guard !totals.isEmpty else { return }
        self.state.withLock { state in
            if state.isAsking { state.booked.merge(totals) }
            if totals.pools.isEmpty {
                for principal in totals.spend.keys {
                    if let reading = state.readings[principal] { state.keep(reading.merging(totals), of: principal) }
                }
            } else {
                for (principal, reading) in state.readings { state.keep(reading.merging(totals), of: principal) }
            }
        }
    }

    /// Whose answers a booking should bring anew.
    package struct Renewal: Sendable {
        fileprivate let callers: [SpendCaller]
        fileprivate let version: Int

        package var question: SpendQuestion {
            SpendQuestion(
                principals: self.callers.map(\.principal), groups: Array(Set(self.callers.lazy.flatMap(\.groups))))
        }
    }

    private static let maximumRenewal = 200

    /// `nil` when nobody is waiting for them, or they are too many.
    package func renewal(of entries: [SpendEntry]) -> Renewal? {
        let oldest = ContinuousClock.now - Self.freshness
        return self.state.withLock { state in
            let callers = Set(entries.lazy.map(\.principal)).compactMap { principal -> SpendCaller? in
                guard let reading = state.readings[principal], reading.readAt > oldest else { return nil }
                return SpendCaller(principal: principal, groups: reading.groups)
            }
            guard !callers.isEmpty, callers.count <= Self.maximumRenewal else { return nil }
            return Renewal(callers: callers, version: state.version)
        }
    }

    package func renew(_ renewal: Renewal, _ found: SpendState) {
        let now = ContinuousClock.now
        self.state.withLock { state in
            guard state.version == renewal.version else { return }
            for caller in renewal.callers {
                state.keep(self.reading(found, caller, now), of: caller.principal)
            }
        }
    }

    private func reading(_ found: SpendState, _ caller: SpendCaller, _ now: ContinuousClock.Instant) -> SpendReading {
        var own = found
        own.spend = found.spend[caller.principal].map { [caller.principal: $0] } ?? [:]
        return SpendReading(
            own, groups: caller.groups, readAt: now, exposure: self.exposure.counter(ofPrincipal: caller.principal))
    }

    private func ask() async {
        while true {
            let (batch, version) = self.state.withLock { state -> ([Waiting], Int) in
                let batch = state.waiting
                state.waiting = []
                state.booked = SpendTotals()
                if batch.isEmpty { state.isAsking = false }
                return (batch, state.version)
            }
            if batch.isEmpty { return }
            let principals = Set(batch.map(\.caller.principal))
            let groups = Set(batch.lazy.flatMap(\.caller.groups))
            do {
                let found = try await self.query(Array(principals), Array(groups))
                for (waiting, reading) in self.keep(found, batch, version) { waiting.done(reading) }
            } catch {
                self.fallDown("\(error)", batch)
                return
            }
        }
    }

    private func keep(_ found: SpendState, _ batch: [Waiting], _ version: Int) -> [(Waiting, SpendReading)] {
        let now = ContinuousClock.now
        return self.state.withLock { state in
            if state.readings.count > Self.maximumReadings {
                state.forget { $0.readAt + Self.freshness <= now }
            }
            let isCurrent = state.version == version
            var found = found
            found.merge(state.booked, now: .now)
            return batch.map { waiting in
                let caller = waiting.caller
                if isCurrent, let reading = state.readings[caller.principal], reading.readAt == now,
                    reading.groups == caller.groups
                {
                    return (waiting, reading)
                }
                let reading = self.reading(found, caller, now)
                if isCurrent { state.keep(reading, of: caller.principal) }
                return (waiting, reading)
            }
        }
    }

    private func query(_ principals: [String], _ groups: [String]) async throws -> SpendState {
        let store = self.store
        return try await Bounded.run(within: Self.patience) {
            try await store.spendState(principals: principals, groups: groups, now: .now)
        }
    }

    private func fallDown(_ reason: String, _ batch: [Waiting]) {
        let late = self.state.withLock { state -> [Waiting] in
            state.isDown = true
            state.isAsking = false
            state.forget()
            let late = state.waiting
            state.waiting = []
            return late
        }
        self.log.warning(
            "spend limits cannot be read; requests follow enforcement.fail_closed_on_error until they can",
            metadata: ["reason": "\(reason)"])
        for waiting in batch + late { waiting.done(nil) }
        Task { await self.probe() }
    }

    private func probe() async {
        while true {
            try? await Task.sleep(for: Self.probeInterval)
            guard (try? await self.query([], [])) != nil else { continue }
            self.state.withLock { $0.isDown = false }
            self.log.info("spend limits can be read again")
            return
        }
    }
}
