// SPDX-License-Identifier: Apache-2.0

import Foundation
import GatewayCore
import TestSupport
import Testing

@testable import GatewayStore

/// What every store must do. The same checks run against SQLite and against a real PostgreSQL.
enum StoreConformance {
    private static let start = Timestamp(seconds: 1_800_000_000)

    static func keyValues(_ store: any GatewayStore) async throws {
        let later = self.start.advanced(bySeconds: 10)
        let past = self.start.advanced(bySeconds: 11)
        #expect(try await store.value(forKey: "k", now: self.start) == nil)
        #expect(try await store.insert("1", forKey: "k", expiresAt: later, now: self.start))
        #expect(
            try await !store.insert("2", forKey: "k", expiresAt: later, now: self.start), "an open entry was replaced")
        #expect(try await store.value(forKey: "k", now: self.start) == "1")
        #expect(try await !store.replace("x", with: "2", forKey: "k", now: self.start))
        #expect(try await store.replace("1", with: "é\"'\n", forKey: "k", now: self.start))
        #expect(try await store.value(forKey: "k", now: self.start) == "é\"'\n")
        #expect(try await store.value(forKey: "k", now: past) == nil, "an expired entry was read")
        #expect(try await !store.replace("é\"'\n", with: "3", forKey: "k", now: past))
        #expect(try await !store.remove("é\"'\n", forKey: "k", now: past))
        #expect(
            try await store.insert("4", forKey: "k", expiresAt: past.advanced(bySeconds: 5), now: past),
            "an expired entry stood in the way")
        #expect(try await store.remove("4", forKey: "k", now: past))
        #expect(try await !store.remove("4", forKey: "k", now: past), "removed twice")
    }

    static func counters(_ store: any GatewayStore) async throws {
        for count in 1...3 { #expect(try await store.increment("c", window: .seconds(10), now: self.start) == count) }
        #expect(
            try await store.increment("c", window: .seconds(10), now: self.start.advanced(bySeconds: 9)) == 4,
            "the window moved")
        #expect(
            try await store.increment("c", window: .seconds(10), now: self.start.advanced(bySeconds: 10)) == 1,
            "the window did not end")
        #expect(try await store.increment("d", window: .seconds(10), now: self.start) == 1)
    }

    static func rates(_ store: any GatewayStore) async throws {
        let now = Timestamp(milliseconds: 1_700_000_040_000)
        let minute = now.milliseconds / 60_000
        func put(_ replica: String, _ usages: [RateUsage], at seconds: Double = 0) async throws -> [RateUsage] {
            try await store.exchangeRates(
                usages, about: ["u", "v"], replica: replica, now: now.advanced(bySeconds: seconds))
        }
        let first = RateUsage(principal: "u", minute: minute, requests: 3, tokens: 40, running: 1)
        #expect(try await put("a", [first]).isEmpty)
        // Told twice is not counted twice.
        #expect(try await put("a", [first]).isEmpty)
        let last = RateUsage(principal: "u", minute: minute - 1, requests: 5, tokens: 6, running: 0)
        #expect(try await put("b", [last]) == [first])
        let seen = try await put("c", [])
        #expect(seen.sorted { $0.minute < $1.minute } == [last, first])
        // A replica that has been silent runs nothing.
        #expect(try await put("c", [], at: 10).map(\.running) == [0, 0])
        try await store.sweepRates(now: now.advanced(bySeconds: 600))
        #expect(try await put("c", []).isEmpty)
    }

    static func revocations(_ store: any GatewayStore) async throws {
        let start = Timestamp(milliseconds: 1_700_000_000_000)
        for (id, subject, email) in [("s1", "u1", "Ada@example.com"), ("s2", "u1", nil), ("s3", "u2", "b@example.com")]
        {
            try await store.insertSession(SessionRow(id: id, subject: subject, email: email, at: start))
        }
        #expect(try await store.sessions(user: nil, after: nil, limit: 2).map(\.id) == ["s1", "s2"])
        #expect(try await store.sessions(user: nil, after: "s2", limit: 9).map(\.id) == ["s3"])
        #expect(try await store.sessions(user: "u1", after: nil, limit: 9).map(\.id) == ["s1", "s2"])
        #expect(try await store.sessions(user: "ada@EXAMPLE.com", after: nil, limit: 9).map(\.id) == ["s1"])
        let later = start.advanced(bySeconds: 10)
        #expect(try await store.revoke(Revocation(.user, "u1", at: later)) == 2)
        #expect(try await store.revoke(Revocation(.session, "s3", at: start)) == 1)
        #expect(try await store.revoke(Revocation(.group, "g", at: later)) == 0)
        // An earlier time never takes a later one's place.
        #expect(try await store.revoke(Revocation(.user, "u1", at: start)) == 0)
        #expect(try await store.sessions(user: nil, after: nil, limit: 9).isEmpty)
        let all = try await store.revocations(since: start)
        #expect(
            Set(all.map { "\($0.kind.rawValue) \($0.id) \($0.at.milliseconds - start.milliseconds)" }) == [
                "user u1 10000", "session s3 0", "group g 10000",
            ])
        #expect(try await store.revocations(since: later).count == 2)
        try await store.sweepRevocations(now: start.advanced(bySeconds: 9 * 86_400))
        #expect(try await store.revocations(since: start).count == 2)
        try await store.sweepRevocations(now: start.advanced(bySeconds: 99 * 86_400))
        #expect(try await store.revocations(since: start).isEmpty)
    }

    static func sessions(_ store: any GatewayStore) async throws {
        var row = SessionRow(id: "s", subject: "u", email: nil, at: self.start)
        try await store.insertSession(row)
        #expect(try await store.session(id: "s") == row)
        #expect(try await store.session(id: "none") == nil)
        let lease = self.start.advanced(bySeconds: 10)
        func take(_ generation: Int, until: Timestamp, now: Timestamp) async throws -> SessionLease? {
            try await store.leaseSession(id: "s", generation: generation, until: until, now: now)
        }
        let first = try #require(try await take(0, until: lease, now: self.start))
        #expect(try await take(0, until: lease, now: self.start) == nil, "leased twice")
        let second = try #require(
            try await take(0, until: lease.advanced(bySeconds: 10), now: lease), "a lapsed lease held")
        try await store.releaseSession(first)
        #expect(try await !store.removeSession(first), "a lapsed lease removed a session that another holds")
        #expect(try await take(0, until: lease, now: self.start) == nil, "a lapsed lease ended another's")
        try await store.releaseSession(second)
        #expect(try await take(0, until: lease, now: self.start) != nil)
        #expect(
            try await store.completeRefresh(id: "s", generation: 1, email: "e@x", answer: "sealed", now: lease))
        #expect(
            try await !store.completeRefresh(id: "s", generation: 1, email: "x", answer: "late", now: self.start),
            "a late refresh replaced the one that counts")
        row = try #require(try await store.session(id: "s"))
        #expect(
            (row.generation, row.email, row.answer, row.leaseUntil, row.refreshedAt) == (1, "e@x", "sealed", nil, lease)
        )
        #expect(try await take(0, until: lease, now: self.start) == nil, "an old generation was leased")
        let newer = try #require(try await take(4, until: lease, now: self.start), "a newer generation was not")
        #expect(try await store.removeSession(newer))
        #expect(try await store.session(id: "s") == nil)
        #expect(try await !store.completeRefresh(id: "s", generation: 5, email: nil, answer: "x", now: lease))
        try await store.insertSession(SessionRow(id: "t", subject: "u", email: nil, at: self.start))
        try await store.removeSession(id: "t")
        #expect(try await store.session(id: "t") == nil)
    }

    static func races(_ store: any GatewayStore) async throws {
        let later = self.start.advanced(bySeconds: 100)
        let start = self.start
        _ = try await store.insert("v", forKey: "once", expiresAt: later, now: start)
        let winners = try await withThrowingTaskGroup(of: Bool.self) { group in
            for _ in 0..<20 { group.addTask { try await store.remove("v", forKey: "once", now: start) } }
            return try await group.reduce(0) { $0 + ($1 ? 1 : 0) }
        }
        #expect(winners == 1, "consumed \(winners) times")
        let counts = try await withThrowingTaskGroup(of: Int.self) { group in
            for _ in 0..<30 { group.addTask { try await store.increment("n", window: .seconds(50), now: start) } }
            return try await group.reduce(into: Set<Int>()) { $0.insert($1) }
        }
        #expect(counts == Set(1...30))
    }

    static func sweeping(_ store: any GatewayStore) async throws {
        _ = try await store.insert("v", forKey: "old", expiresAt: self.start, now: self.start.advanced(bySeconds: -5))
        _ = try await store.insert("v", forKey: "new", expiresAt: self.start.advanced(bySeconds: 5), now: self.start)
        try await store.insertSession(
            SessionRow(id: "old", subject: "u", email: nil, at: self.start.advanced(bySeconds: -91 * 86400)))
        try await store.insertSession(SessionRow(id: "new", subject: "u", email: nil, at: self.start))
        try await store.sweep(now: self.start)
        #expect(try await store.value(forKey: "old", now: self.start.advanced(bySeconds: -1)) == nil)
        #expect(try await store.value(forKey: "new", now: self.start) == "v")
        #expect(try await store.session(id: "old") == nil)
        #expect(try await store.session(id: "new") != nil)
    }

    static let all: [(name: String, check: @Sendable (any GatewayStore) async throws -> Void)] = [
        ("rates", rates), ("revocations", revocations), ("key values", keyValues), ("counters", counters),
        ("sessions", sessions),
        ("races", races),
        ("sweeping", sweeping),
    ]
}

