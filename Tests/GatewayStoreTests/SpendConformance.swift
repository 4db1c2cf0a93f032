// SPDX-License-Identifier: Apache-2.0

import Foundation
import GatewayCore
import TestSupport
import Testing

@testable import GatewayStore

/// What every store must do with spend. The same checks run against SQLite and against a real PostgreSQL.
enum SpendConformance {
    typealias Store = any GatewayStore & SQLStore

    /// A store, and further connections to its database.
    struct Subject: Sendable {
        let store: Store
        let another: @Sendable () throws -> Store
    }

    /// Monday, 2026-11-23T05:24:39Z, of the week 48.
    static let now = Timestamp(seconds: 1_795_411_479)

    static func day(_ offset: Int64) -> Timestamp {
        Timestamp(milliseconds: self.now.milliseconds + offset * 86_400_000)
    }

    static func time(_ text: String) throws -> Timestamp { try #require(Timestamp(rfc3339: text)) }

    static func entry(
        _ principal: String, _ nanodollars: Int64, at: Timestamp = now, model: String = "m", upstream: String = "up",
        billingGroup: String? = nil, pool: String? = nil, undecided: [String] = [],
    ) -> SpendEntry {
        var entry = SpendEntry(
            at: at, principal: principal, requestID: "r-\(RandomToken.make().prefix(8))", model: model,
            upstream: upstream, upstreamModel: model + "-20260101", amount: Money(nanodollars: nanodollars))
        entry.id = TimeOrderedID.make(now: at)
        entry.billingGroup = billingGroup
        entry.pool = pool
        entry.undecidedPools = undecided
        entry.input = 1000
        entry.output = 50
        return entry
    }

    static func sighting(
        _ principal: String, groups: [String] = [], email: String? = nil, name: String? = nil, at: Timestamp = now,
    ) -> PrincipalSighting {
        PrincipalSighting(Principal(subject: principal, email: email, name: name, groups: groups), at: at)
    }

    static func limit(
        _ id: String, _ scope: SpendScope, _ period: SpendPeriod, _ amount: Int64?, pool: SpendLimit.Pool? = nil,
        at: Timestamp = now,
    ) -> SpendLimit {
        SpendLimit(id: id, scope: scope, period: period, amount: amount, pool: pool, createdAt: at, updatedAt: at)
    }

    @discardableResult
    static func put(_ limit: SpendLimit, in store: Store, now: Timestamp = now) async throws -> LimitChange {
        try await store.upsertLimit(limit.scope, limit.period, actor: "test", reason: nil, now: now) { _ in limit }
    }

    /// What a statement finds: rows, with a bar between columns.
    static func rows(_ store: Store, _ sql: String) async throws -> [String] {
        try await store.reading(timeout: .seconds(5)) { session in
            try session.rows(sql, []).map { row in row.map { $0 ?? "-" }.joined(separator: "|") }
        }
    }

    static func counters(_ store: Store) async throws -> [String] {
        try await self.rows(store, "SELECT principal, period, nanodollars FROM spend").sorted()
    }

    static func pooled(_ store: Store) async throws -> [String] {
        try await self.rows(store, "SELECT rbac_group_id, period, nanodollars FROM pooled_spend").sorted()
    }

    /// Equal whatever the order of keys: PostgreSQL has one of its own.
    static func sorted(_ value: JSONValue?) -> String? { value?.text(order: .canonical) }

    // MARK: Booking

    static func booking(_ subject: Subject) async throws {
        let store = subject.store
        let newYear = try self.time("2027-01-01T00:00:00.001Z")
        let lastNight = try self.time("2026-12-31T23:59:59.999Z")
        var third = self.entry("v", 5, at: lastNight, model: "n", billingGroup: "g", pool: "g")
        (third.cacheWrite5m, third.cacheWrite1h, third.cacheRead, third.webSearches, third.estimates) = (1, 2, 3, 4, 1)
        let entries = [
            self.entry("u", 10_500_000), self.entry("u", 10_500_000, at: self.day(1)), third,
            self.entry("v", 7, at: newYear, model: "n", billingGroup: "g", pool: "h"),
        ]
        let booking = try await store.book(entries, [], now: self.now)
        func money(_ sums: [String: Int64]) -> [String: Money] { sums.mapValues(Money.init(nanodollars:)) }
        #expect(
            booking.totals.spend == [
                "u": money([
                    "2026-11-23": 10_500_000, "2026-11-24": 10_500_000, "2026-W48": 21_000_000, "2026-11": 21_000_000,
                ]),
                // Both days are in week 53 of the old year.
                "v": money(["2026-12-31": 5, "2027-01-01": 7, "2026-W53": 12, "2026-12": 5, "2027-01": 7]),
            ])
        #expect(booking.totals.pools == ["g": money(["2026-12": 5]), "h": money(["2027-01": 7])])
        #expect(booking.state == nil)
        #expect(
            try await self.counters(store) == [
                "u|2026-11-23|10500000", "u|2026-11-24|10500000", "u|2026-11|21000000", "u|2026-W48|21000000",
                "v|2026-12-31|5", "v|2026-12|5", "v|2026-W53|12", "v|2027-01-01|7", "v|2027-01|7",
            ])
        #expect(try await self.pooled(store) == ["g|2026-12|5", "h|2027-01|7"])
        let cents = try await self.rows(store, "SELECT cents FROM spend WHERE period = '2026-W48'")
        #expect(cents.compactMap(Double.init) == [2.1], "the documented column is not what was spent")
        let ledger = try await self.rows(
            store,
            """
            SELECT at, day, principal, request_ids, requests, model, upstream, upstream_model, billing_group, pool,
                input, output, cache_write_5m, cache_write_1h, cache_read, web_searches, estimates, nanodollars
            FROM spend_ledger WHERE id = '\(third.id)'
            """)
        #expect(
            ledger == [
                "\(lastNight.milliseconds)|2026-12-31|v|\(third.requestIDs[0])|1|n|up|n-20260101|g|g"
                    + "|1000|50|1|2|3|4|1|5"
            ])
        let daily = """
            SELECT day, principal, model, upstream, billing_group, requests, input, output, cache_write_5m,
                cache_write_1h, cache_read, web_searches, nanodollars FROM spend_daily
            """
        #expect(
            try await self.rows(store, daily).sorted() == [
                "2026-11-23|u|m|up||1|1000|50|0|0|0|0|10500000", "2026-11-24|u|m|up||1|1000|50|0|0|0|0|10500000",
                "2026-12-31|v|n|up|g|1|1000|50|1|2|3|4|5", "2027-01-01|v|n|up|g|1|1000|50|0|0|0|0|7",
            ])
        // The totals of a second booking are those of the counters, not of the booking.
        let second = try await store.book([self.entry("u", 1)], [], now: self.now)
        #expect(
            second.totals.spend["u"]
                == money(["2026-11-23": 10_500_001, "2026-W48": 21_000_001, "2026-11": 21_000_001]))
        #expect(try await self.rows(store, daily).contains("2026-11-23|u|m|up||2|2000|100|0|0|0|0|10500001"))
        let nothing = try await store.book([], [], now: self.now)
        #expect(nothing.totals.isEmpty)
    }

    static func repetition(_ subject: Subject) async throws {
        let store = subject.store
        func book(_ entries: [SpendEntry], mayRepeat: Bool, now: Timestamp = now) async throws -> SpendTotals {
            let seen = entries.map { self.sighting($0.principal) }
            return try await store.book(entries, seen, asking: nil, mayRepeat: mayRepeat, now: now).totals
        }
        let entries = (1...5).map { self.entry("u\($0 % 2)", Int64($0), pool: "g") }
        _ = try await book(entries, mayRepeat: false)
        let (counters, pooled) = (try await self.counters(store), try await self.pooled(store))
        #expect(pooled == ["g|2026-11|15"])
        for mayRepeat in [false, true] {
            let again = try await book(entries, mayRepeat: mayRepeat, now: self.day(3))
            #expect(again.isEmpty, "what was booked already has changed counters")
            _ = try await book(Array(entries.shuffled().prefix(3)), mayRepeat: mayRepeat)
            #expect(try await self.counters(store) == counters)
        }
        // New ones among old ones count.
        for (mayRepeat, sum) in [(false, 115), (true, 215)] {
            let mixed = try await book(
                [entries[4], self.entry("u1", 100, pool: "g"), entries[0]], mayRepeat: mayRepeat)
            #expect(mixed.spend.keys.sorted() == ["u1"])
            #expect(try await self.pooled(store) == ["g|2026-11|\(sum)"])
        }
        #expect(try await self.rows(store, "SELECT count(*) FROM spend_ledger") == ["7"])
        #expect(
            try await self.rows(store, "SELECT sum(requests), sum(nanodollars) FROM spend_daily") == ["7|215"])
    }

    /// The journal holds an entry twice when a slow write has failed in the end.
    static func repetitionInOneBatch(_ subject: Subject) async throws {
        let store = subject.store
        let twice = self.entry("u", 50, pool: "g")
        _ = try await store.book([twice, self.entry("u", 3), twice], [], now: self.now)
        #expect(try await self.rows(store, "SELECT count(*), sum(nanodollars) FROM spend_ledger") == ["2|53"])
        #expect(try await self.counters(store) == ["u|2026-11-23|53", "u|2026-11|53", "u|2026-W48|53"])
        #expect(try await self.pooled(store) == ["g|2026-11|50"])
        #expect(
            try await self.rows(store, "SELECT sum(requests), sum(nanodollars) FROM spend_daily") == ["2|53"])
    }

    static func merged(_ subject: Subject) async throws {
        let store = subject.store
        var sum = self.entry("u", 10)
        for _ in 1..<100 { sum.merge(self.entry("u", 10)) }
        _ = try await store.book([sum], [], now: self.now)
        #expect(try await self.counters(store) == ["u|2026-11-23|1000", "u|2026-11|1000", "u|2026-W48|1000"])
        #expect(
            try await self.rows(store, "SELECT requests, input, output, nanodollars FROM spend_ledger") == [
                "100|100000|5000|1000"
            ])
        #expect(
            try await self.rows(store, "SELECT request_ids FROM spend_ledger")
                == [sum.requestIDs.joined(separator: " ")])
        #expect(
            try await self.rows(store, "SELECT requests, input, output, nanodollars FROM spend_daily") == [
                "100|100000|5000|1000"
            ])
        let report = try await store.report(
            SpendReportQuery(from: try self.time("2026-11-23"), to: try self.time("2026-11-24")))
        #expect(report.map(\.requests) == [100])
    }

    static func question(_ subject: Subject) async throws {
        let store = subject.store
        let pool = SpendLimit.Pool(amount: 500, isPaused: false)
        try await self.put(self.limit("l1", .group("g"), .monthly, 100, pool: pool), in: store)
        try await self.put(self.limit("l2", .user("v"), .daily, nil), in: store)
        try await self.put(self.limit("l3", .organization, .weekly, 9), in: store)
        try await self.put(self.limit("l4", .user("w"), .weekly, 9), in: store)
        _ = try await store.book([self.entry("w", 1), self.entry("v", 6, at: self.day(-1))], [], now: self.now)
        let booking = try await store.book(
            [self.entry("u", 5, pool: "g"), self.entry("v", 7)], [],
            asking: SpendQuestion(principals: ["u", "v"], groups: ["g"]),
            now: self.now)
        let state = try #require(booking.state)
        #expect(state.spend["u"]?.values.map(\.nanodollars) == [5, 5, 5])
        #expect(state.spend["v"]?["2026-11"] == Money(nanodollars: 13))
        #expect(state.spend["v"]?["2026-11-22"] == nil, "yesterday's counter was read")
        #expect(state.spend["w"] == nil)
        #expect(state.pools == ["g": Money(nanodollars: 5)])
        #expect(state.limits.map(\.id).sorted() == ["l1", "l2", "l3"])
        let asked = try await store.spendState(principals: ["u", "v"], groups: ["g"], now: self.now)
        #expect(asked.spend == state.spend)
        #expect(asked.pools == state.pools)
        let byID = { (left: SpendLimit, right: SpendLimit) in left.id < right.id }
        #expect(asked.limits.sorted(by: byID) == state.limits.sorted(by: byID))
        // A question without anything to book is answered too.
        let nobody = try await store.spendState(principals: [], groups: [], now: self.now)
        #expect(nobody.limits.map(\.id) == ["l3"])
        #expect(nobody.spend.isEmpty && nobody.pools.isEmpty)
        let nextMonth = try await store.spendState(principals: ["u"], groups: ["g"], now: self.day(30))
        #expect(nextMonth.spend.isEmpty && nextMonth.pools.isEmpty)
    }

    static func undecidedPools(_ subject: Subject) async throws {
        let store = subject.store
        func pool(_ name: String, _ amount: Int64, isPaused: Bool = false) async throws {
            try await self.put(
                self.limit("l-\(name)", .group(name), .monthly, nil, pool: .init(amount: amount, isPaused: isPaused)),
                in: store)
        }
        try await pool("a", 10)
        try await pool("b", 30)
        try await pool("c", 30)
        try await pool("p", 99, isPaused: true)
        let cent = Money.perCent
        func pay(_ groups: [String], _ amount: Int64) async throws -> [String] {
            let totals = try await store.book([self.entry("u", amount, undecided: groups)], [], now: self.now).totals
            return totals.pools.keys.sorted()
        }
        #expect(try await pay(["n", "p", "a", "c", "b"], 29 * cent) == ["b"], "not the largest, the first by name")
        #expect(try await pay(["a", "c", "b"], 29 * cent) == ["b"], "what is not exhausted pays all of it")
        #expect(try await pay(["a", "c", "b"], 30 * cent) == ["c"])
        #expect(try await pay(["a", "c", "b"], 10 * cent) == ["a"])
        #expect(try await pay(["a", "c", "b"], 1) == ["b"], "of exhausted ones the largest pays")
        #expect(try await pay(["p", "n"], 1) == [])
        // Who has decided keeps the decision.
        var decided = self.entry("u", 1, pool: "z", undecided: ["a"])
        decided.id = TimeOrderedID.make()
        #expect(try await store.book([decided], [], now: self.now).totals.pools.keys.sorted() == ["z"])
        #expect(
            try await self.pooled(store) == [
                "a|2026-11|\(10 * cent)", "b|2026-11|\(58 * cent + 1)", "c|2026-11|\(30 * cent)", "z|2026-11|1",
            ])
        let paid = try await self.rows(store, "SELECT pool, sum(nanodollars) FROM spend_ledger GROUP BY pool")
        #expect(paid.contains("b|\(58 * cent + 1)"), "the ledger does not say which pool has paid")
    }

    /// A name with U+0000, which PostgreSQL cannot hold, is one of many: the others and their limits must not suffer.
    static func nullCharacters(_ subject: Subject) async throws {
        let store = subject.store
        let bad = "a\0b"
        var entry = self.entry(bad, 5, model: "m\0", upstream: "up\0", billingGroup: "\0g", pool: "p\0")
        entry.upstreamModel = "\0"
        _ = try await store.book([entry, self.entry("u", 7)], [], now: self.now)
        #expect(
            try await self.rows(store, "SELECT sum(requests), sum(nanodollars) FROM spend_daily") == ["2|12"])
        #expect(try await self.counters(store).contains("u|2026-11|7"))
        #expect(try await self.counters(store).contains("a\u{FFFD}b|2026-11|5"))
        _ = try await store.book([entry], [], now: self.now)
        #expect(try await self.rows(store, "SELECT count(*) FROM spend_ledger") == ["2"])
    }

    static func nullCharactersOfIdentities(_ subject: Subject) async throws {
        let store = subject.store
        let sighting = self.sighting("a\0b", groups: ["g\0", "h"], email: "e\0@x", name: "\0")
        try await store.book([self.entry("u", 7)], [sighting, self.sighting("u", groups: ["h"])], now: self.now)
        #expect(try await store.identities(["u"])["u"]?.groups == ["h"])
        #expect(try await self.counters(store).contains("u|2026-11|7"))
    }

    static func nullCharactersOfCallers(_ subject: Subject) async throws {
        let store = subject.store
        try await self.put(self.limit("l1", .organization, .monthly, 9), in: store)
        _ = try await store.book([self.entry("a\0b", 5)], [], now: self.now)
        let state = try await store.spendState(principals: ["a\0b", "u"], groups: ["g\0", "h"], now: self.now)
        #expect(state.limits.map(\.id) == ["l1"])
        #expect(
            state.spend(of: "a\0b", .monthly, at: self.now) == Money(nanodollars: 5),
            "what such a developer spends is not held against the limits")
    }

    /// Names are as long as an identity provider or an operator makes them; an index of PostgreSQL holds 2,700 bytes.
    static func longNames(_ subject: Subject) async throws {
        let store = subject.store
        func name() -> String { (0..<100).map { _ in RandomToken.make() }.joined() }
        let (principal, group) = (name(), name())
        let entry = self.entry(principal, 5, model: name(), upstream: name(), billingGroup: group, pool: group)
        let sighting = self.sighting(principal, groups: [group], email: name(), name: name())
        _ = try await store.book([entry], [sighting], now: self.now)
        let state = try await store.spendState(principals: [principal], groups: [group], now: self.now)
        #expect(state.spend(of: principal, .monthly, at: self.now) == Money(nanodollars: 5))
        #expect(state.pools == [group: Money(nanodollars: 5)])
    }

    /// A name that is stored in another form is still the same name to all who ask.
    static func changedNames(_ subject: Subject) async throws {
        let store = subject.store
        for name in [String(repeating: "é", count: 400), "a\0b"] {
            let group = "g" + name
            try await store.book(
                [self.entry(name, 5)], [self.sighting(name, groups: [group], email: "u@x")], now: self.now)

            let totals = try await store.book([self.entry(name, 2)], [], now: self.now).totals
            #expect(totals.spend[name]?["2026-11"] == Money(nanodollars: 7), "guards are told of somebody else")
            #expect(try await store.identities([name])[name]?.email == "u@x")
            var query = SpendReportQuery(from: try self.time("2026-11-23"), to: try self.time("2026-11-24"))
            query.principals = [name]
            #expect(try await store.report(query).map(\.amount.nanodollars) == [7])
            query.principals = []
            query.groups = [group]
            #expect(try await store.report(query).map(\.amount.nanodollars) == [7])
            guard !name.utf8.contains(0) else { continue }
            // An administrator can only write the name as it is.
            let pool = SpendLimit.Pool(amount: 100, isPaused: false)
            let limit = self.limit("l", .group(group), .monthly, 5, pool: pool)
            #expect(try await self.put(limit, in: store).after?.poolSpend == Money(nanodollars: 7))
            _ = try await store.book([self.entry(name, 1, pool: group)], [], now: self.now)
            #expect(try await store.limit(id: "l", now: self.now)?.poolSpend == Money(nanodollars: 8))
            let state = try await store.spendState(principals: [name], groups: [group], now: self.now)
            #expect(state.pools == [group: Money(nanodollars: 8)])
        }
    }

    static func extremes(_ subject: Subject) async throws {
        let store = subject.store
        // No configured price reaches that; what does must block and not wrap, fail or vanish.
        for _ in 0..<2 {
            _ = try await store.book([self.entry("u", .max - 5, pool: "g")], [], now: self.now)
            let state = try await store.spendState(principals: ["u"], groups: ["g"], now: self.now)
            #expect(state.spend(of: "u", .monthly, at: self.now).nanodollars >= .max - 5)
            #expect((state.pools["g"] ?? .zero).nanodollars >= .max - 5)
        }
    }

    static func manyAtOnce(_ subject: Subject) async throws {
        let store = subject.store
        let entries = (0..<1000).map {
            self.entry("u\($0 % 50)", Int64($0), at: self.day(Int64($0 % 3)), model: "m\($0 % 7)")
        }
        _ = try await store.book(entries, [], now: self.now)
        let total = Int64((0..<1000).reduce(0, +))
        for table in ["spend_ledger", "spend_daily"] {
            #expect(
                try await self.rows(store, "SELECT sum(requests), sum(nanodollars) FROM \(table)") == ["1000|\(total)"])
        }
        #expect(
            try await self.rows(store, "SELECT sum(nanodollars) FROM spend WHERE period = '2026-11'") == ["\(total)"])
    }

    /// Several replicas book the same developers, in batches of their own order.
    static func concurrentBookings(_ subject: Subject) async throws {
        let stores = [subject.store] + (try (0..<3).map { _ in try subject.another() })
        let names = (0..<8).map { "u\($0)" }
        let batches = (0..<20).map { batch in
            names.shuffled().enumerated().map { index, name in
                self.entry(name, Int64(batch * 100 + index + 1), pool: index % 2 == 0 ? "g" : "h")
            }
        }
        try await withThrowingTaskGroup(of: Void.self) { group in
            for (index, batch) in batches.enumerated() {
                group.addTask {
                    let sightings = names.shuffled().map { self.sighting($0, groups: ["g\(index)"]) }
                    try await stores[index % stores.count].book(batch, sightings, now: self.now)
                }
            }
            try await group.waitForAll()
        }
        var expected: [String: Int64] = [:]
        for entry in batches.joined() { expected[entry.principal, default: 0] += entry.amount.nanodollars }
        let state = try await subject.store.spendState(principals: names, groups: ["g", "h"], now: self.now)
        for period in SpendPeriod.allCases {
            for name in names {
                #expect(state.spend(of: name, period, at: self.now).nanodollars == expected[name])
            }
        }
        let sum = expected.values.reduce(0, +)
        #expect(state.pools.values.reduce(Money.zero, +).nanodollars == sum)
        #expect(
            try await self.rows(subject.store, "SELECT sum(requests), sum(nanodollars) FROM spend_daily") == [
                "160|\(sum)"
            ])
        let groups = try await self.rows(subject.store, "SELECT groups FROM principal_groups WHERE principal = 'u0'")
        let seen = try JSONValue(parsing: groups[0]).array?.compactMap(\.string) ?? []
        #expect(Set(seen) == Set((0..<20).map { "g\($0)" }) && seen.count == 20)
        for store in stores.dropFirst() { await store.close() }
    }

    /// A journal is replayed while the write that was taken for lost goes through.
    static func concurrentRepetition(_ subject: Subject) async throws {
        let stores = [subject.store] + (try (0..<3).map { _ in try subject.another() })
        let entries = (0..<40).map { self.entry("u\($0 % 5)", Int64($0 + 1)) }
        try await withThrowingTaskGroup(of: Void.self) { group in
            for store in stores {
                group.addTask {
                    for _ in 0..<5 {
                        // A deadlock is answered by handing the entries in again, as the ledger does.
                        do {
                            try await store.book(entries, [], now: self.now)
                        } catch StoreError.refused(let state, _) where state == "40P01" {
                            continue
                        }
                    }
                }
            }
            try await group.waitForAll()
        }
        #expect(
            try await self.rows(subject.store, "SELECT sum(nanodollars) FROM spend WHERE period = '2026-11'") == [
                "820"
            ])
        #expect(
            try await self.rows(subject.store, "SELECT sum(requests), sum(nanodollars) FROM spend_daily") == ["40|820"])
        for store in stores.dropFirst() { await store.close() }
    }

    static func ledgerName(_ subject: Subject) async throws {
        let stores = [subject.store] + (try (0..<3).map { _ in try subject.another() })
        let names = try await withThrowingTaskGroup(of: String.self) { group in
            for store in stores { group.addTask { try await store.ledgerName() } }
            return try await group.reduce(into: Set<String>()) { $0.insert($1) }
        }
        #expect(names.count == 1)
        #expect((names.first ?? "").count > 16)
        try await subject.store.sweep(now: self.day(10_000))
        #expect(names == [try await subject.store.ledgerName()])
        for store in stores.dropFirst() { await store.close() }
    }

    // MARK: Limits

    static func limitChanges(_ subject: Subject) async throws {
        let store = subject.store
        let first = self.limit("spl_1", .group("eng"), .monthly, 300)
        let created = try await store.upsertLimit(
            first.scope, .monthly, actor: "admin-key:tf", reason: "é\"'\n", now: self.now
        ) { stored in
            #expect(stored == nil)
            return first
        }
        #expect(created.before == nil)
        #expect(created.after == first)
        var second = first
        second.amount = nil
        second.pool = SpendLimit.Pool(amount: 5000, isPaused: false)
        second.updatedAt = self.day(1)
        let changed = try await store.upsertLimit(
            first.scope, .monthly, actor: "oidc:u", reason: nil, now: self.day(1)
        ) { [second] stored in
            #expect(stored == first, "the stored limit was not handed over")
            return second
        }
        #expect(changed.before == first)
        second.poolSpend = .zero
        #expect(changed.after == second)
        #expect(try await store.limit(id: "spl_1", now: self.now) == second)
        // Another period of the same scope is another limit; the id and the creation of a replaced one stay.
        try await self.put(self.limit("spl_2", .group("eng"), .daily, 0), in: store)
        let replaced = try await self.put(self.limit("spl_other", .group("eng"), .daily, 1, at: self.day(2)), in: store)
        #expect(replaced.after?.id == "spl_2")
        #expect(replaced.after?.createdAt == self.now)
        #expect(replaced.after?.updatedAt == self.day(2))
        #expect(try await store.limit(id: "spl_other", now: self.now) == nil)

        struct Refused: Error {}
        await #expect(throws: Refused.self) {
            try await store.upsertLimit(first.scope, .monthly, actor: "x", reason: nil, now: self.now) { _ in
                throw Refused()
            }
        }
        #expect(try await store.limit(id: "spl_1", now: self.now) == second, "a refused change was made")

        let deleted = try await store.deleteLimit(id: "spl_1", actor: "admin-key:tf", reason: "gone", now: self.day(3))
        #expect(deleted?.id == "spl_1")
        #expect(deleted?.pool == second.pool)
        #expect(try await store.limit(id: "spl_1", now: self.now) == nil)
        #expect(try await store.deleteLimit(id: "spl_1", actor: "x", reason: nil, now: self.day(3)) == nil)

        let rows = try await store.auditRows(AuditQuery()).rows
        #expect(rows.map(\.action) == ["spend_limit.delete"] + Array(repeating: "spend_limit.upsert", count: 4))
        #expect(rows.map(\.actor) == ["admin-key:tf", "test", "test", "oidc:u", "admin-key:tf"])
        #expect(rows.map(\.target) == ["spl_1", "spl_2", "spl_2", "spl_1", "spl_1"])
        #expect(rows.map(\.reason) == ["gone", nil, nil, nil, "é\"'\n"])
        #expect(rows.map(\.at) == [self.day(3), self.now, self.now, self.day(1), self.now])
        #expect(self.sorted(rows[4].before) == nil)
        #expect(self.sorted(rows[4].after) == self.sorted(first.auditJSON))
        #expect(self.sorted(rows[3].before) == self.sorted(first.auditJSON))
        #expect(self.sorted(rows[3].after) == self.sorted(second.auditJSON))
        #expect(
            self.sorted(rows[3].after)
                == #"{"amount":null,"created_at":"2026-11-23T05:24:39.000Z","currency":"USD","id":"spl_1","#
                + #""period":"monthly","pooled_budget":{"amount":"5000","paused":false},"#
                + #""scope":{"rbac_group_id":"eng","type":"rbac_group"},"updated_at":"2026-11-24T05:24:39.000Z"}"#)
        #expect(self.sorted(rows[0].before) == self.sorted(second.auditJSON))
        #expect(rows[0].after == nil)
    }

    static func limitValues(_ subject: Subject) async throws {
        let store = subject.store
        let name = "é \"'\n%_" + String(repeating: "x", count: 500)
        let limits = [
            self.limit("l1", .organization, .daily, 0), self.limit("l2", .organization, .weekly, nil),
            self.limit("l3", .user(name), .monthly, 999_999_999_999_999_999),
            self.limit("l4", .group("g"), .monthly, 5, pool: .init(amount: 0, isPaused: false)),
            self.limit("l5", .group("h"), .monthly, nil, pool: .init(amount: 999_999_999_999_999_999, isPaused: true)),
        ]
        for limit in limits {
            var stored = limit
            if limit.pool != nil { stored.poolSpend = .zero }
            #expect(try await self.put(limit, in: store).after == stored)
            #expect(try await store.limit(id: limit.id, now: self.now) == stored)
        }
        let state = try await store.spendState(principals: [name], groups: ["g", "h"], now: self.now)
        let found = state.limits.sorted { $0.id < $1.id }
        #expect(found.map(\.scope) == limits.map(\.scope))
        #expect(found.map(\.amount) == limits.map(\.amount))
        #expect(found.map(\.pool) == limits.map(\.pool))
        #expect(found.map(\.createdAt) == limits.map(\.createdAt))
    }

    static func limitPages(_ subject: Subject) async throws {
        let store = subject.store
        // Created in this order, although the times say otherwise.
        let limits = (0..<7).map { index in
            self.limit(
                "l\((index * 3) % 7)", index < 3 ? .user("u\(index)") : .group("g\(index)"),
                SpendPeriod.allCases[index % 3], 1, at: self.day(Int64(-index)))
        }
        for limit in limits { try await self.put(limit, in: store) }
        // A replaced limit keeps its place.
        try await self.put(limits[2], in: store)
        let ids = limits.map(\.id)
        func page(_ change: (inout LimitQuery) -> Void) async throws -> (ids: [String], hasMore: Bool)? {
            var query = LimitQuery()
            change(&query)
            return try await store.limits(query, now: self.now).map { ($0.limits.map(\.id), $0.hasMore) }
        }
        func expect(
            _ found: (ids: [String], hasMore: Bool)?, _ wanted: ArraySlice<String>, _ hasMore: Bool,
            at location: SourceLocation = #_sourceLocation,
        ) {
            #expect(found?.ids == Array(wanted), sourceLocation: location)
            #expect(found?.hasMore == hasMore, sourceLocation: location)
        }
        expect(try await page { _ in }, ids[...], false)
        expect(try await page { $0.limit = 3 }, ids[..<3], true)
        expect(try await page { $0.limit = 7 }, ids[...], false)
        expect(try await page { ($0.limit, $0.cursor) = (3, .after(ids[2])) }, ids[3..<6], true)
        expect(try await page { ($0.limit, $0.cursor) = (3, .after(ids[5])) }, ids[6...], false)
        expect(try await page { $0.cursor = .after(ids[6]) }, [], false)
        expect(try await page { ($0.limit, $0.cursor) = (3, .before(ids[6])) }, ids[3..<6], true)
        expect(try await page { ($0.limit, $0.cursor) = (3, .before(ids[3])) }, ids[..<3], false)
        expect(try await page { $0.cursor = .before(ids[0]) }, [], false)
        #expect(try await page { $0.cursor = .after("none") } == nil)
        #expect(try await page { $0.cursor = .before("") } == nil)
        expect(try await page { $0.scopeType = "user" }, ids[..<3], false)
        expect(try await page { ($0.scopeType, $0.limit) = ("rbac_group", 2) }, ids[3..<5], true)
        expect(try await page { $0.scopeType = "organization" }, [], false)
        expect(try await page { $0.scopeID = "g4" }, ids[4..<5], false)
        expect(try await page { $0.period = .daily }, [ids[0], ids[3], ids[6]], false)
        expect(
            try await page { ($0.period, $0.scopeType, $0.cursor) = (.daily, "rbac_group", .after(ids[0])) },
            [ids[3], ids[6]], false)
    }

    static func concurrentLimits(_ subject: Subject) async throws {
        let stores = [subject.store] + (try (0..<3).map { _ in try subject.another() })
        let ids = try await withThrowingTaskGroup(of: String.self) { group in
            for index in 0..<20 {
                group.addTask {
                    let change = try await stores[index % stores.count].upsertLimit(
                        .user("u"), .daily, actor: "a\(index)", reason: nil, now: self.now
                    ) { stored in
                        var limit = stored ?? self.limit("spl_\(index)", .user("u"), .daily, 0)
                        limit.amount = (limit.amount ?? 0) + 1
                        return limit
                    }
                    return change.after?.id ?? ""
                }
            }
            return try await group.reduce(into: Set<String>()) { $0.insert($1) }
        }
        #expect(ids.count == 1)
        #expect(try await subject.store.limit(id: ids.first ?? "", now: self.now)?.amount == 20, "a change was lost")
        let rows = try await subject.store.auditRows(AuditQuery()).rows
        #expect(rows.count == 20)
        #expect(rows.filter { $0.before == nil }.count == 1)
        for store in stores.dropFirst() { await store.close() }
    }

    static func auditPages(_ subject: Subject) async throws {
        let store = subject.store
        for index in 0..<6 {
            _ = try await store.upsertLimit(
                .user("u\(index % 2)"), .daily, actor: "a\(index % 3)", reason: nil, now: self.day(Int64(-index))
            ) { $0 ?? self.limit("l\(index % 2)", .user("u\(index % 2)"), .daily, 1) }
        }
        _ = try await store.deleteLimit(id: "l0", actor: "a0", reason: nil, now: self.now)
        func page(_ change: (inout AuditQuery) -> Void) async throws -> (rows: [AdminAuditRow], hasMore: Bool) {
            var query = AuditQuery()
            change(&query)
            return try await store.auditRows(query)
        }
        let all = try await page { _ in }
        #expect(all.rows.count == 7 && !all.hasMore)
        #expect(all.rows.map(\.id) == all.rows.map(\.id).sorted(by: >))
        #expect(all.rows.first?.action == "spend_limit.delete")
        let first = try await page { $0.limit = 3 }
        #expect(first.rows == Array(all.rows[..<3]) && first.hasMore)
        let second = try await page { ($0.limit, $0.afterID) = (4, first.rows[2].id) }
        #expect(second.rows == Array(all.rows[3...]) && !second.hasMore)
        #expect(try await page { $0.afterID = all.rows[6].id }.rows.isEmpty)
        #expect(try await page { $0.afterID = 0 }.rows.isEmpty)
        #expect(try await page { $0.actor = "a1" }.rows.map(\.actor) == ["a1", "a1"])
        #expect(try await page { $0.action = "spend_limit.delete" }.rows.map(\.target) == ["l0"])
        #expect(try await page { ($0.target, $0.actor) = ("l0", "a0") }.rows.count == 2)
        #expect(try await page { ($0.target, $0.limit) = ("l1", 2) }.hasMore)
        #expect(try await page { $0.actor = "nobody" }.rows.isEmpty)
    }

    // MARK: Pools

    static func backfill(_ subject: Subject) async throws {
        let store = subject.store
        let first = try self.time("2026-11-01T00:00:00Z")
        let lastMonth = Timestamp(milliseconds: first.milliseconds - 1)
        try await store.book(
            [
                self.entry("u", 1, at: lastMonth), self.entry("u", 2, at: first), self.entry("u", 4),
                // In the group on no day, or not on that day.
                self.entry("x", 8), self.entry("u", 16, at: self.day(-5)),
                // By its tag, whoever the developer is, and not against it.
                self.entry("x", 32, billingGroup: "g"), self.entry("u", 64, billingGroup: "h"),
                // Another pool has paid.
                self.entry("u", 128, pool: "h"), self.entry("v", 256, at: self.day(-2)),
            ],
            [
                self.sighting("u", groups: ["g", "h"], at: lastMonth),
                self.sighting("u", groups: ["g", "h"], at: first),
                self.sighting("u", groups: ["g"]), self.sighting("u", groups: ["G", "gg"], at: self.day(-5)),
                self.sighting("v", groups: ["é", "g"], at: self.day(-2)),
            ], now: self.now)
        let pool = SpendLimit.Pool(amount: 100, isPaused: false)
        let created = try await self.put(self.limit("l", .group("g"), .monthly, 5, pool: pool), in: store)
        #expect(created.after?.poolSpend == Money(nanodollars: 2 + 4 + 32 + 256))
        #expect(try await store.limit(id: "l", now: self.now)?.poolSpend == Money(nanodollars: 294))
        #expect(try await store.limit(id: "l", now: self.day(30))?.poolSpend == .zero, "next month")
        var query = LimitQuery()
        query.scopeType = "rbac_group"
        #expect(try await store.limits(query, now: self.now)?.limits.map(\.poolSpend) == [Money(nanodollars: 294)])
        #expect(
            try await store.spendState(principals: [], groups: ["g"], now: self.now).pools
                == ["g": Money(nanodollars: 294)])
        // What follows adds up, and the past is not counted again.
        _ = try await store.book([self.entry("u", 1000, pool: "g")], [], now: self.now)
        #expect(
            try await self.put(self.limit("l", .group("g"), .monthly, 6, pool: pool), in: store).after?.poolSpend
                == Money(nanodollars: 1294))
        _ = try await store.deleteLimit(id: "l", actor: "test", reason: nil, now: self.now)
        let again = try await self.put(self.limit("l2", .group("g"), .monthly, 6, pool: pool), in: store)
        #expect(again.after?.poolSpend == Money(nanodollars: 1294), "re-creating the limit changed the counter")
        #expect(try await self.pooled(store).contains("g|2026-11|1294"))
    }

    static func backfillOfNobody(_ subject: Subject) async throws {
        let store = subject.store
        _ = try await store.book([self.entry("u", 5)], [self.sighting("u", groups: ["h"])], now: self.now)
        let pool = SpendLimit.Pool(amount: 100, isPaused: false)
        #expect(
            try await self.put(self.limit("l", .group("g"), .monthly, 5, pool: pool), in: store).after?.poolSpend
                == .zero)
        // A limit that has no pool at first.
        try await self.put(self.limit("m", .group("h"), .monthly, 5), in: store)
        #expect(try await self.pooled(store) == [])
        let change = try await self.put(self.limit("m", .group("h"), .monthly, 5, pool: pool), in: store)
        #expect(change.after?.poolSpend == Money(nanodollars: 5))
        // The other limits of a group have no pool.
        let daily = try await self.put(self.limit("n", .group("h"), .daily, 5), in: store)
        #expect(daily.after?.poolSpend == nil)
    }

    // MARK: Principals

    static func principals(_ subject: Subject) async throws {
        let store = subject.store
        // In the order of their bytes.
        let names = ["A%b", "B", "a_b", "ab", "b", "é", "😀"]
        try await store.book(
            names.enumerated().map { self.entry($1, Int64($0 + 1)) } + [self.entry("ab", 1, at: self.day(-90))],
            [
                self.sighting("B", groups: ["g", "h"], email: "Ann@Example.com", name: "Ann Ä"),
                self.sighting("ab", groups: ["h"], email: "bob@example.com", name: "100% Bob"),
                self.sighting("seen only", groups: ["g"], email: "c@example.com"),
            ], now: self.now)
        func find(_ change: (inout PrincipalQuery) -> Void = { _ in }) async throws -> [String] {
            var query = PrincipalQuery()
            change(&query)
            return try await store.principals(query)
        }
        #expect(try await find() == names)
        #expect(try await find { $0.limit = 2 } == ["A%b", "B"])
        #expect(try await find { ($0.limit, $0.after) = (2, "B") } == ["a_b", "ab"])
        #expect(try await find { $0.after = "b" } == ["é", "😀"])
        #expect(try await find { $0.after = "😀" } == [])
        #expect(try await find { $0.search = "b" } == ["A%b", "B", "a_b", "ab", "b"])
        #expect(try await find { $0.search = "%" } == ["A%b", "ab"])
        #expect(try await find { $0.search = "_" } == ["a_b"])
        #expect(try await find { $0.search = "ann@" } == ["B"])
        #expect(try await find { $0.search = "bob" } == ["ab"])
        #expect(try await find { $0.search = "h" } == [], "groups were searched")
        #expect(try await find { $0.search = "nobody" } == [])
        #expect(try await find { $0.group = "h" } == ["B", "ab"])
        #expect(try await find { ($0.group, $0.search, $0.after) = ("h", "example.com", "B") } == ["ab"])
        #expect(try await find { $0.group = "H" } == [])
    }

    static func principalsBySpend(_ subject: Subject) async throws {
        let store = subject.store
        let amounts: [(String, Int64)] = [("a", 5), ("b", 9), ("B", 5), ("é", 5), ("c", 0), ("d", 7)]
        try await store.book(
            amounts.map { self.entry($0, $1) } + [self.entry("old", 99, at: self.day(-60))],
            [self.sighting("B", groups: ["g"], email: "x@y"), self.sighting("d", groups: ["g"])], now: self.now)
        func find(
            _ period: String = "2026-11", _ change: (inout PrincipalQuery) -> Void = { _ in },
        ) async throws -> [String] {
            var query = PrincipalQuery()
            change(&query)
            return try await store.principalsBySpend(query, periodKey: period).map { "\($0) \($1.nanodollars)" }
        }
        let all = ["b 9", "d 7", "B 5", "a 5", "é 5", "c 0"]
        for period in ["2026-11-23", "2026-W48", "2026-11"] { #expect(try await find(period) == all) }
        #expect(try await find("2026-11-24") == [])
        #expect(try await find { $0.limit = 3 } == Array(all[..<3]))
        // Pages that end between equal ones.
        var (pages, last): ([String], (String, Int64)?) = ([], nil)
        while pages.count < 10 {
            let page = try await find { query in
                query.limit = 1
                if let last { (query.after, query.afterSpend) = (last.0, Money(nanodollars: last.1)) }
            }
            guard let row = page.first?.split(separator: " "), row.count == 2 else { break }
            pages += page
            last = (String(row[0]), Int64(row[1]) ?? 0)
        }
        #expect(pages == all)
        #expect(try await find { $0.group = "g" } == ["d 7", "B 5"])
        #expect(try await find { $0.search = "x@" } == ["B 5"])
    }

    static func identities(_ subject: Subject) async throws {
        let store = subject.store
        try await store.book(
            [],
            [
                self.sighting("u", groups: ["a", "b"], email: "u@x", name: "U"),
                self.sighting("v", groups: ["é\"'\\"]),
            ], now: self.now)
        #expect(
            try await store.identities(["u", "v", "none"]) == [
                "u": PrincipalIdentity(email: "u@x", name: "U", groups: ["a", "b"]),
                "v": PrincipalIdentity(groups: ["é\"'\\"]),
            ])
        #expect(try await store.identities([]) == [:])
        // What a later token does not say stays, but groups, of which it names all.
        try await store.book(
            [], [self.sighting("u", name: "New", at: self.day(1)), self.sighting("v", email: "v@x")], now: self.now)
        #expect(
            try await store.identities(["u", "v"]) == [
                "u": PrincipalIdentity(email: "u@x", name: "New"), "v": PrincipalIdentity(email: "v@x"),
            ])
        // Of several at once the last one counts, in whatever order they come.
        try await store.book(
            [],
            [
                self.sighting("w", groups: ["2"], email: "2@x", at: self.day(2)),
                self.sighting("w", groups: ["1"], email: "1@x", at: self.day(1)),
            ], now: self.now)
        #expect(try await store.identities(["w"])["w"] == PrincipalIdentity(email: "2@x", groups: ["2"]))
    }

    static func groupsOfADay(_ subject: Subject) async throws {
        let store = subject.store
        func groups() async throws -> [String] {
            try await store.reading(timeout: .seconds(5)) { session in
                try session.rows("SELECT day, principal, groups FROM principal_groups ORDER BY day, principal", []).map
                {
                    let groups = try JSONValue(parsing: $0[2] ?? "").array?.compactMap(\.string) ?? []
                    return "\($0[0] ?? "") \($0[1] ?? "") \(groups.sorted().joined(separator: ","))"
                }
            }
        }
        let midnight = try self.time("2026-11-24T00:00:00Z")
        let before = Timestamp(milliseconds: midnight.milliseconds - 1)
        for at in [self.now, before, midnight] {
            try await store.book([], [self.sighting("u", groups: ["b", "a"], at: at)], now: self.now)
        }
        try await store.book(
            [], [self.sighting("u", groups: ["c", "a"], at: self.now), self.sighting("v", at: midnight)], now: self.now)
        #expect(try await groups() == ["2026-11-23 u a,b,c", "2026-11-24 u a,b", "2026-11-24 v "])
        // Several sightings of one booking, the earlier one behind the later one.
        try await store.book(
            [], [self.sighting("w", groups: ["x"], at: before), self.sighting("w", groups: ["y"], at: self.now)],
            now: self.now)
        let seen = try await groups()
        #expect(seen.contains("2026-11-23 w x,y"))
    }

    // MARK: Reports

    /// What the reports of random entries must say, computed the slow way.
    private struct Oracle {
        var entries: [SpendEntry] = []
        /// By day and principal.
        var groups: [String: Set<String>] = [:]

        func groups(_ entry: SpendEntry) -> Set<String> {
            self.groups[SpendPeriod.daily.key(at: entry.at) + entry.principal] ?? []
        }

        func rows(_ query: SpendReportQuery) -> [String] {
            var sums: [String: [Int64]] = [:]
            for entry in self.entries where entry.at >= query.from && entry.at < query.to {
                guard query.principals.isEmpty || query.principals.contains(entry.principal),
                    query.models.isEmpty || query.models.contains(entry.model),
                    query.upstreams.isEmpty || query.upstreams.contains(entry.upstream)
                else { continue }
                let mine = self.groups(entry)
                guard query.groups.isEmpty || !mine.isDisjoint(with: query.groups) else { continue }
                let start: Timestamp
                switch query.bucket {
                case .all: start = query.from
                case .day: start = CivilDate(entry.at).start
                case .hour: start = Timestamp(milliseconds: entry.at.milliseconds / 3_600_000 * 3_600_000)
                case .minute: start = Timestamp(milliseconds: entry.at.milliseconds / 60_000 * 60_000)
                }
                var shown: [String?] = [nil]
                if query.by.contains(.group) {
                    shown = mine.filter { query.groups.isEmpty || query.groups.contains($0) }
                    if mine.isEmpty { shown = [nil] }
                }
                for group in shown {
                    let keys = query.by.map { dimension -> String in
                        switch dimension {
                        case .user: entry.principal
                        case .model: entry.model
                        case .upstream: entry.upstream
                        case .billingGroup: entry.billingGroup ?? "-"
                        case .group: group ?? "-"
                        }
                    }
                    let added = [
                        Int64(entry.requests), Int64(entry.input), Int64(entry.output), Int64(entry.cacheWrite5m),
                        Int64(entry.cacheWrite1h), Int64(entry.cacheRead), Int64(entry.webSearches),
                        entry.amount.nanodollars,
                    ]
                    let key = "\(start) \(keys)"
                    sums[key] = zip(sums[key] ?? Array(repeating: 0, count: 8), added).map(+)
                }
            }
            return sums.map { "\($0.key) \($0.value)" }.sorted()
        }
    }

    static func reports(_ subject: Subject) async throws {
        let store = subject.store
        var generator = SystemRandomNumberGenerator()
        let start = try self.time("2026-11-21T00:00:00Z")
        let span: Int64 = 4 * 86_400_000
        func pick<Value>(_ values: [Value]) -> Value { values.randomElement(using: &generator)! }
        let (users, models, upstreams) = (["u", "v", "W é"], ["m", "n"], ["up", "down"])
        let groups = ["g", "h", "i\"'"]
        var oracle = Oracle()
        for _ in 0..<300 {
            let at = Timestamp(milliseconds: start.milliseconds + .random(in: 0..<span, using: &generator))
            var entry = self.entry(
                pick(users), .random(in: 0...1_000_000_000, using: &generator), at: at, model: pick(models),
                upstream: pick(upstreams), billingGroup: pick([nil, "g", "h"]))
            (entry.cacheRead, entry.cacheWrite5m) = (pick([0, 7]), pick([0, 5]))
            (entry.cacheWrite1h, entry.webSearches) = (pick([0, 3]), pick([0, 1]))
            if pick([true, false]) { entry.merge(self.entry(entry.principal, 11, at: at)) }
            oracle.entries.append(entry)
        }
        var sightings: [PrincipalSighting] = []
        for day in Int64(0)..<4 {
            for user in users.dropLast(pick([0, 1])) {
                let at = Timestamp(milliseconds: start.milliseconds + day * 86_400_000)
                let seen = groups.filter { _ in pick([true, false]) }
                sightings.append(self.sighting(user, groups: seen, at: at))
                oracle.groups[SpendPeriod.daily.key(at: at) + user] = Set(seen)
            }
        }
        _ = try await store.book(oracle.entries, sightings, now: self.now)

        let bounds: [Int64] = [0, 86_400_000, 2 * 86_400_000, span, 1, 86_399_999, 90_000_000, span - 1, span / 3]
        let dimensions = SpendReportQuery.Dimension.allCases
        for round in 0..<150 {
            let edges = [pick(bounds), pick(bounds)].sorted()
            var query = SpendReportQuery(
                from: Timestamp(milliseconds: start.milliseconds + edges[0]),
                to: Timestamp(milliseconds: start.milliseconds + edges[1]))
            if round < 40 { query.to = Timestamp(milliseconds: start.milliseconds + span) }
            query.bucket = pick([.minute, .hour, .day, .all])
            query.by = Array(dimensions.shuffled(using: &generator).prefix(pick([0, 0, 1, 2, 3, 5])))
            if pick([true, false]) { query.principals = pick([["u"], ["u", "W é"], ["nobody"]]) }
            if pick([true, false, false]) { query.groups = pick([["g"], ["g", "h"], ["i\"'"], ["nobody"]]) }
            if pick([true, false, false]) { query.models = pick([["m"], ["m", "n"], ["x"]]) }
            if pick([true, false, false]) { query.upstreams = pick([["up"], ["down", "x"]]) }
            let found = try await store.report(query)
            let rows = found.map { row in
                let sums = [
                    row.requests, row.input, row.output, row.cacheWrite5m, row.cacheWrite1h, row.cacheRead,
                    row.webSearches, row.amount.nanodollars,
                ]
                return "\(row.start) \(row.keys.map { $0 ?? "-" }) \(sums)"
            }.sorted()
            try #require(rows == oracle.rows(query), "\(query)")
            #expect(found.map(\.start) == found.map(\.start).sorted(), "not in the order of time")
        }
    }

    static func reportBounds(_ subject: Subject) async throws {
        let store = subject.store
        let midnight = try self.time("2026-11-24T00:00:00Z")
        let before = Timestamp(milliseconds: midnight.milliseconds - 1)
        _ = try await store.book(
            [self.entry("u", 1, at: before), self.entry("u", 2, at: midnight)], [], now: self.now)
        func sums(_ from: String, _ to: String, _ bucket: SpendReportQuery.Bucket) async throws -> [Int64] {
            var query = SpendReportQuery(from: try self.time(from), to: try self.time(to))
            query.bucket = bucket
            return try await store.report(query).map(\.amount.nanodollars)
        }
        #expect(try await sums("2026-11-23", "2026-11-24", .day) == [1], "the end is not exclusive")
        #expect(try await sums("2026-11-24", "2026-11-25", .day) == [2])
        #expect(try await sums("2026-11-23", "2026-11-25", .day) == [1, 2])
        #expect(try await sums("2026-11-23", "2026-11-25", .all) == [3])
        #expect(try await sums("2026-11-23T12:00:00Z", "2026-11-24T00:00:00.001Z", .day) == [1, 2])
        #expect(try await sums("2026-11-23T23:59:59.999Z", "2026-11-24", .minute) == [1])
        #expect(try await sums("2026-11-24", "2026-11-24", .all) == [])
        #expect(try await sums("2026-11-25", "2026-11-23", .day) == [])
        #expect(try await sums("2025-11-25", "2027-11-23", .hour) == [1, 2])
    }

    // MARK: Keeping

    static func retention(_ subject: Subject) async throws {
        let store = subject.store
        let oldest = try self.time("2026-08-23T00:00:00Z")
        let older = Timestamp(milliseconds: oldest.milliseconds - 1)
        for (name, at) in [("old", older), ("new", oldest)] {
            _ = try await store.book([self.entry(name, 5, at: at, pool: name)], [], now: at)
        }
        // A counter that still grows stays whole, though its ledger rows do not.
        _ = try await store.book([self.entry("mixed", 5, at: older)], [], now: older)
        _ = try await store.book([self.entry("mixed", 6, at: self.now)], [], now: self.now)
        let (audit, identity) = (self.day(-10), self.day(-20))
        for at in [Timestamp(milliseconds: audit.milliseconds - 1), audit] {
            try await self.put(self.limit("l\(at.milliseconds)", .user("u"), .daily, 1), in: store, now: at)
        }
        for at in [Timestamp(milliseconds: identity.milliseconds - 1), identity] {
            try await store.book([], [self.sighting("u\(at.milliseconds)", groups: ["g"], at: at)], now: self.now)
        }
        try await store.book([], [self.sighting("u", groups: ["g"], at: self.day(-21))], now: self.now)
        try await store.sweepSpend(
            SpendRetention(spendMonths: 3, auditDays: 10, identityDays: 20), now: self.now)
        #expect(
            try await self.counters(store).filter { $0.hasPrefix("old") } == [], "spend was kept for too long")
        #expect(try await self.counters(store).filter { $0.hasPrefix("new") }.count == 3)
        #expect(try await self.counters(store).contains("mixed|2026-11|6"))
        #expect(try await self.pooled(store) == ["new|2026-08|5"])
        #expect(
            try await self.rows(store, "SELECT principal FROM spend_ledger").sorted() == ["mixed", "new"])
        #expect(try await self.rows(store, "SELECT principal FROM spend_daily").sorted() == ["mixed", "new"])
        #expect(try await store.auditRows(AuditQuery()).rows.map(\.at) == [audit])
        #expect(
            try await self.rows(store, "SELECT principal FROM principal_emails") == ["u\(identity.milliseconds)"])
        #expect(
            try await self.rows(store, "SELECT day FROM principal_groups").sorted() == ["2026-11-03", "2026-11-03"])
        // Limits are nobody's to sweep.
        #expect(try await store.limits(LimitQuery(), now: self.now)?.limits.count == 1)
    }

    static func retentionAtMonthEnds(_ subject: Subject) async throws {
        let store = subject.store
        for (index, text) in ["2025-12-27T23:59:59Z", "2025-12-28", "2026-01-01"].enumerated() {
            let at = try self.time(text)
            _ = try await store.book([self.entry("u\(index)", 1, at: at)], [], now: at)
        }
        let retention = SpendRetention(spendMonths: 14, auditDays: 1, identityDays: 1)
        // Fourteen months before 28, 29 and 31 February of the calendar: never later than that, and no day is skipped.
        try await store.sweepSpend(retention, now: try self.time("2027-02-28T12:00:00Z"))
        #expect(try await store.principals(PrincipalQuery()) == ["u1", "u2"])
        try await store.sweepSpend(retention, now: try self.time("2027-03-31T12:00:00Z"))
        #expect(try await store.principals(PrincipalQuery()) == [])
        // A thousand years back there was nothing to sweep.
        try await store.sweepSpend(
            SpendRetention(spendMonths: 12_000, auditDays: 365_250, identityDays: 365_250), now: self.now)
    }

    static let all: [(name: String, check: @Sendable (Subject) async throws -> Void)] = [
        ("booking", booking), ("repetition", repetition), ("repetition in one batch", repetitionInOneBatch),
        ("merged entries", merged), ("questions", question), ("undecided pools", undecidedPools),
        ("U+0000 in entries", nullCharacters), ("U+0000 in identities", nullCharactersOfIdentities),
        ("U+0000 in callers", nullCharactersOfCallers), ("extremes", extremes), ("long names", longNames),
        ("names that are stored in another form", changedNames),
        ("many at once", manyAtOnce),
        ("concurrent bookings", concurrentBookings), ("concurrent repetition", concurrentRepetition),
        ("the ledger's name", ledgerName), ("changes of limits", limitChanges), ("values of limits", limitValues),
        ("pages of limits", limitPages), ("concurrent changes of limits", concurrentLimits),
        ("pages of the audit", auditPages), ("pools with a past", backfill), ("pools without a past", backfillOfNobody),
        ("principals", principals), ("principals by spend", principalsBySpend), ("identities", identities),
        ("groups of a day", groupsOfADay), ("reports", reports), ("bounds of reports", reportBounds),
        ("retention", retention), ("retention at month ends", retentionAtMonthEnds),
    ]
}

