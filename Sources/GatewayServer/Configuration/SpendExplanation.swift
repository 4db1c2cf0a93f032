// SPDX-License-Identifier: Apache-2.0

package import GatewayCore
internal import GatewayMetering
internal import GatewayStore

/// Which spend limits count for one developer, as the configured store says at this moment.
package struct SpendExplanation: Sendable {
    private let caps: [EffectiveCap]
    private let pools: [SpendState.ActivePool]
    /// `nil` for somebody who has not made a request yet: only limits by group and for everybody are known then.
    private let principal: String?

    /// - Returns: `nil` without an `admin` section.
    /// - Throws: What the store says when it does not answer.
    package static func read(_ settings: GatewaySettings, email: String?, groups: [String]) async throws
        -> SpendExplanation?
    {
        guard let admin = settings.admin else { return nil }
        let store: any GatewayStore =
            switch settings.store.backend {
            case .postgres(let url): PostgresStore(settings: settings.store, url: url) { _ in }
            case .sqlite(let path): try SQLiteStore(path: path)
            }
        do {
            let found = try await self.read(store, admin, email: email, groups: groups)
            await store.close()
            return found
        } catch {
            await store.close()
            throw error
        }
    }

    private static func read(
        _ store: any SpendStore, _ admin: AdminSettings, email: String?, groups: [String],
    ) async throws -> SpendExplanation {
        var principal: String?
        if let email {
            var query = PrincipalQuery()
            query.search = email.lowercased()
            let candidates = try await store.principals(query)
            let identities = try await store.identities(candidates)
            principal = candidates.first { identities[$0]?.email?.lowercased() == email.lowercased() }
        }
        let now = Timestamp.now
        let caller = SpendCaller(principal: principal ?? "", groups: groups)
        let state = try await store.spendState(
            principals: principal.map { [$0] } ?? [], groups: groups, now: now)
        return SpendExplanation(
            caps: state.caps(of: caller, admin.groupLimitMode, at: now), pools: state.activePools(of: groups),
            principal: principal)
    }

    private static func source(_ scope: SpendScope) -> String {
        switch scope {
        case .organization: "everybody's"
        case .group(let name): "of the group \(name)"
        case .user: "the developer's own"
        }
    }

    package var json: JSONValue {
        let caps = self.caps.map { cap -> JSONValue in
            [
                "period": .string(cap.period.rawValue), "amount": cap.amount.map { .string(String($0)) } ?? .null,
                "source": cap.limit.scopeJSON, "spend_limit_id": .string(cap.limit.id),
                "period_to_date_spend": .string(cap.spend.cents(places: 3)),
                "raised_until": (cap.raisedUntil?.description).jsonOrNull,
            ]
        }
        let pools = self.pools.map { pool -> JSONValue in
            [
                "rbac_group_id": .string(pool.group), "amount": .string(String(pool.amount)),
                "period_to_date_spend": .string(pool.spend.cents(places: 3)),
            ]
        }
        return ["user_id": self.principal.jsonOrNull, "limits": .array(caps), "pools": .array(pools)]
    }

    package var text: String {
        var lines = ["Spend limits, as the store says now:"]
        for cap in self.caps {
            let amount = cap.amount.map { "$" + Money(cents: $0).dollars(places: 2) } ?? "unlimited"
            var line = "  \(cap.period.rawValue): \(amount), \(Self.source(cap.limit.scope))"
            if self.principal != nil { line += "; spent $\(cap.spend.dollars(places: 2))" }
            if let end = cap.raisedUntil { line += "; raised until \(end)" }
            lines.append(line)
        }
        for pool in self.pools {
            lines.append(
                "  budget of \(pool.group): $\(Money(cents: pool.amount).dollars(places: 2)) a month; spent $\(pool.spend.dollars(places: 2))"
            )
        }
        if self.caps.isEmpty, self.pools.isEmpty { lines.append("  none") }
        if self.principal == nil {
            lines.append("  Nobody with that address has made a request yet, so limits by account are not looked at.")
        }
        return lines.joined(separator: "\n")
    }
}
