// SPDX-License-Identifier: Apache-2.0

package import GatewayCore
package import GatewayStore

/// The body of `GET /api/oauth/usage`, which Claude Code's `/usage` shows. Cents, rounded down.
package enum SpendUsageReport {
    package static func make(
        _ caller: SpendCaller, _ state: SpendState, _ mode: AdminSettings.GroupLimitMode, now: Timestamp,
    ) -> JSONValue {
        let caps = state.caps(of: caller, mode, at: now).filter { $0.amount != nil }
        let pools = self.pools(state.activePools(of: caller.groups), now: now)
        func spent(_ period: SpendPeriod) -> JSONValue {
            .integer(state.spend(of: caller.principal, period, at: now).wholeCents)
        }
        guard let active = SpendRules.described(caps), let utilization = active.utilization else {
            func open(_ period: SpendPeriod) -> JSONValue {
                ["limit": .null, "used_credits": spent(period), "utilization": .null]
            }
            return [
                "extra_usage": [
                    "is_enabled": true, "monthly_limit": .null, "used_credits": spent(.monthly), "utilization": .null,
                    "currency": "USD", "daily": open(.daily), "weekly": open(.weekly),
                ], "limits": .array(pools),
            ]
        }
        let rows = caps.map { cap in
            self.row(
                cap.utilization ?? utilization, kind: "spend", group: cap.period.rawValue, resetsAt: cap.resetsAt,
                isActive: cap.period == active.period)
        }
        return [
            "extra_usage": [
                "is_enabled": true, "monthly_limit": .integer(active.amount ?? 0),
                "used_credits": .integer(active.spend.wholeCents), "utilization": .integer(utilization.percent),
                "currency": "USD",
            ], "limits": .array(rows + pools),
        ]
    }

    /// One row for each pool that pays for the developer.
    private static func pools(_ pools: [SpendState.ActivePool], now: Timestamp) -> [JSONValue] {
        pools.map { pool in
            self.row(
                Utilization(spend: pool.spend, limit: Money(cents: pool.amount)), kind: "group_pool",
                group: pool.group, resetsAt: SpendPeriod.monthly.reset(after: now), isActive: false)
        }
    }

    private static func row(
        _ utilization: Utilization, kind: String, group: String, resetsAt: Timestamp, isActive: Bool,
    ) -> JSONValue {
        let severity =
            utilization.isAbove(percent: 95) || utilization.limit == .zero
            ? "critical" : utilization.isAbove(percent: 75) ? "warning" : "normal"
        return [
            "kind": .string(kind), "group": .string(group), "percent": .integer(utilization.percent),
            "resets_at": .string(resetsAt.description), "severity": .string(severity), "is_active": .bool(isActive),
        ]
    }
}