@Suite("Spend in SQLite")
struct SQLiteSpendTests {
    @Test("conforms", arguments: SpendConformance.all.map(\.name))
    func conforms(_ name: String) async throws {
        let path = NSTemporaryDirectory() + "/spend-\(RandomToken.make()).sqlite"
        defer { for suffix in ["", "-wal", "-shm"] { try? FileManager.default.removeItem(atPath: path + suffix) } }
        let store = try SQLiteStore(path: path)
        try await store.migrate { _ in }
        let subject = SpendConformance.Subject(store: store) { try SQLiteStore(path: path) }
        for entry in SpendConformance.all where entry.name == name { try await entry.check(subject) }
        await store.close()
    }
}

@Suite("Spend in PostgreSQL", .enabled(if: TestStores.postgresURL != nil, "scripts/test starts a server"))
struct PostgresSpendTests {
    @Test("conforms", arguments: SpendConformance.all.map(\.name))
    func conforms(_ name: String) async throws {
        try await TestStores.withPostgres { store, schema in
            let subject = SpendConformance.Subject(store: store) {
                let url = TestStores.url(schema: schema)
                return PostgresStore(settings: StoreSettings(backend: .postgres(url: url)), url: url) { _ in }
            }
            for entry in SpendConformance.all where entry.name == name { try await entry.check(subject) }
        }
    }

