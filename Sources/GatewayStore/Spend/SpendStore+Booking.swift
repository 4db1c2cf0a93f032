// SPDX-License-Identifier: Apache-2.0

package import GatewayCore

extension SpendStore where Self: SQLStore {
    private var ledgerColumns: [(name: String, type: SQLDialect.ColumnType)] {
        [
            ("id", .text), ("at", .integer), ("day", .text), ("principal", .text), ("request_ids", .text),
            ("requests", .integer),
            ("model", .text), ("upstream", .text), ("upstream_model", .text), ("billing_group", .text),
            ("pool", .text), ("input", .integer), ("output", .integer), ("cache_write_5m", .integer),
            ("cache_write_1h", .integer), ("cache_read", .integer), ("web_searches", .integer),
            ("estimates", .integer), ("nanodollars", .integer),
        ]
    }

    package func book(
        _ entries: [SpendEntry], _ sightings: [PrincipalSighting], asking question: SpendQuestion?, now: Timestamp,
    ) async throws -> SpendBooking {
        guard !entries.isEmpty || !sightings.isEmpty else { return SpendBooking() }
        return try await self.transaction(timeout: .seconds(5)) { session in
            var booking = SpendBooking()
            if !entries.isEmpty { booking.totals = try self.book(entries, now: now, session) }
            if !sightings.isEmpty { try self.note(sightings, session) }
            if let question {
                booking.state = try self.state(
                    principals: question.principals, groups: question.groups, now: now, session)
            }
            return booking
        }
    }

    private func book(_ entries: [SpendEntry], now: Timestamp, _ session: any SQLSession) throws -> SpendTotals {
        // One and the same entry may stand twice in a journal.
        var ids: Set<String> = []
        var entries = entries.filter { ids.insert($0.id).inserted }
        let undecided = entries.filter { $0.pool == nil && !$0.undecidedPools.isEmpty }
        if !undecided.isEmpty {
            let groups = Array(Set(undecided.flatMap(\.undecidedPools)))
            let state = try self.state(principals: [], groups: groups, now: now, session)
            for index in entries.indices where entries[index].pool == nil {
                entries[index].pool = state.payingPool(of: entries[index].undecidedPools)
            }
        }
        let rows = entries.map { entry -> JSONValue in
            guard case .object(var object) = entry.json else { return .null }
            object["day"] = .string(SpendPeriod.daily.key(at: entry.at))
            object["undecided_pools"] = nil
            for key in ["principal", "model", "upstream", "upstream_model", "billing_group", "pool"] {
                object[key] = object[key]?.string.map { .string(StoredNames.stored($0)) }
            }
            return .object(object)
        }
        let columns = self.ledgerColumns.map(\.name).joined(separator: ", ")
        let id = self.dialect == .postgres ? "CAST(id AS uuid)" : "id"
        let selected = ([id] + self.ledgerColumns.dropFirst().map(\.name)).joined(separator: ", ")
        let inserted = try session.rows(
            """
            INSERT INTO spend_ledger (\(columns))
            SELECT \(selected) FROM \(self.dialect.records("$1", self.ledgerColumns)) WHERE true
            ON CONFLICT (id) DO NOTHING RETURNING id
            """, [JSONValue.array(rows).text()])
        let settled = entries.compactMap(\.hold)
        if !settled.isEmpty { try self.removeHolds(settled, session) }
        let new = Set(inserted.compactMap { $0[0] })
        let booked = entries.filter { new.contains($0.id) }
        guard !booked.isEmpty else { return SpendTotals() }

        var sums: [Pair: Money] = [:]
        var pools: [Pair: Money] = [:]
        var days: [DailyKey: DailySum] = [:]
        for entry in booked {
            for period in SpendPeriod.allCases {
                sums[Pair(entry.principal, period.key(at: entry.at)), default: .zero] += entry.amount
            }
            if let pool = entry.pool {
                pools[Pair(pool, SpendPeriod.monthly.key(at: entry.at)), default: .zero] += entry.amount
            }
            days[DailyKey(entry), default: DailySum()].add(entry)
        }
        var totals = SpendTotals()
        totals.spend = try self.add(sums, to: "spend", key: "principal", now: now, session)
        totals.pools = try self.add(pools, to: "pooled_spend", key: "rbac_group_id", now: now, session)
        try self.add(days, session)
        return totals
    }