@Suite("The SQLite store")
struct SQLiteStoreTests {
    @Test("conforms", arguments: StoreConformance.all.map(\.name))
    func conforms(_ name: String) async throws {
        try await TestStores.withSQLite { store in
            for entry in StoreConformance.all where entry.name == name { try await entry.check(store) }
        }
    }

    @Test("keeps what was written when it is opened again")
    func persists() async throws {
        let path = NSTemporaryDirectory() + "/store-\(RandomToken.make()).sqlite"
        defer { for suffix in ["", "-wal", "-shm"] { try? FileManager.default.removeItem(atPath: path + suffix) } }
        let now = Timestamp.now
        let first = try SQLiteStore(path: path)
        try await first.migrate { _ in }
        _ = try await first.insert("v", forKey: "k", expiresAt: now.advanced(bySeconds: 60), now: now)
        await first.close()
        let second = try SQLiteStore(path: path)
        try await second.migrate { line in Issue.record("migrated again: \(line)") }
        #expect(try await second.value(forKey: "k", now: now) == "v")
        await second.close()
    }

    @Test("says that a path cannot be used")
    func saysWhatIsWrong() {
        #expect(throws: StoreError.self) { try SQLiteStore(path: "/nonexistent/folder/store.sqlite") }
    }
}

@Suite("The PostgreSQL store", .enabled(if: TestStores.postgresURL != nil, "scripts/test starts a server"))
struct PostgresStoreTests {
    @Test("conforms", arguments: StoreConformance.all.map(\.name))
    func conforms(_ name: String) async throws {
        try await TestStores.withPostgres { store, _ in
            for entry in StoreConformance.all where entry.name == name { try await entry.check(store) }
        }
    }