    /// Fails where members of a list are compared with every row of the table.
    @Test("looks the members of a list up in an index")
    func usesIndexes() async throws {
        try await TestStores.withPostgres { store, schema in
            try await TestStores.psql(
                """
                INSERT INTO \(schema).rate_usage SELECT 'u' || n, n % 2, 'r' || n % 4, 1, 1, 1, 1
                FROM generate_series(1, 20000) AS n; ANALYZE \(schema).rate_usage
                """)
            let isOne = store.dialect.isOne(of: #"'["u1", "u2"]'"#)
            let plan = try await SpendConformance.rows(
                store, "EXPLAIN SELECT * FROM rate_usage WHERE principal \(isOne) AND minute >= 0")
            #expect(plan.contains { $0.contains("Index Cond: ") && $0.contains("principal = ANY") }, "\(plan)")
        }
    }

    // MARK: One exchange

    private static let tables = ["spend", "pooled_spend", "spend_ledger", "spend_daily", "principal_emails"]

    /// A store of one connection, so that what follows a failure runs on the one that has failed.
    private func withOneConnection(_ body: (PostgresStore, String) async throws -> Void) async throws {
        try await TestStores.withPostgres { _, schema in
            let url = TestStores.url(schema: schema)
            var settings = StoreSettings(backend: .postgres(url: url))
            settings.maximumConnections = 1
            let store = PostgresStore(settings: settings, url: url) { _ in }
            do {
                try await body(store, schema)
            } catch {
                Issue.record(error)
            }
            await store.close()
        }
    }

    private func count(_ store: PostgresStore) async throws -> [String] {
        let counts = Self.tables.map { "(SELECT count(*) FROM \($0))" }.joined(separator: ", ")
        return try await SpendConformance.rows(store, "SELECT \(counts), pg_backend_pid()")
    }

    @Test("does nothing of a booking of which the database refuses a part", arguments: tables)
    func booksAllOrNothing(_ table: String) async throws {
        try await self.withOneConnection { store, schema in
            let sightings = [SpendConformance.sighting("u")]
            let entry = SpendConformance.entry("u", 5, pool: "g")
            let before = try await self.count(store)
            try await TestStores.psql("ALTER TABLE \(schema).\(table) ADD CONSTRAINT no CHECK (false) NOT VALID")
            let error = await #expect(throws: StoreError.self) {
                try await store.book([entry], sightings, asking: SpendQuestion(principals: ["u"], groups: []), now: now)
            }
            guard case .refused("23514", let text)? = error else {
                Issue.record("\(String(describing: error))")
                return
            }
            #expect(text.contains(table), "what the database said first is told")
            #expect(try await self.count(store) == before, "something is booked, or the connection was dropped")
            try await TestStores.psql("ALTER TABLE \(schema).\(table) DROP CONSTRAINT no")
            let booking = try await store.book([entry], sightings, now: now)
            #expect(booking.totals.spend["u"]?["2026-11"] == Money(nanodollars: 5))
            #expect(try await self.count(store)[0].hasPrefix("3|1|1|1|1|"))
        }
    }

