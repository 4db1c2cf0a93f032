// SPDX-License-Identifier: Apache-2.0

package import GatewayCore
package import GatewayStore

/// The limit that counts for one developer in one period.
package struct EffectiveCap: Sendable, Equatable {
    package let limit: SpendLimit
    /// What the developer has spent in the period.
    package let spend: Money
    package let resetsAt: Timestamp
    /// Until when the amount is a raise's.
    package var raisedUntil: Timestamp?

    package var period: SpendPeriod { self.limit.period }
    /// In cents; `nil` is unlimited.
    package var amount: Int64? { self.limit.amount }

    package var isExceeded: Bool {
        guard let amount = self.limit.amount else { return false }
        return self.spend >= Money(cents: amount)
    }

    /// What is left, never negative; `nil` is unlimited.
    package var remaining: Money? {
        self.limit.amount.map { max(.zero, Money(cents: $0) - self.spend) }
    }

    package var utilization: Utilization? {
        self.limit.amount.map { Utilization(spend: self.spend, limit: Money(cents: $0)) }
    }
}

/// Spend as a share of a limit, compared and written without floating point.
package struct Utilization: Sendable, Equatable {
    package let spend: Money
    package let limit: Money

    package init(spend: Money, limit: Money) {
        self.spend = max(.zero, spend)
        self.limit = limit
    }

    private func rounded(_ unit: Int128) -> Int128 {
        guard self.limit > .zero else { return unit }
        let (spend, limit) = (Int128(self.spend.nanodollars), Int128(self.limit.nanodollars))
        return (spend * unit * 2 + limit) / (limit * 2)
    }

    private var isExceeded: Bool { self.spend >= self.limit }

    /// Hundredths without trailing zeros: `0`, `0.5`, `0.74`, `1.5`; at most `0.99` below the limit, and `1` for a
    /// limit of nothing.
    package var text: String {
        let hundredths = self.isExceeded ? self.rounded(100) : min(99, self.rounded(100))
        let (whole, rest) = hundredths.quotientAndRemainder(dividingBy: 100)
        if rest == 0 { return "\(whole)" }
        return rest % 10 == 0 ? "\(whole).\(rest / 10)" : "\(whole).\(rest < 10 ? "0" : "")\(rest)"
    }

    /// Whole per cent, at most 99 below the limit.
    package var percent: Int {
        let percent = self.isExceeded ? self.rounded(100) : min(99, self.rounded(100))
        return Int(clamping: percent)
    }

    /// Whether more than that share is spent. Exactly at it is not above.
    package func isAbove(percent: Int64) -> Bool {
        Int128(self.spend.nanodollars) * 100 > Int128(self.limit.nanodollars) * Int128(percent)
    }

    package func hasReached(percent: Int64) -> Bool {
        Int128(self.spend.nanodollars) * 100 >= Int128(self.limit.nanodollars) * Int128(percent)
    }

    package static func < (left: Utilization, right: Utilization) -> Bool {
        // A limit of nothing is full.
        guard left.limit > .zero else { return false }
        guard right.limit > .zero else { return true }
        return Int128(left.spend.nanodollars) * Int128(right.limit.nanodollars)
            < Int128(right.spend.nanodollars) * Int128(left.limit.nanodollars)
    }
}

/// Who is asking, and when.
package struct SpendCaller: Sendable {
    package let principal: String
    package let groups: [String]

    package init(_ principal: Principal) {
        self.principal = principal.subject
        self.groups = principal.groups ?? []
    }

    package init(principal: String, groups: [String]) {
        self.principal = principal
        self.groups = groups
    }
}

extension SpendState {
    /// The limits that count for one developer, at most one a period, in the order daily, weekly, monthly: the
    /// developer's own, even an unlimited one, else the groups', else the organization's.
    package func caps(
        of caller: SpendCaller, _ mode: AdminSettings.GroupLimitMode, at now: Timestamp,
    ) -> [EffectiveCap] {
        SpendPeriod.allCases.compactMap { period in
            let limits = self.limits.filter { $0.period == period }
            guard var limit = Self.winner(limits, caller, mode) else { return nil }
            var raisedUntil: Timestamp?
            if let raise = self.raises[caller.principal]?[period], raise.endsAt > now, let amount = limit.amount,
                amount < raise.amount
            {
                limit.amount = raise.amount
                raisedUntil = raise.endsAt
            }
            return EffectiveCap(
                limit: limit, spend: self.spend(of: caller.principal, period, at: now),
                resetsAt: period.reset(after: now), raisedUntil: raisedUntil)
        }
    }

    private static func winner(
        _ limits: [SpendLimit], _ caller: SpendCaller, _ mode: AdminSettings.GroupLimitMode,
    ) -> SpendLimit? {
        if let own = limits.first(where: { $0.scope == .user(caller.principal) }) { return own }
        let names = Set(caller.groups)
        let ofGroups = limits.filter { limit in
            if case .group(let name) = limit.scope { names.contains(name) } else { false }
        }.sorted { $0.scope.id < $1.scope.id }
        // An unlimited one is the largest of all.
        func size(_ limit: SpendLimit) -> Int64 { limit.amount ?? .max }
        let ofGroup =
            switch mode {
            case .minimum: ofGroups.min { size($0) < size($1) }
            case .maximum: ofGroups.max { size($0) < size($1) }
            }
        return ofGroup ?? limits.first { $0.scope == .organization }
    }
}
