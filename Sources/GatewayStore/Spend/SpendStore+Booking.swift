// SPDX-License-Identifier: Apache-2.0

package import GatewayCore

extension SpendStore where Self: SQLStore {
    package func book(
        _ entries: [SpendEntry], _ sightings: [PrincipalSighting], asking question: SpendQuestion?, mayRepeat: Bool,
        now: Timestamp,
    ) async throws -> SpendBooking {
        guard !entries.isEmpty || !sightings.isEmpty else { return SpendBooking() }
        // One and the same entry may stand twice in a journal.
        var ids: Set<String> = []
        let entries = entries.filter { ids.insert($0.id).inserted }
        if !mayRepeat, !entries.contains(where: \.isUndecided) {
            do {
                return try await self.bookNew(entries, sightings, asking: question, now: now)
            } catch StoreError.refused(let state, _) where self.dialect.isConflict(state) {
                // Some are booked already, and nothing has been done.
            }
        }
        return try await self.transaction(timeout: .seconds(5)) { session in
            var booking = SpendBooking()
            func run(_ steps: [BookingStep]) throws {
                for step in steps { step.read(try session.rows(step.statement), &booking) }
            }
            if !entries.isEmpty {
                let entries = try self.decided(entries, now: now, session)
                let inserted = try session.rows(self.inserting(entries, self.sql.insertAny))
                let new = Set(inserted.compactMap { $0[0] })
                try run(self.settling(entries))
                try run(self.adding(entries.filter { new.contains($0.id) }, now: now))
            }
            try run(self.noting(sightings))
            try run(self.asking(question, now: now))
            return booking
        }
    }

    /// Fails, and does nothing, when one of them is booked already.
    private func bookNew(
        _ entries: [SpendEntry], _ sightings: [PrincipalSighting], asking question: SpendQuestion?, now: Timestamp,
    ) async throws -> SpendBooking {
        var steps: [BookingStep] = []
        if !entries.isEmpty { steps.append(BookingStep(self.inserting(entries, self.sql.insertNew))) }
        steps += self.settling(entries) + self.adding(entries, now: now) + self.noting(sightings)
        steps += self.asking(question, now: now)
        var booking = SpendBooking()
        let found = try await self.together(timeout: .seconds(5), steps.map(\.statement))
        for (step, rows) in zip(steps, found) { step.read(rows, &booking) }
        return booking
    }

    private func asking(_ question: SpendQuestion?, now: Timestamp) -> [BookingStep] {
        guard let question else { return [] }
        return [
            BookingStep(self.asking(question, includesHolds: false, now: now)) { rows, booking in
                booking.state = self.state(question, rows)
            }
        ]
    }

    /// Says of entries whose pool was not known which one pays.
    private func decided(_ entries: [SpendEntry], now: Timestamp, _ session: any SQLSession) throws -> [SpendEntry] {
        let groups = Set(entries.lazy.filter(\.isUndecided).flatMap(\.undecidedPools))
        guard !groups.isEmpty else { return entries }
        let state = try self.state(principals: [], groups: Array(groups), now: now, session)
        return entries.map { entry in
            guard entry.isUndecided else { return entry }
            var entry = entry
            entry.pool = state.payingPool(of: entry.undecidedPools)
            return entry
        }
    }

    private func inserting(_ entries: [SpendEntry], _ sql: String) -> SQLStatement {
        let rows = entries.map { entry -> JSONValue in
            guard case .object(var object) = entry.json else { return .null }
            object["day"] = .string(SpendPeriod.daily.key(at: entry.at))
            object["undecided_pools"] = nil
            for key in ["principal", "model", "upstream", "upstream_model", "billing_group", "pool"] {
                object[key] = object[key]?.string.map { .string(StoredNames.stored($0)) }
            }
            return .object(object)
        }
        return SQLStatement(sql, [JSONValue.array(rows).text()])
    }

    /// Ends the reservations of what is booked.
    private func settling(_ entries: [SpendEntry]) -> [BookingStep] {
        let settled = entries.compactMap(\.hold)
        return settled.isEmpty ? [] : [BookingStep(self.removingHolds(settled))]
    }