    @Test("books with a connection that has forgotten its statements")
    func booksWithoutPreparedStatements() async throws {
        try await self.withOneConnection { store, _ in
            for amount in Int64(1)...3 {
                let booking = try await store.book(
                    [SpendConformance.entry("u", amount)], [SpendConformance.sighting("u")],
                    asking: SpendQuestion(principals: ["u"], groups: []), now: now)
                let sum = Money(nanodollars: (1...amount).reduce(0, +))
                #expect(booking.totals.spend["u"]?["2026-11"] == sum)
                #expect(booking.state?.spend(of: "u", .monthly, at: now) == sum)
                // As a pooler does that gives the next transaction another server connection.
                _ = try await SpendConformance.rows(store, "DEALLOCATE ALL")
            }
            #expect(try await SpendConformance.rows(store, "SELECT count(*) FROM spend_ledger") == ["3"])
        }
    }

    @Test("gives a booking up that does not end, and drops its connection")
    func boundsBookingsThatHang() async throws {
        try await self.withOneConnection { store, schema in
            let process = try await self.count(store)
            let entry = SpendConformance.entry("u", 5)
            try await TestStores.locking("\(schema).spend_daily") {
                await #expect(throws: StoreError.timedOut) { try await store.book([entry], [], now: now) }
            }
            // The server may have gone on when the lock was free: the entry is booked once in either case.
            try await store.book([entry], [], now: now)
            let after = try await self.count(store)
            #expect(after[0].hasPrefix("3|0|1|1|0|") && after != process)
            #expect(
                try await SpendConformance.rows(store, "SELECT sum(nanodollars) FROM spend_daily") == ["5"])
        }
    }

    // MARK: Taking over the existing gateway's tables

    /// The tables as the existing gateway makes them (reference/admin-api.md, section 9).
    private static let oldTables = """
        CREATE TABLE kv (key text PRIMARY KEY, value text NOT NULL, expires_at timestamptz);
        CREATE TABLE spend (principal text NOT NULL, period text NOT NULL, cents double precision NOT NULL DEFAULT 0,
            updated_at timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (principal, period));
        CREATE TABLE pooled_spend (rbac_group_id text NOT NULL, period text NOT NULL,
            cents double precision NOT NULL DEFAULT 0, updated_at timestamptz NOT NULL DEFAULT now(),
            PRIMARY KEY (rbac_group_id, period));
        CREATE TABLE spend_limits (id text PRIMARY KEY,
            scope_type text NOT NULL CHECK (scope_type IN ('organization', 'rbac_group', 'user')),
            scope_id text NOT NULL DEFAULT '', amount bigint,
            period text NOT NULL DEFAULT 'monthly' CHECK (period IN ('daily', 'weekly', 'monthly')),
            currency text NOT NULL DEFAULT 'USD' CHECK (currency = 'USD'),
            created_at timestamptz NOT NULL DEFAULT now(), updated_at timestamptz NOT NULL DEFAULT now(),
            created_by text, pooled_limit_enabled boolean NOT NULL DEFAULT false, pooled_monthly_credit_limit bigint,
            UNIQUE (scope_type, scope_id, period),
            CHECK (pooled_monthly_credit_limit IS NULL OR (scope_type = 'rbac_group' AND period = 'monthly')),
            CHECK (NOT pooled_limit_enabled OR pooled_monthly_credit_limit IS NOT NULL));
        CREATE TABLE admin_audit (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            at timestamptz NOT NULL DEFAULT now(), actor text NOT NULL, action text NOT NULL, target text NOT NULL,
            before jsonb, after jsonb, reason text);
        CREATE TABLE principal_emails (principal text PRIMARY KEY, email text, name text, groups jsonb,
            updated_at timestamptz NOT NULL DEFAULT now());
        CREATE TABLE principal_groups (day text NOT NULL, principal text NOT NULL, groups jsonb NOT NULL,
            PRIMARY KEY (day, principal));
        CREATE TABLE _migrations (version int PRIMARY KEY, applied_at timestamptz NOT NULL DEFAULT now());
        """

    /// Runs a test in a schema that holds those tables and `rows`, migrated twice.
    private func withOldTables(_ rows: String, _ body: (PostgresStore, String) async throws -> Void) async throws {
        let schema = try await TestStores.makeSchema()
        let url = TestStores.url(schema: schema)
        let store = PostgresStore(settings: StoreSettings(backend: .postgres(url: url)), url: url) { _ in }
        do {
            try await TestStores.psql("SET search_path = \(schema); " + Self.oldTables + rows)
            try await store.migrate { _ in }
            try await store.migrate { line in
                // Schemas share the lock, so that waiting for it may be logged.
                if line.contains("applied") { Issue.record("migrated again: \(line)") }
            }
            try await body(store, schema)
        } catch {
            Issue.record(error)
        }
        await store.close()
        await TestStores.drop(schema: schema)
    }

    private let now = SpendConformance.now

    @Test("takes the existing gateway's sums over, to the nano-dollar, and adds to them")
    func takesOverSums() async throws {
        let rows = """
            INSERT INTO spend VALUES ('u', '2026-11-23', 2.0999999999999996), ('u', '2026-W48', 0.1),
                ('u', '2026-11', 123456.78912345678), ('v', '2026-11', -5), ('w', '2026-11', 1e20),
                ('x', '2026-11', 'Infinity'), ('y', '2026-11', '-Infinity'), ('é', '2026-11', 1e-12);
            INSERT INTO pooled_spend VALUES ('g', '2026-11', 99.999), ('h', '2026-10', 5);
            """
        try await self.withOldTables(rows) { store, schema in
            let names = ["u", "v", "w", "x", "y", "é"]
            let state = try await store.spendState(principals: names, groups: ["g", "h"], now: self.now)
            #expect(
                state.spend["u"] == [
                    "2026-11-23": Money(nanodollars: 21_000_000), "2026-W48": Money(nanodollars: 1_000_000),
                    "2026-11": Money(nanodollars: 1_234_567_891_235),
                ])
            for name in ["v", "y", "é"] { #expect(state.spend[name] == ["2026-11": .zero], "\(name)") }
            for name in ["w", "x"] {
                #expect(state.spend(of: name, .monthly, at: self.now) > Money(cents: 800_000_000_000), "\(name)")
            }
            #expect(state.pools == ["g": Money(nanodollars: 999_990_000)])
            let booking = try await store.book(
                [SpendConformance.entry("u", 1, pool: "g")], [SpendConformance.sighting("u", groups: ["g"])],
                now: self.now)
            #expect(booking.totals.spend["u"]?["2026-11"] == Money(nanodollars: 1_234_567_891_236))
            #expect(booking.totals.pools["g"]?["2026-11"] == Money(nanodollars: 999_990_001))
            let cents = try await TestStores.psql(
                "SELECT cents::text FROM \(schema).spend WHERE principal = 'u' AND period = '2026-11-23'")
            #expect(Double(cents) == 2.1000001, "the documented column is gone or wrong")
            #expect(try await store.principals(PrincipalQuery()) == names)
        }
    }

    @Test("takes a sum over that is no number as nothing")
    func takesOverNaN() async throws {
        try await self.withOldTables("INSERT INTO spend VALUES ('u', '2026-11', 'NaN'), ('v', '2026-11', 5);") {
            store, _ in
            let state = try await store.spendState(principals: ["u", "v"], groups: [], now: self.now)
            #expect(state.spend(of: "u", .monthly, at: self.now) == .zero)
            #expect(state.spend(of: "v", .monthly, at: self.now) == Money(cents: 5))
        }
    }

    @Test("takes the existing gateway's limits, audit and identities over")
    func takesOverRest() async throws {
        let rows = """
            INSERT INTO spend_limits (id, scope_type, scope_id, amount, period, created_by, created_at,
                    pooled_limit_enabled, pooled_monthly_credit_limit) VALUES
                ('spl_a', 'organization', '', 100, 'daily', 'k', '2026-01-01T00:00:00Z', false, NULL),
                ('spl_b', 'rbac_group', 'g', NULL, 'monthly', 'k', '2026-01-02T00:00:00.123456Z', true, 5000),
                ('spl_c', 'rbac_group', 'h', 999999999999999999, 'monthly', 'k', '2026-01-03T00:00:00Z', false, 7),
                ('spl_d', 'user', 'u', 0, 'weekly', NULL, '2026-01-04T00:00:00Z', false, NULL);
            INSERT INTO pooled_spend VALUES ('g', '2026-11', 50);
            INSERT INTO admin_audit (at, actor, action, target, after) VALUES
                ('2026-01-01T00:00:00Z', 'k', 'spend_limit.upsert', 'spl_a', '{"id": "spl_a"}');
            INSERT INTO principal_emails VALUES ('u', 'u@x', 'U', '["g"]', '2026-11-20T00:00:00Z'),
                ('v', NULL, NULL, NULL, '2026-11-20T00:00:00Z');
            INSERT INTO principal_groups VALUES ('2026-11-20', 'u', '["g"]');
            """
        try await self.withOldTables(rows) { store, _ in
            let limits = try #require(try await store.limits(LimitQuery(), now: self.now)).limits
            #expect(limits.map(\.id) == ["spl_a", "spl_b", "spl_c", "spl_d"])
            #expect(limits.map(\.amount) == [100, nil, 999_999_999_999_999_999, 0])
            #expect(limits.map(\.scope) == [.organization, .group("g"), .group("h"), .user("u")])
            #expect(limits.map(\.pool?.isPaused) == [nil, false, true, nil])
            #expect(limits.map(\.poolSpend) == [nil, Money(cents: 50), .zero, nil])
            #expect(limits[1].createdAt == Timestamp(rfc3339: "2026-01-02T00:00:00.123Z"))
            #expect(
                try await store.identities(["u", "v"]) == [
                    "u": PrincipalIdentity(email: "u@x", name: "U", groups: ["g"]), "v": PrincipalIdentity(),
                ])
            // The tables take what is new, behind what was there.
            try await SpendConformance.put(SpendConformance.limit("spl_e", .user("v"), .daily, 1), in: store)
            #expect(try await store.limits(LimitQuery(), now: self.now)?.limits.last?.id == "spl_e")
            let audit = try await store.auditRows(AuditQuery()).rows
            #expect(audit.map(\.target) == ["spl_e", "spl_a"])
            #expect(audit.last?.after == ["id": "spl_a"])
            try await store.book(
                [],
                [SpendConformance.sighting("u", groups: ["h"], at: try SpendConformance.time("2026-11-20T09:00:00Z"))],
                now: self.now)
            let groups = try await SpendConformance.rows(store, "SELECT groups FROM principal_groups")
            #expect(groups == [#"["g", "h"]"#])
        }
    }

    @Test("lists the existing gateway's limits in the order of creation, although one was changed since")
    func takesOverOrder() async throws {
        let rows = """
            INSERT INTO spend_limits (id, scope_type, scope_id, amount, created_at) VALUES
                ('spl_a', 'user', 'a', 1, '2026-01-01T00:00:00Z'), ('spl_b', 'user', 'b', 1, '2026-01-02T00:00:00Z'),
                ('spl_c', 'user', 'c', 1, '2026-01-03T00:00:00.0009Z');
            UPDATE spend_limits SET amount = 2, updated_at = now() WHERE id = 'spl_a';
            """
        try await self.withOldTables(rows) { store, _ in
            let limits = try #require(try await store.limits(LimitQuery(), now: self.now)).limits
            #expect(limits.map(\.id) == ["spl_a", "spl_b", "spl_c"])
            // A part of a millisecond is cut off, as JavaScript's dates do it.
            #expect(limits[2].createdAt.description == "2026-01-03T00:00:00.000Z")
        }
    }
}

