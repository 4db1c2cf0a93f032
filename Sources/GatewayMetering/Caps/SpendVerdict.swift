// SPDX-License-Identifier: Apache-2.0

package import GatewayCore
package import GatewayStore

/// Whether a developer may spend now, and what the client is told about it.
package enum SpendVerdict: Sendable {
    case allowed(SpendAllowance)
    case blocked(SpendRefusal)
}

/// What a request that may begin has to know. A value, held by reference.
package final class SpendAllowance: Sendable {
    /// Without limits, or where they could not be read.
    package static let unchecked = SpendAllowance(caps: [], pools: [], headers: FieldBlock())

    /// For good answers; empty without a finite limit.
    package let headers: FieldBlock
    /// What the developer's requests may still add; `nil` when the limits could not be read and requests pass unchecked.
    package let exposure: SpendExposure.Counter?
    /// Of what it follows from.
    package let standing: SpendReading.Standing?
    /// What the tightest of the developer's own limits leaves; `nil` without a finite one.
    package let remaining: Money?
    /// Largest first.
    package let pools: [SpendState.ActivePool]
    /// The finite limits, for exact reservations.
    package let caps: [EffectiveCap]

    init(
        caps: [EffectiveCap], pools: [SpendState.ActivePool], headers: FieldBlock,
        exposure: SpendExposure.Counter? = nil, standing: SpendReading.Standing? = nil,
    ) {
        self.caps = caps
        self.remaining = caps.compactMap(\.remaining).min()
        self.pools = pools
        self.headers = headers
        self.exposure = exposure
        self.standing = standing
    }

    func counted(by exposure: SpendExposure.Counter, _ standing: SpendReading.Standing) -> SpendAllowance {
        SpendAllowance(
            caps: self.caps, pools: self.pools, headers: self.headers, exposure: exposure, standing: standing)
    }
}

/// An answer instead of the model's.
package struct SpendRefusal: Sendable {
    package let message: String
    package let headers: [(name: String, value: String)]
    package let audit: AuditEvent
}

