// SPDX-License-Identifier: Apache-2.0

package import GatewayCore
package import GatewayStore
package import Logging
internal import Synchronization

/// Spend as the relay sees it: a question before a request, and a word after it.
package final class SpendControl: Sendable {
    /// What lives as long as the process, whatever the configuration becomes.
    package struct Services: Sendable {
        package let ledger: SpendLedger
        package let guardian: SpendGuard
        package let exposure: SpendExposure
        package let holds: SpendHolds
        package let watch: SpendWatch

        package init(
            ledger: SpendLedger, guardian: SpendGuard, exposure: SpendExposure, holds: SpendHolds, watch: SpendWatch,
        ) {
            self.watch = watch
            self.ledger = ledger
            self.guardian = guardian
            self.exposure = exposure
            self.holds = holds
        }
    }

    /// Told of each metered answer.
    private let onRecord: (@Sendable (SpendEntry) -> Void)?

    /// The longest that a request near a limit waits for others to end.
    private static let queueing = Duration.seconds(10)

    package let rules: SpendRules
    package let pricer: Pricer
    package let billingGroupTag: String?
    package let services: Services
    /// Whether the most that a request can cost is reserved before it begins.
    package let isExact: Bool
    private let failsClosed: Bool
    private let audit: any AuditSink
    private let log: Logger
    private let warned = Mutex<Set<String>>([])
    private static let maximumSources = 1024
    /// Prices that have been found: finding one compares spellings.
    private let sources = Mutex<[SourceKey: SpendSource]>([:])

    package init(
        settings: AdminSettings, failsClosed: Bool, isExact: Bool, pricer: Pricer, services: Services,
        audit: any AuditSink,
        log: Logger, onRecord: (@Sendable (SpendEntry) -> Void)? = nil,
    ) {
        self.onRecord = onRecord
        self.rules = SpendRules(mode: settings.groupLimitMode, blockedMessage: settings.blockedMessage)
        self.billingGroupTag = settings.billingGroupTag
        self.isExact = isExact
        // Nothing is exact that nobody has checked.
        self.failsClosed = failsClosed || isExact
        self.pricer = pricer
        self.services = services
        self.audit = audit
        self.log = log
    }

    // MARK: Before

    /// Whether the developer may begin a request, as far as one thread remembers; `nil` when it has to be asked for.
    package func recall(_ memory: SpendMemory, requestID: RequestID) -> SpendVerdict? {
        guard let reading = memory.reading, self.services.guardian.isRecent(reading) else { return nil }
        return self.verdict(SpendCaller(memory.principal), reading, requestID: requestID)
    }

    /// Whether the developer may begin a request.
    ///
    /// - Parameters:
    ///   - memory: The developer's, of one thread.
    ///   - done: Called once, on any thread, if the answer is not known at once.
    package func check(
        _ principal: Principal, _ memory: SpendMemory? = nil, requestID: RequestID,
        _ done: @escaping @Sendable (SpendVerdict) -> Void,
    ) -> SpendVerdict? {
        let caller = SpendCaller(principal)
        let answer = self.services.guardian.read(caller) { reading in
            done(self.verdict(caller, reading, requestID: requestID))
        }
        if case .known(let reading, isRecent: true) = answer {
            memory?.reading = reading
        } else {
            self.services.ledger.note(principal, now: .now)
        }
        return switch answer {
        case .known(let reading, _): self.verdict(caller, reading, requestID: requestID)
        case .unavailable: self.verdict(caller, nil, requestID: requestID)
        case .later: nil
        }
    }

    private func verdict(_ caller: SpendCaller, _ reading: SpendReading?, requestID: RequestID) -> SpendVerdict {
        let verdict: SpendVerdict
        if let reading {
            verdict = reading.verdict(caller, self.rules, requestID: requestID)
        } else if self.failsClosed {
            verdict = .blocked(self.rules.unavailable(caller, requestID: requestID))
        } else {
            verdict = .allowed(.unchecked)
        }
        if case .blocked(let refusal) = verdict { self.audit.record(refusal.audit) }
        return verdict
    }

    /// Takes the request's share of what is left where that is plain: neither pools nor exact reservations, and far from a
    /// limit; `nil` where it is not.
    package func reserve(_ allowance: SpendAllowance, worstCase: Money) -> SpendGrant? {
        guard !self.isExact || allowance.caps.isEmpty, allowance.pools.isEmpty, let exposure = allowance.exposure,
            let standing = allowance.standing,
            case .taken(let share) = self.services.exposure.take(
                worstCase, principal: exposure, remaining: allowance.remaining, pool: nil)
        else { return nil }
        // Once the share is counted: requests that ended since the check may have been booked.
        guard standing.isCurrent else {
            self.services.exposure.release(share)
            return nil
        }
        return SpendGrant(share: share)
    }

    /// Takes the request's share of what is left. Near a limit it waits for running requests to end, and may then find
    /// the limit reached.
    ///
    /// - Parameters:
    ///   - worstCase: The most that the request can cost.
    ///   - billingGroup: The group that the request itself names, whose pool then pays.
    ///   - done: Called once, on any thread, when the answer is not known at once.
    package func reserve(
        _ principal: Principal, _ allowance: SpendAllowance, worstCase: Money,
        billingGroup: String?, requestID: RequestID, _ done: @escaping @Sendable (SpendReservation) -> Void,
    ) -> SpendReservation? {
        guard self.isExact, !allowance.caps.isEmpty || !allowance.pools.isEmpty else {
            return self.reserve(
                principal, allowance, worstCase: worstCase, billingGroup: billingGroup, requestID: requestID,
                until: nil, done)
        }
        let caller = SpendCaller(principal)
        self.services.holds.take(
            SpendHolds.Request(
                requestID: requestID, caller: caller, worstCase: worstCase, billingGroup: billingGroup,
                rules: self.rules, deadline: .now + Self.queueing
            ) { decision in
                switch decision {
                case .held(let grant): done(.granted(grant))
                case .refused(let refusal):
                    self.audit.record(refusal.audit)
                    done(.refused(refusal))
                case .unavailable:
                    let refusal = self.rules.unavailable(caller, requestID: requestID)
                    self.audit.record(refusal.audit)
                    done(.refused(refusal))
                }
            })
        return nil
    }

    /// - Parameter deadline: How long the request waits; `nil` when it has not begun to.
    private func reserve(
        _ principal: Principal, _ allowance: SpendAllowance, worstCase: Money,
        billingGroup: String?, requestID: RequestID, until deadline: ContinuousClock.Instant?,
        _ done: @escaping @Sendable (SpendReservation) -> Void,
    ) -> SpendReservation? {
        guard let exposure = allowance.exposure else {
            return .granted(SpendGrant(undecided: principal.groups ?? []))
        }
        let caller = SpendCaller(principal)
        var pool = allowance.pools.first { !$0.isExhausted } ?? allowance.pools.first
        if let billingGroup, let named = allowance.pools.first(where: { $0.group == billingGroup }) {
            pool = named
            if named.isExhausted {
                let refusal = self.rules.refusal(
                    named, of: [named], caller, requestID: requestID, now: .now)
                self.audit.record(refusal.audit)
                return .refused(refusal)
            }
        }
        let full: SpendExposure.Counter
        // Who has waited long enough passes: what is measured is below the limit.
        let hasWaited = deadline.map { ContinuousClock.now >= $0 } ?? false
        // What is left once the share is counted: requests that ended since the check may have been booked.
        var latest: SpendVerdict?
        func remaining() -> Money? {
            if allowance.standing?.isCurrent != true {
                latest = self.services.guardian.known(caller)?.verdict(caller, self.rules, requestID: requestID)
            }
            if hasWaited { return nil }
            if case .allowed(let now)? = latest { return now.remaining }
            return allowance.remaining
        }
        func left(of pool: SpendState.ActivePool) -> Money? {
            if hasWaited { return nil }
            var pool = pool
            if case .allowed(let now)? = latest, let same = now.pools.first(where: { $0.group == pool.group }) {
                pool = same
            }
            return Money(cents: pool.amount) - pool.spend
        }
        switch self.services.exposure.take(
            worstCase, principal: exposure, remaining: remaining(), pool: pool.map { ($0.group, left(of: $0)) })
        {
        case .taken(let share):
            guard case .blocked(let refusal)? = latest else {
                return .granted(SpendGrant(pool: pool?.group, share: share))
            }
            self.services.exposure.release(share)
            self.audit.record(refusal.audit)
            return .refused(refusal)
        case .full(let counter): full = counter
        }
        let deadline = deadline ?? .now + Self.queueing
        let again = FirstCall<Void> {
            @Sendable func checked(_ verdict: SpendVerdict) {
                switch verdict {
                case .blocked(let refusal): done(.refused(refusal))
                case .allowed(let allowance):
                    let now = self.reserve(
                        principal, allowance, worstCase: worstCase, billingGroup: billingGroup,
                        requestID: requestID, until: deadline, done)
                    if let now { done(now) }
                }
            }
            if let verdict = self.check(principal, requestID: requestID, checked) { checked(verdict) }
        }
        full.onChange { again.run(()) }
        Task {
            try? await Task.sleep(until: deadline, clock: .continuous)
            again.run(())
        }
        return nil
    }

    // MARK: After

    /// The request came to nothing that costs.
    package func release(_ grant: SpendGrant) {
        if let share = grant.share { self.services.exposure.release(share) }
        if let hold = grant.hold { self.services.holds.release(hold) }
    }

    /// - Parameter entry: Is told what the grant says of it.
    package func record(
        _ entry: inout SpendEntry, _ grant: SpendGrant?, _ usage: TokenUsage, hasUsage: Bool, billing: BillingTag,
    ) {
        if let grant {
            entry.pool = grant.pool
            entry.undecidedPools = grant.undecided
            entry.hold = grant.hold
            if let share = grant.share {
                entry.isExposed = true
                self.services.exposure.settle(share, entry.amount)
            }
        }
        self.onRecord?(entry)
        if self.billingGroupTag != nil { self.report(entry, usage, hasUsage: hasUsage, billing: billing) }
        self.services.ledger.record(entry)
    }

    /// The same for an answer of which only the books have to be told, with others of its thread.
    ///
    /// - Parameter entry: Makes one of it.
    /// - Returns: False where somebody else has to be told too, and nothing was done.
    package func gather(
        _ gathering: SpendGathering, _ principal: Principal, _ source: SpendSource, _ amounts: SpendEntry.Amounts,
        at: Timestamp, _ grant: SpendGrant?, requestID: RequestID, entry: () -> SpendEntry,
    ) -> Bool {
        guard self.onRecord == nil, self.billingGroupTag == nil, let grant, let share = grant.share, grant.hold == nil,
            grant.undecided.isEmpty
        else { return false }
        self.services.exposure.settle(share, amounts.amount)
        gathering.record(
            self.services.ledger, principal, source, amounts, at: at, pool: grant.pool, requestID: requestID
        ) {
            var entry = entry()
            entry.pool = grant.pool
            entry.isExposed = true
            return entry
        }
        return true
    }

    private func report(_ entry: SpendEntry, _ usage: TokenUsage, hasUsage: Bool, billing: BillingTag) {
        var group: JSONValue?
        if case .group(let name) = billing { group = .string(name) }
        let cents = Double(entry.amount.nanodollars) / Double(Money.perCent)
        self.audit.record(
            AuditEvent(
                "spend.metered",
                [
                    "request_id": .string(entry.requestIDs[0]), "sub": .string(entry.principal), "billing_group": group,
                    "billing_group_ignored": billing == .ignored ? .bool(true) : nil, "model": .string(entry.model),
                    "upstream": .string(entry.upstream), "input_tokens": .integer(usage.input),
                    "output_tokens": .integer(usage.output),
                    "cache_read_input_tokens": hasUsage ? .integer(usage.cacheRead) : nil,
                    "cache_creation_input_tokens": hasUsage ? .integer(usage.cacheWrite5m + usage.cacheWrite1h) : nil,
                    "cents": .number((cents * 10000).rounded() / 10000),
                ]))
    }

    /// An upstream's model and its price; a model without one is named in the log once.
    package func source(upstream: String, upstreamModel: String, modelID: String) -> SpendSource {
        let key = SourceKey(upstream: upstream, upstreamModel: upstreamModel, modelID: modelID)
        if let known = self.sources.withLock({ $0[key] }) { return known }
        let (price, isKnown) = self.pricer.price(upstream: upstream, upstreamModel: upstreamModel, modelID: modelID)
        if !isKnown {
            let isNew = self.warned.withLock { warned in
                warned.count < 1000 && warned.insert(upstreamModel).inserted
            }
            if isNew {
                self.log.warning(
                    "the price list has no such model; it is charged at the price of unknown models",
                    metadata: ["model": "\(upstreamModel.printableASCII(limit: 128))"])
            }
        }
        let source = SpendSource(
            upstream: upstream, upstreamModel: upstreamModel, modelID: modelID, price: price)
        // Clients may invent models: what is remembered is bounded.
        self.sources.withLock { if $0.count < Self.maximumSources { $0[key] = source } }
        return source
    }

    private struct SourceKey: Hashable {
        let upstream, upstreamModel, modelID: String

        /// Few upstreams take the same name for different models.
        func hash(into hasher: inout Hasher) { hasher.combine(self.upstreamModel) }
    }
}