@Suite("Spend entries")
struct SpendEntryTests {
    private func entry(_ amount: Int64 = 1) -> SpendEntry {
        var entry = SpendConformance.entry("u", amount)
        entry.id = ""
        return entry
    }

    @Test("that are merged add up, and keep the earliest time")
    func merges() {
        var (first, second) = (self.entry(5), self.entry(7))
        second.at = Timestamp(milliseconds: first.at.milliseconds - 3)
        (second.cacheRead, second.cacheWrite5m, second.cacheWrite1h) = (1, 2, 3)
        (second.webSearches, second.estimates) = (4, 1)
        let ids = first.requestIDs + second.requestIDs
        first.merge(second)
        #expect((first.at, first.requests, first.requestIDs) == (second.at, 2, ids))
        #expect((first.input, first.output, first.amount) == (2000, 100, Money(nanodollars: 12)))
        #expect((first.cacheRead, first.cacheWrite5m, first.cacheWrite1h) == (1, 2, 3))
        #expect((first.webSearches, first.estimates) == (4, 1))
        // Merged ones can be merged again.
        var third = self.entry(1)
        third.merge(first)
        #expect((third.requests, third.requestIDs.count, third.amount.nanodollars) == (3, 3, 13))
    }

    @Test("list the first 64 of their requests and count all")
    func listsRequests() {
        var sum = self.entry()
        var ids = sum.requestIDs
        for _ in 0..<99 {
            let next = self.entry()
            ids += next.requestIDs
            sum.merge(next)
        }
        #expect(sum.requests == 100)
        #expect(sum.requestIDs == Array(ids[..<SpendEntry.listedRequests]))
        var (left, right) = (self.entry(), self.entry())
        for _ in 0..<39 { left.merge(self.entry()) }
        for _ in 0..<39 { right.merge(self.entry()) }
        let listed = left.requestIDs + right.requestIDs.prefix(24)
        left.merge(right)
        #expect((left.requests, left.requestIDs) == (80, listed))
    }