    /// Adds to counters in one order, so that replicas that add at the same time never wait for each other in a circle.
    private func add(
        _ sums: [Pair: Money], to table: String, key: String, now: Timestamp, _ session: any SQLSession,
    ) throws -> [String: [String: Money]] {
        guard !sums.isEmpty else { return [:] }
        let names = StoredNames(sums.keys.lazy.map(\.name))
        let rows = sums.sorted { ($0.key.name, $0.key.period) < ($1.key.name, $1.key.period) }.map { sum in
            JSONValue.object([
                "name": .string(StoredNames.stored(sum.key.name)), "period": .string(sum.key.period),
                "nanodollars": .string(String(sum.value.nanodollars)),
            ])
        }
        let records = self.dialect.records("$1", [("name", .text), ("period", .text), ("nanodollars", .integer)])
        let after = try session.rows(
            """
            INSERT INTO \(table) (\(key), period, nanodollars, updated_at)
            SELECT name, period, nanodollars, \(self.dialect.time("$2")) FROM \(records) WHERE true
            ON CONFLICT (\(key), period) DO UPDATE
            SET nanodollars = \(Self.sum(table, "nanodollars")), updated_at = excluded.updated_at
            RETURNING \(key), period, nanodollars
            """, [JSONValue.array(rows).text(), String(now.milliseconds)])
        var totals: [String: [String: Money]] = [:]
        for row in after {
            guard let name = row[0], let period = row[1], let sum = row[2].flatMap({ Int64($0) }) else { continue }
            totals[names.original(name), default: [:]][period] = Money(nanodollars: sum)
        }
        return totals
    }

    /// Stops at the largest integer instead of failing.
    private static func sum(_ table: String, _ column: String) -> String {
        """
        CASE WHEN \(table).\(column) > \(Int64.max) - excluded.\(column) THEN \(Int64.max)
            ELSE \(table).\(column) + excluded.\(column) END
        """
    }

    private func add(_ days: [DailyKey: DailySum], _ session: any SQLSession) throws {
        let keys: [(name: String, type: SQLDialect.ColumnType)] = [
            ("day", .text), ("principal", .text), ("model", .text), ("upstream", .text), ("billing_group", .text),
        ]
        let sums = DailySum.columns
        let rows = days.sorted { $0.key < $1.key }.map { day in
            var object: JSONObject = [:]
            for (name, value) in zip(keys.map(\.name), day.key.values) {
                object[name] = .string(StoredNames.stored(value))
            }
            for (name, value) in zip(sums, day.value.values) { object[name] = .string(String(value)) }
            return JSONValue.object(object)
        }
        let columns = keys.map(\.name) + sums
        let records = self.dialect.records("$1", keys + sums.map { (name: $0, type: .integer) })
        let updates = sums.map { "\($0) = \(Self.sum("spend_daily", $0))" }.joined(separator: ", ")
        _ = try session.rows(
            """
            INSERT INTO spend_daily (\(columns.joined(separator: ", ")))
            SELECT \(columns.joined(separator: ", ")) FROM \(records) WHERE true
            ON CONFLICT (\(keys.map(\.name).joined(separator: ", "))) DO UPDATE SET \(updates)
            """, [JSONValue.array(rows).text()])
    }

    private func note(_ sightings: [PrincipalSighting], _ session: any SQLSession) throws {
        var last: [String: PrincipalSighting] = [:]
        var groups: [Pair: Set<String>] = [:]
        for sighting in sightings {
            let day = SpendPeriod.daily.key(at: sighting.at)
            groups[Pair(sighting.principal, day), default: []].formUnion(sighting.groups)
            if let earlier = last[sighting.principal], earlier.at > sighting.at { continue }
            last[sighting.principal] = sighting
        }
        let rows = last.values.sorted { $0.principal < $1.principal }.map { sighting in
            var object: JSONObject = [
                "principal": .string(StoredNames.stored(sighting.principal)),
                "groups": .string(JSONValue.texts(sighting.groups.map(StoredNames.stored))),
                "at": .string(String(sighting.at.milliseconds)),
            ]
            object["email"] = sighting.email.map { .string(StoredNames.withoutZero($0)) }
            object["name"] = sighting.name.map { .string(StoredNames.withoutZero($0)) }
            return JSONValue.object(object)
        }
        let records = self.dialect.records(
            "$1", [("principal", .text), ("email", .text), ("name", .text), ("groups", .text), ("at", .integer)])
        _ = try session.rows(
            """
            INSERT INTO principal_emails (principal, email, name, groups, updated_at)
            SELECT principal, email, name, \(self.dialect.json("groups")), \(self.dialect.time("at"))
            FROM \(records) WHERE true
            ON CONFLICT (principal) DO UPDATE SET
                email = coalesce(excluded.email, principal_emails.email),
                name = coalesce(excluded.name, principal_emails.name),
                groups = excluded.groups, updated_at = excluded.updated_at
            """, [JSONValue.array(rows).text()])
        try self.noteGroups(groups, session)
    }

