// SPDX-License-Identifier: Apache-2.0

internal import GatewayCore
package import GatewayStore
internal import Synchronization

/// What the store says about one developer. Many requests that come at the same time share it, and what follows from it.
package final class SpendReading: Sendable {
    private final class Allowance: Sendable {
        let rules: SpendRules
        let allowance: SpendAllowance

        init(_ rules: SpendRules, _ allowance: SpendAllowance) {
            self.rules = rules
            self.allowance = allowance
        }
    }

    /// Whether it still is what is known of the developer.
    package final class Standing: Sendable {
        private let isOver = Atomic(false)

        fileprivate init() {}

        package var isCurrent: Bool { !self.isOver.load(ordering: .sequentiallyConsistent) }

        fileprivate func end() { self.isOver.store(true, ordering: .sequentiallyConsistent) }
    }

    package let state: SpendState
    let groups: [String]
    let readAt: ContinuousClock.Instant
    let isBeingRenewed = Atomic(false)
    private let uses = Atomic(0)
    /// What the developer's requests may still add.
    let exposure: SpendExposure.Counter
    private let allowance = AtomicLazyReference<Allowance>()
    private let standing = Standing()

    init(
        _ state: SpendState, groups: [String], readAt: ContinuousClock.Instant, exposure: SpendExposure.Counter,
    ) {
        self.state = state
        self.groups = groups
        self.readAt = readAt
        self.exposure = exposure
    }

    /// Whether nothing else is known.
    var isCurrent: Bool { self.standing.isCurrent }

    /// Something else is known from now on.
    func supersede() { self.standing.end() }

    /// Whether a check at this moment may use it: within the millisecond, and longer only where so many checks come that
    /// each millisecond would see a query.
    func serves(_ now: ContinuousClock.Instant) -> Bool {
        let age = self.readAt.duration(to: now)
        guard age < SpendGuard.freshness else { return false }
        let uses = self.uses.add(1, ordering: .relaxed).newValue
        let (seconds, attoseconds) = age.components
        let microseconds = Int(seconds) * 1_000_000 + Int(attoseconds / 1_000_000_000_000)
        return microseconds < 1000 || uses * 1000 >= microseconds * 2
    }

    /// The same, and what has been booked since.
    func merging(_ totals: SpendTotals) -> SpendReading {
        var state = self.state
        state.merge(totals, now: .now)
        return SpendReading(state, groups: self.groups, readAt: self.readAt, exposure: self.exposure)
    }

    func verdict(_ caller: SpendCaller, _ rules: SpendRules, requestID: RequestID) -> SpendVerdict {
        if let known = self.allowance.load(), known.rules == rules { return .allowed(known.allowance) }
        var verdict = rules.verdict(caller, self.state, requestID: requestID, now: .now)
        // A refusal names its request, and there are few of them.
        if case .allowed(let some) = verdict {
            let allowance = some.counted(by: self.exposure, self.standing)
            verdict = .allowed(allowance)
            _ = self.allowance.storeIfNil(Allowance(rules, allowance))
        }
        return verdict
    }
}