    @Test("stop at the largest number instead of trapping")
    func saturates() {
        var (first, second) = (self.entry(.max), self.entry(5))
        (first.input, second.input) = (.max - 1, 7)
        first.merge(second)
        #expect((first.input, first.amount.nanodollars) == (.max, .max))
    }

    @Test("are of one kind when they differ in nothing but their size, their request and the time of a minute")
    func kinds() {
        let entry = self.entry()
        func after(_ change: (inout SpendEntry) -> Void) -> SpendEntry {
            var other = self.entry(99)
            change(&other)
            return other
        }
        let minute = entry.at.milliseconds / 60_000 * 60_000
        let same: [(inout SpendEntry) -> Void] = [
            { _ in }, { ($0.input, $0.output, $0.webSearches, $0.estimates) = (1, 2, 3, 4) },
            { $0.at = Timestamp(milliseconds: minute) }, { $0.at = Timestamp(milliseconds: minute + 59_999) },
        ]
        for (index, change) in same.enumerated() {
            let other = after(change)
            #expect(other.kind != nil && other.kind == entry.kind && other.isLike(entry), "\(index)")
        }
        let others: [(inout SpendEntry) -> Void] = [
            { $0.at = Timestamp(milliseconds: minute + 60_000) }, { $0.at = Timestamp(milliseconds: minute - 1) },
            { $0.principal = "v" }, { $0.model = "n" }, { $0.upstream = "other" }, { $0.upstreamModel = "other" },
            { $0.billingGroup = "g" }, { $0.billingGroup = "" }, { $0.pool = "g" }, { $0.isExposed = true },
        ]
        for (index, change) in others.enumerated() {
            let other = after(change)
            #expect(other.kind != nil && !other.isLike(entry) && !entry.isLike(other), "\(index)")
        }
        #expect(after { $0.undecidedPools = ["g"] }.kind == nil)
        #expect(after { $0.hold = "h" }.kind == nil)
    }