    @Test("is migrated once by many replicas at the same time")
    func migratesOnce() async throws {
        let schema = try await TestStores.makeSchema()
        let url = TestStores.url(schema: schema)
        try await withThrowingTaskGroup(of: Void.self) { group in
            for _ in 0..<6 {
                group.addTask {
                    let store = PostgresStore(settings: StoreSettings(backend: .postgres(url: url)), url: url) { _ in }
                    try await store.migrate { _ in }
                    await store.close()
                }
            }
            try await group.waitForAll()
        }
        let count = try await TestStores.psql("SELECT count(*) FROM \(schema).gateway_migrations")
        await TestStores.drop(schema: schema)
        #expect(count == String(Migration.all.count))
    }

    @Test("has the documented table and columns")
    func hasDocumentedNames() async throws {
        try await TestStores.withPostgres { _, schema in
            let columns = try await TestStores.psql(
                "SELECT string_agg(column_name || ' ' || data_type, ',' ORDER BY ordinal_position) FROM information_schema.columns WHERE table_schema = '\(schema)' AND table_name = 'kv'"
            )
            #expect(columns == "key text,value text,expires_at timestamp with time zone")
        }
    }

    @Test("recovers when the server drops its connections")
    func recovers() async throws {
        let schema = try await TestStores.makeSchema()
        let url = Secret(TestStores.url(schema: schema).reveal() + "&application_name=\(schema)")
        let store = PostgresStore(settings: StoreSettings(backend: .postgres(url: url)), url: url) { _ in }
        try await store.ping()
        let killed = try await TestStores.psql(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = '\(schema)'")
        #expect(killed != "0")
        let isBack = try await eventually {
            do {
                try await store.ping()
                return true
            } catch is StoreError {
                return false
            }
        }
        #expect(isBack)
        await store.close()
        await TestStores.drop(schema: schema)
    }

    @Test("bounds the time of a statement that hangs")
    func boundsHangingStatements() async throws {
        try await TestStores.withPostgres { store, schema in
            let url = TestStores.url(schema: schema)
            let locker = PostgresStore(settings: StoreSettings(backend: .postgres(url: url)), url: url) { _ in }
            let now = Timestamp.now
            _ = try await store.insert("v", forKey: "k", expiresAt: now.advanced(bySeconds: 60), now: now)
            try await TestStores.locking("\(schema).kv") {
                await #expect(throws: StoreError.timedOut) { try await locker.value(forKey: "k", now: now) }
            }
            await locker.close()
        }
    }

    @Test("says what is wrong without the password")
    func keepsThePasswordOut() async throws {
        let url = Secret("postgres://nobody:hunter2secret@127.0.0.1:1/none")
        let store = PostgresStore(settings: StoreSettings(backend: .postgres(url: url)), url: url) { reason in
            #expect(!(reason ?? "").contains("hunter2secret"))
        }
        let error = await #expect(throws: StoreError.self) { try await store.ping() }
        #expect(error?.description.contains("hunter2secret") == false)
        #expect(error?.description.contains("unavailable") == true)
        await store.close()
    }
}