    /// Adds to all counters what new entries say.
    private func adding(_ entries: [SpendEntry], now: Timestamp) -> [BookingStep] {
        guard !entries.isEmpty else { return [] }
        var sums: [Pair: Money] = [:]
        var pools: [Pair: Money] = [:]
        var days: [DailyKey: DailySum] = [:]
        for entry in entries {
            for period in SpendPeriod.allCases {
                sums[Pair(entry.principal, period.key(at: entry.at)), default: .zero] += entry.amount
            }
            if let pool = entry.pool {
                pools[Pair(pool, SpendPeriod.monthly.key(at: entry.at)), default: .zero] += entry.amount
            }
            days[DailyKey(entry), default: DailySum()].add(entry)
        }
        var steps = [self.adding(sums, self.sql.addSpend, now: now) { $1.totals.spend = $0 }]
        if !pools.isEmpty {
            steps.append(self.adding(pools, self.sql.addPooled, now: now) { $1.totals.pools = $0 })
        }
        steps.append(self.adding(days))
        return steps
    }

    /// Adds to counters in one order, so that replicas that add at the same time never wait for each other in a circle.
    private func adding(
        _ sums: [Pair: Money], _ sql: String, now: Timestamp,
        _ tell: @escaping ([String: [String: Money]], inout SpendBooking) -> Void,
    ) -> BookingStep {
        let names = StoredNames(sums.keys.lazy.map(\.name))
        let rows = sums.sorted { ($0.key.name, $0.key.period) < ($1.key.name, $1.key.period) }.map { sum in
            JSONValue.object([
                "name": .string(StoredNames.stored(sum.key.name)), "period": .string(sum.key.period),
                "nanodollars": .string(String(sum.value.nanodollars)),
            ])
        }
        let statement = SQLStatement(sql, [JSONValue.array(rows).text(), String(now.milliseconds)])
        return BookingStep(statement) { after, booking in
            var totals: [String: [String: Money]] = [:]
            for row in after {
                guard let name = row[0], let period = row[1], let sum = row[2].flatMap({ Int64($0) }) else { continue }
                totals[names.original(name), default: [:]][period] = Money(nanodollars: sum)
            }
            tell(totals, &booking)
        }
    }

    private func adding(_ days: [DailyKey: DailySum]) -> BookingStep {
        let rows = days.sorted { $0.key < $1.key }.map { day in
            var object: JSONObject = [:]
            for (name, value) in zip(SpendSQL.dailyKeys, day.key.values) {
                object[name] = .string(StoredNames.stored(value))
            }
            for (name, value) in zip(SpendSQL.dailySums, day.value.values) { object[name] = .string(String(value)) }
            return JSONValue.object(object)
        }
        return BookingStep(SQLStatement(self.sql.addDays, [JSONValue.array(rows).text()]))
    }

    private func noting(_ sightings: [PrincipalSighting]) -> [BookingStep] {
        guard !sightings.isEmpty else { return [] }
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
        return [BookingStep(SQLStatement(self.sql.notePeople, [JSONValue.array(rows).text()])), self.noting(groups)]
    }

    /// The groups of a day are all that were seen on it.
    private func noting(_ groups: [Pair: Set<String>]) -> BookingStep {
        let rows = groups.sorted { ($0.key.period, $0.key.name) < ($1.key.period, $1.key.name) }.map { entry in
            JSONValue.object([
                "day": .string(entry.key.period), "principal": .string(StoredNames.stored(entry.key.name)),
                "groups": .string(JSONValue.texts(entry.value.map(StoredNames.stored).sorted())),
            ])
        }
        return BookingStep(SQLStatement(self.sql.noteGroups, [JSONValue.array(rows).text()]))
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

/// A part of a booking, and what becomes of what it finds.
private struct BookingStep {
    let statement: SQLStatement
    let read: (SQLRows, inout SpendBooking) -> Void

    init(_ statement: SQLStatement, _ read: @escaping (SQLRows, inout SpendBooking) -> Void = { _, _ in }) {
        self.statement = statement
        self.read = read
    }
}

extension SpendEntry {
    /// Whether it is not known yet which of its groups' pools pays.
    fileprivate var isUndecided: Bool { self.pool == nil && !self.undecidedPools.isEmpty }
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
    /// As `SpendSQL.dailySums` names them.
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