    @Test("come back from the journal as they went in")
    func roundTrips() throws {
        var entry = SpendConformance.entry(
            "é \"'\\\n\0😀", .max, model: "m\u{2028}", billingGroup: "g", pool: "p", undecided: ["a", "b\0"])
        for _ in 0..<5 { entry.merge(self.entry()) }
        (entry.cacheRead, entry.cacheWrite5m, entry.cacheWrite1h) = (1, 2, .max)
        (entry.webSearches, entry.estimates) = (4, 5)
        entry.hold = "h"
        #expect(SpendEntry(json: try JSONValue(parsing: entry.json.bytes())) == entry)
        #expect(!entry.json.bytes().contains(0x0A), "a line of the journal would end early")
        let plain = SpendConformance.entry("u", 0)
        #expect(SpendEntry(json: try JSONValue(parsing: plain.json.bytes())) == plain)
    }

    @Test(
        "are not read from other JSON",
        arguments: [
            "{}", "[]", "null", #"{"id":"x","at":"1"}"#,
        ])
    func refusesOthers(_ text: String) throws {
        #expect(SpendEntry(json: try JSONValue(parsing: text)) == nil)
        let whole = try #require(SpendConformance.entry("u", 5).json.object)
        for key in whole.keys {
            var part = whole
            part[key] = nil
            #expect(SpendEntry(json: .object(part)) == nil, "without \(key)")
            part[key] = .bool(true)
            #expect(SpendEntry(json: .object(part)) == nil, "with another \(key)")
        }
    }
}
