// SPDX-License-Identifier: Apache-2.0

internal import GatewayCore
internal import GatewayMetering
internal import GatewayRelay
internal import GatewayStore
internal import NIOHTTP1

/// `GET /v1/organizations/spend_limits/effective`: what counts for each developer, by the groups last seen.
struct EffectiveLimits: Sendable {
    private static let maximumUsers = 1000

    let store: any SpendStore
    let mode: AdminSettings.GroupLimitMode

    /// Where a page ended.
    private struct PageToken {
        let principal: String
        let spend: Money?

        var text: String {
            var object: JSONObject = ["p": .string(self.principal)]
            object["n"] = self.spend.map { .string(String($0.nanodollars)) }
            return Base64URL.encode(JSONValue.object(object).bytes())
        }

        init(principal: String, spend: Money?) {
            self.principal = principal
            self.spend = spend
        }

        init?(_ text: String, isSorted: Bool) {
            guard let bytes = Base64URL.decode(text), let json = try? JSONValue(parsing: bytes),
                let principal = json["p"]?.string, !principal.utf8.contains(0)
            else { return nil }
            let spend = json["n"]?.string.flatMap { Int64($0) }.map(Money.init(nanodollars:))
            guard (spend != nil) == isSorted else { return nil }
            self.init(principal: principal, spend: spend)
        }
    }

    func answer(_ query: QueryParameters) async throws -> PlainResponse {
        let limit = try query.limit(default: 20)
        var periods = try query.periods("period[]")
        let isSorted = query["sort"] != nil
        if let sort = query["sort"] {
            guard sort == "spend_desc" else { throw AdminError.invalid("sort: must be spend_desc") }
            guard periods.count == 1 else {
                throw AdminError.invalid("sort=spend_desc requires exactly one period[]")
            }
        }
        if periods.isEmpty { periods = SpendPeriod.allCases }
        periods = SpendPeriod.allCases.filter(periods.contains)
        let now = Timestamp.now
        let named = query.all("user_ids[]")
        guard named.isEmpty else {
            var users: [String] = []
            for user in named where !users.contains(user) { users.append(user) }
            if users.count > Self.maximumUsers {
                throw AdminError.invalid("user_ids[]: takes at most \(Self.maximumUsers) at a time")
            }
            if users.contains(where: { $0.utf8.contains(0) }) {
                throw AdminError.invalid("user_ids[]: must not hold U+0000")
            }
            return try await self.page(users, periods, next: nil, now: now)
        }
        var wanted = PrincipalQuery()
        wanted.limit = limit + 1
        wanted.search = query["q"].flatMap { $0.isEmpty ? nil : $0.lowercased() }
        wanted.group = query["group"].flatMap { $0.isEmpty ? nil : $0 }
        for (name, text) in [("q", wanted.search), ("group", wanted.group)] where text?.utf8.contains(0) == true {
            throw AdminError.invalid("\(name): must not hold U+0000")
        }
        if let text = query["page"] {
            guard let token = PageToken(text, isSorted: isSorted) else {
                throw AdminError.invalid("page: invalid page token")
            }
            wanted.after = token.principal
            wanted.afterSpend = token.spend
        }
        var users: [String]
        var next: PageToken?
        if isSorted {
            let found = try await self.store.principalsBySpend(wanted, periodKey: periods[0].key(at: now))
            users = found.prefix(limit).map(\.principal)
            if found.count > limit, let last = found.prefix(limit).last {
                next = PageToken(principal: last.principal, spend: last.spend)
            }
        } else {
            let found = try await self.store.principals(wanted)
            users = Array(found.prefix(limit))
            if found.count > limit, let last = users.last { next = PageToken(principal: last, spend: nil) }
        }
        return try await self.page(users, periods, next: next?.text, now: now)
    }

    private func page(_ users: [String], _ periods: [SpendPeriod], next: String?, now: Timestamp) async throws
        -> PlainResponse
    {
        let identities = try await self.store.identities(users)
        let groups = Set(identities.values.flatMap(\.groups))
        let state = try await self.store.spendState(principals: users, groups: Array(groups), now: now)
        var rows: [JSONValue] = []
        for user in users {
            let identity = identities[user] ?? PrincipalIdentity()
            let caller = SpendCaller(principal: user, groups: identity.groups)
            let caps = state.caps(of: caller, self.mode, at: now)
            for period in periods {
                let cap = caps.first { $0.period == period }
                var row = self.row(user, identity, period, cap?.limit, state.spend(of: user, period, at: now))
                if let end = cap?.raisedUntil { row["raised_until"] = .string(end.description) }
                if period == .monthly {
                    let pools = state.activePools(of: identity.groups).map { pool -> JSONValue in
                        [
                            "rbac_group_id": .string(pool.group), "amount": .string(String(pool.amount)),
                            "currency": "USD", "period_to_date_spend": .string(pool.spend.cents(places: 3)),
                        ]
                    }
                    if !pools.isEmpty { row["pooled_budgets"] = .array(pools) }
                }
                rows.append(.object(row))
            }
        }
        return .json(.ok, ["data": .array(rows), "next_page": next.jsonOrNull])
    }

    private func row(
        _ user: String, _ identity: PrincipalIdentity, _ period: SpendPeriod, _ limit: SpendLimit?, _ spend: Money,
    ) -> JSONObject {
        [
            "scope": ["type": "user", "user_id": .string(user)],
            "groups": .array(identity.groups.map(JSONValue.string)),
            "actor": [
                "type": "user_actor", "user_id": .string(user), "name": identity.name.jsonOrNull,
                "email_address": identity.email.jsonOrNull, "deleted": false,
            ],
            "amount": limit?.amount.map { .string(String($0)) } ?? .null, "currency": "USD",
            "period": .string(period.rawValue), "source": limit?.scopeJSON ?? .null,
            "spend_limit_id": (limit?.id).jsonOrNull, "period_to_date_spend": .string(spend.cents(places: 3)),
        ]
    }
}