/// Where an answer comes from, and what it costs there. A value, held by reference.
package final class SpendSource: Sendable {
    package let upstream: String
    package let upstreamModel: String
    /// As the client asked for it.
    package let modelID: String
    package let price: Price

    init(upstream: String, upstreamModel: String, modelID: String, price: Price) {
        self.upstream = upstream
        self.upstreamModel = upstreamModel
        self.modelID = modelID
        self.price = price
    }

    package func copy() -> SpendSource {
        SpendSource(
            upstream: self.upstream, upstreamModel: self.upstreamModel, modelID: self.modelID, price: self.price)
    }
}

/// What was last known of a developer, for one thread's next request: looking it up is for all of them together.
package final class SpendMemory {
    package let principal: Principal
    fileprivate var reading: SpendReading?

    package init(_ principal: Principal) {
        self.principal = principal
    }
}

/// What a request said about which group it is for.
package enum BillingTag: Sendable, Equatable {
    case none
    case group(String)
    /// It named something that is no group of the developer's.
    case ignored
}

/// What a request that runs has been given.
package final class SpendGrant: Sendable {
    /// The group whose pool pays.
    package let pool: String?
    /// The groups of which one's pool will pay, when limits could not be read.
    package let undecided: [String]
    package let share: SpendExposure.Share?
    /// The reservation in the store.
    package let hold: String?

    package init(
        pool: String? = nil, undecided: [String] = [], share: SpendExposure.Share? = nil, hold: String? = nil,
    ) {
        self.hold = hold
        self.pool = pool
        self.undecided = undecided
        self.share = share
    }
}

package enum SpendReservation: Sendable {
    case granted(SpendGrant)
    case refused(SpendRefusal)
}