/// Turns what limits and counters say into verdicts, headers and sentences. The header names and values are a contract
/// with Claude Code (see docs/compatibility.md).
package struct SpendRules: Sendable, Equatable {
    private static let prefix = "anthropic-ratelimit-unified-"

    package let mode: AdminSettings.GroupLimitMode
    package let blockedMessage: String?

    package init(mode: AdminSettings.GroupLimitMode, blockedMessage: String?) {
        self.mode = mode
        self.blockedMessage = blockedMessage
    }

    package func verdict(
        _ caller: SpendCaller, _ state: SpendState, requestID: RequestID, now: Timestamp,
    ) -> SpendVerdict {
        let caps = state.caps(of: caller, self.mode, at: now).filter { $0.amount != nil }
        let pools = state.activePools(of: caller.groups)
        if let cap = Self.described(caps), cap.isExceeded {
            return .blocked(self.refusal(cap, caller, requestID: requestID, now: now))
        }
        if let largest = pools.first, pools.allSatisfy(\.isExhausted) {
            return .blocked(self.refusal(largest, of: pools, caller, requestID: requestID, now: now))
        }
        return .allowed(
            SpendAllowance(caps: caps, pools: pools, headers: FieldBlock(Self.headers(caps, pools, now: now))))
    }

    /// The cap that headers and answers speak of: of exceeded ones the one that resets last, else the fullest; among
    /// equals the monthly one, then the one that resets later.
    package static func described(_ caps: [EffectiveCap]) -> EffectiveCap? {
        let exceeded = caps.filter(\.isExceeded)
        if !exceeded.isEmpty {
            return exceeded.max { ($0.resetsAt, Self.rank($0)) < ($1.resetsAt, Self.rank($1)) }
        }
        return caps.max { left, right in
            guard let first = left.utilization, let second = right.utilization else { return false }
            if first < second { return true }
            if second < first { return false }
            return (Self.rank(left), left.resetsAt) < (Self.rank(right), right.resetsAt)
        }
    }

    private static func rank(_ cap: EffectiveCap) -> Int { cap.period == .monthly ? 1 : 0 }

    // MARK: Answers that go on

    private static func headers(
        _ caps: [EffectiveCap], _ pools: [SpendState.ActivePool], now: Timestamp,
    ) -> [(name: String, value: String)] {
        let own = self.described(caps)
        var shown = own?.utilization
        var reset = own?.resetsAt
        var isPool = false
        // A pool that is running out is told when no other is left to pay, and it is fuller than the developer's cap.
        let open = pools.filter { !$0.isExhausted }
        if open.count == 1, let pool = open.first {
            let used = Utilization(spend: pool.spend, limit: Money(cents: pool.amount))
            if used.isAbove(percent: 75), shown.map({ $0 < used }) ?? true {
                (shown, reset, isPool) = (used, SpendPeriod.monthly.reset(after: now), true)
            }
        }
        guard let shown, let reset else { return [] }
        let isWarning = shown.isAbove(percent: 75)
        let status = isWarning ? "allowed_warning" : "allowed"
        var headers = [
            ("status", status), ("reset", String(reset.seconds)), ("overage-reset", String(reset.seconds)),
            ("overage-utilization", shown.text),
        ]
        if isWarning {
            headers.append(("overage-surpassed-threshold", shown.isAbove(percent: 95) ? "0.95" : "0.75"))
        }
        if isPool { headers.append(("overage-scope", "group_pool")) }
        headers += [("representative-claim", "overage"), ("overage-status", status)]
        return headers.map { (self.prefix + $0.0, $0.1) }
    }

    // MARK: Refusals

    private static func rejected(
        _ used: Utilization, period: SpendPeriod, resetsAt: Timestamp, isPool: Bool, now: Timestamp,
    ) -> [(name: String, value: String)] {
        var headers = [
            ("status", "rejected"), ("reset", String(resetsAt.seconds)), ("overage-reset", String(resetsAt.seconds)),
            ("overage-utilization", used.text), ("overage-surpassed-threshold", "1"),
            ("overage-period", period.rawValue),
        ]
        if isPool { headers.append(("overage-scope", "group_pool")) }
        headers.append(("overage-disabled-reason", "org_spend_cap_reached"))
        return headers.map { (self.prefix + $0.0, $0.1) } + [
            ("retry-after", String(max(1, (resetsAt.milliseconds - now.milliseconds + 999) / 1000))),
            ("x-should-retry", "false"),
        ]
    }

    /// Where to ask for more, unless the operator says it in other words.
    private static let advice = "to ask for more: claude spend request"

    private var tail: String { " · " + (self.blockedMessage ?? Self.advice) }

    /// `spend limit reached · daily limit · resets Nov 24 00:00 UTC · …`: clients key on the first three words.
    private func refusal(
        _ cap: EffectiveCap, _ caller: SpendCaller, requestID: RequestID, now: Timestamp,
    ) -> SpendRefusal {
        let amount = cap.amount ?? 0
        let day = CivilDate(cap.resetsAt)
        let text =
            amount == 0
            ? " · \(cap.period.rawValue) limit is 0, so nothing may be spent"
            : " · \(cap.period.rawValue) limit · resets \(day.monthName.prefix(3)) \(day.dayOfMonth), 00:00 UTC"
        return SpendRefusal(
            message: "spend limit reached" + text + self.tail,
            headers: Self.rejected(
                Utilization(spend: cap.spend, limit: Money(cents: amount)), period: cap.period,
                resetsAt: cap.resetsAt, isPool: false, now: now),
            audit: AuditEvent(
                "spend.blocked",
                [
                    "request_id": .string(requestID.description), "sub": .string(caller.principal),
                    "cause": "over_limit", "cap_cents": .string(String(amount)),
                    "source": .string(cap.limit.scope.type), "period": .string(cap.period.rawValue),
                ]))
    }

    package func refusal(
        _ pool: SpendState.ActivePool, of pools: [SpendState.ActivePool], _ caller: SpendCaller,
        requestID: RequestID, now: Timestamp,
    ) -> SpendRefusal {
        let reset = SpendPeriod.monthly.reset(after: now)
        let day = CivilDate(reset)
        let advice =
            "Ask your organization's admins to raise it, or try again after it resets on \(day.monthName) \(day.dayOfMonth) at 00:00 UTC"
        return SpendRefusal(
            message: "This request exceeds your group's budget. " + advice
                + (self.blockedMessage == nil ? "." : self.tail),
            headers: Self.rejected(
                Utilization(spend: pool.spend, limit: Money(cents: pool.amount)), period: .monthly, resetsAt: reset,
                isPool: true, now: now),
            audit: AuditEvent(
                "spend.blocked",
                [
                    "request_id": .string(requestID.description), "sub": .string(caller.principal),
                    "cause": "over_limit", "cap_cents": .string(String(pool.amount)), "source": "group_pool",
                    "period": "monthly",
                    "groups": .array(pools.filter(\.isExhausted).map { .string($0.group) }),
                ]))
    }

    /// Exact mode: what is left is less than the request can cost.
    package func tooDear(
        _ cap: EffectiveCap, _ worstCase: Money, _ caller: SpendCaller, requestID: RequestID, now: Timestamp,
    ) -> SpendRefusal {
        self.tooDear(
            "the \(cap.period.rawValue) limit", spent: cap.spend, of: cap.amount ?? 0, worstCase, period: cap.period,
            resetsAt: cap.resetsAt, source: cap.limit.scope.type, caller, requestID: requestID, now: now)
    }

    package func tooDear(
        _ pool: SpendState.ActivePool, _ worstCase: Money, _ caller: SpendCaller, requestID: RequestID, now: Timestamp,
    ) -> SpendRefusal {
        self.tooDear(
            "the group's budget", spent: pool.spend, of: pool.amount, worstCase, period: .monthly,
            resetsAt: SpendPeriod.monthly.reset(after: now), source: "group_pool", caller, requestID: requestID,
            now: now)
    }

    private func tooDear(
        _ what: String, spent: Money, of amount: Int64, _ worstCase: Money, period: SpendPeriod, resetsAt: Timestamp,
        source: String, _ caller: SpendCaller, requestID: RequestID, now: Timestamp,
    ) -> SpendRefusal {
        let limit = Money(cents: amount)
        let left = max(.zero, limit - spent)
        let text =
            " · this request may cost $\(worstCase.dollars(places: 4)), and $\(left.dollars(places: 4)) of \(what) is left; a smaller max_tokens or a shorter prompt may fit"
        return SpendRefusal(
            message: "spend limit reached" + text + self.tail,
            headers: Self.rejected(
                Utilization(spend: spent, limit: limit), period: period, resetsAt: resetsAt,
                isPool: source == "group_pool", now: now),
            audit: AuditEvent(
                "spend.blocked",
                [
                    "request_id": .string(requestID.description), "sub": .string(caller.principal),
                    "cause": "would_exceed", "cap_cents": .string(String(amount)), "source": .string(source),
                    "period": .string(period.rawValue), "worst_case_cents": .string(worstCase.cents(places: 4)),
                ]))
    }

    /// Exact mode: running requests have reserved what is left, and have not ended in time.
    package func busy(_ caller: SpendCaller, requestID: RequestID) -> SpendRefusal {
        SpendRefusal(
            message: "spend limit reached · running requests have reserved what is left of it; try again in a moment",
            headers: [("retry-after", "5"), ("x-should-retry", "true")],
            audit: AuditEvent(
                "spend.blocked",
                [
                    "request_id": .string(requestID.description), "sub": .string(caller.principal),
                    "cause": "reserved",
                ]))
    }

    /// Limits cannot be read, and the operator wants no unchecked spend.
    package func unavailable(_ caller: SpendCaller, requestID: RequestID) -> SpendRefusal {
        SpendRefusal(
            message: "spend limit unavailable" + (self.blockedMessage.map { " · " + $0 } ?? ""),
            headers: [(Self.prefix + "overage-disabled-reason", "fetch_error"), ("x-should-retry", "false")],
            audit: AuditEvent(
                "spend.blocked",
                [
                    "request_id": .string(requestID.description), "sub": .string(caller.principal),
                    "cause": "store_error",
                ]))
    }
}