    /// The groups of a day are all that were seen on it.
    private func noteGroups(_ groups: [Pair: Set<String>], _ session: any SQLSession) throws {
        let rows = groups.sorted { ($0.key.period, $0.key.name) < ($1.key.period, $1.key.name) }.map { entry in
            JSONValue.object([
                "day": .string(entry.key.period), "principal": .string(StoredNames.stored(entry.key.name)),
                "groups": .string(JSONValue.texts(entry.value.map(StoredNames.stored).sorted())),
            ])
        }
        let records = self.dialect.records("$1", [("day", .text), ("principal", .text), ("groups", .text)])
        let union: String
        switch self.dialect {
        case .postgres:
            union = """
                (SELECT coalesce(jsonb_agg(DISTINCT name), '[]') FROM jsonb_array_elements(
                    principal_groups.groups || excluded.groups) AS name)
                """
        case .sqlite:
            union = """
                (SELECT json_group_array(value) FROM (
                    SELECT value FROM json_each(principal_groups.groups)
                    UNION SELECT value FROM json_each(excluded.groups)))
                """
        }
        _ = try session.rows(
            """
            INSERT INTO principal_groups (day, principal, groups)
            SELECT day, principal, \(self.dialect.json("groups")) FROM \(records) WHERE true
            ON CONFLICT (day, principal) DO UPDATE SET groups = \(union)
            """, [JSONValue.array(rows).text()])
    }

    package func ledgerName() async throws -> String {
        try await self.transaction(timeout: .seconds(5)) { session in
            _ = try session.rows(
                "INSERT INTO kv (key, value, expires_at) VALUES ('spend:ledger', $1, NULL) ON CONFLICT (key) DO NOTHING",
                [RandomToken.make()])
            return try session.rows("SELECT value FROM kv WHERE key = 'spend:ledger'", [])[0][0] ?? ""
        }
    }
}

/// Whose counter, and of which period.
private struct Pair: Hashable {
    let name: String
    let period: String

    init(_ name: String, _ period: String) {
        self.name = name
        self.period = period
    }
}

private struct DailyKey: Hashable, Comparable {
    let values: [String]

    init(_ entry: SpendEntry) {
        self.values = [
            SpendPeriod.daily.key(at: entry.at), entry.principal, entry.model, entry.upstream,
            entry.billingGroup ?? "",
        ]
    }

    static func < (left: DailyKey, right: DailyKey) -> Bool {
        left.values.lexicographicallyPrecedes(right.values)
    }
}

private struct DailySum {
    static let columns = [
        "requests", "input", "output", "cache_write_5m", "cache_write_1h", "cache_read", "web_searches", "nanodollars",
    ]

    var values = [Int64](repeating: 0, count: 8)

    mutating func add(_ entry: SpendEntry) {
        let added = [
            Int64(entry.requests), Int64(entry.input), Int64(entry.output), Int64(entry.cacheWrite5m),
            Int64(entry.cacheWrite1h),
            Int64(entry.cacheRead), Int64(entry.webSearches), entry.amount.nanodollars,
        ]
        for (index, value) in added.enumerated() {
            self.values[index] = (Money(nanodollars: self.values[index]) + Money(nanodollars: value)).nanodollars
        }
    }
}

extension SpendState {
    /// Which of a developer's groups pays from its pool: of the active ones that are not exhausted the largest, of equal
    /// ones the first by name; of exhausted ones the largest, because what was admitted is paid by somebody.
    package func payingPool(of groups: [String]) -> String? {
        let active = self.activePools(of: groups)
        return (active.first { !$0.isExhausted } ?? active.first)?.group
    }

    package struct ActivePool: Sendable, Equatable {
        package let group: String
        /// In cents.
        package let amount: Int64
        package let spend: Money

        package var isExhausted: Bool { self.spend >= Money(cents: self.amount) }
    }

    /// The active pools of some groups, the largest first, equal ones by name.
    package func activePools(of groups: [String]) -> [ActivePool] {
        let names = Set(groups)
        return self.limits.compactMap { limit -> ActivePool? in
            guard case .group(let name) = limit.scope, limit.period == .monthly, names.contains(name),
                let pool = limit.pool, !pool.isPaused
            else { return nil }
            return ActivePool(group: name, amount: pool.amount, spend: self.pools[name] ?? .zero)
        }.sorted { ($1.amount, $0.group) < ($0.amount, $1.group) }
    }
}
