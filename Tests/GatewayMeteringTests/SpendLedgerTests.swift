// SPDX-License-Identifier: Apache-2.0

import Foundation
import GatewayCore
import GatewayStore
import Synchronization
import TestSupport
import Testing

@testable import GatewayMetering

/// A folder of a test's own, and what is in it.
private struct JournalFolder: Sendable {
    let base = NSTemporaryDirectory() + "/journal-\(RandomToken.make())"
    var path: String { self.base + "/spend" }

    static func with<Value>(_ body: (JournalFolder) async throws -> Value) async throws -> Value {
        let folder = JournalFolder()
        try FileManager.default.createDirectory(atPath: folder.base, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: folder.base) }
        return try await body(folder)
    }

    var files: [String] {
        ((try? FileManager.default.contentsOfDirectory(atPath: self.path)) ?? []).sorted().map { "\(self.path)/\($0)" }
    }

    /// The lines of all files.
    var lines: [String] {
        self.files.flatMap { path -> [String] in
            let bytes = FileManager.default.contents(atPath: path) ?? Data()
            return bytes.split(separator: 0x0A).map { String(decoding: $0, as: UTF8.self) }
        }
    }

    var entries: [SpendEntry] {
        self.lines.compactMap { line in (try? JSONValue(parsing: line)).flatMap(SpendEntry.init(json:)) }
    }

    func journal(_ ledger: String = "db") -> SpendJournal { SpendJournal(folder: self.path, ledger: ledger) }

    /// Writes into a file as a process does that is stopped in the middle.
    func append(_ text: String, to path: String) throws {
        let handle = try #require(FileHandle(forWritingAtPath: path))
        try handle.seekToEnd()
        try handle.write(contentsOf: Data(text.utf8))
        try handle.close()
    }
}

@Suite("The spend journal")
struct SpendJournalTests {
    private func entries(_ range: Range<Int>) -> [SpendEntry] { range.map { SpendWorkshop.bookable("u", Int64($0)) } }

    private struct Failed: Error {}

    /// Everything that a replay hands over.
    private func replay(_ journal: SpendJournal) async throws -> [SpendEntry] {
        var found: [SpendEntry] = []
        let count = try await journal.replay { found += $0 }
        #expect(count == found.count)
        return found
    }

    @Test("hands back what was appended, once, and leaves nothing behind")
    func replays() async throws {
        try await JournalFolder.with { folder async throws in
            let journal = folder.journal()
            #expect(try await self.replay(journal) == [])
            #expect(folder.files.isEmpty)
            let entries = self.entries(0..<1201)
            try journal.append(Array(entries[..<700]))
            try journal.append(Array(entries[700...]))
            #expect(folder.files.count == 1)
            #expect(journal.size == (FileManager.default.contents(atPath: folder.files[0])?.count))
            #expect(try await self.replay(journal) == entries)
            #expect(folder.files.isEmpty)
            #expect(journal.size == 0)
            #expect(try await self.replay(journal) == [])
            // And begins anew.
            try journal.append([entries[0]])
            #expect(try await self.replay(journal) == [entries[0]])
        }
    }

    @Test("is nobody else's to read")
    func permissions() async throws {
        try await JournalFolder.with { folder async throws in
            try folder.journal().append(self.entries(0..<1))
            func mode(_ path: String) throws -> Int? {
                try FileManager.default.attributesOfItem(atPath: path)[.posixPermissions] as? Int
            }
            #expect(try mode(folder.path) == 0o700)
            #expect(try mode(folder.files[0]) == 0o600)
        }
    }

    @Test("stays as it is when booking fails, and hands everything over again")
    func staysOnFailure() async throws {
        try await JournalFolder.with { folder async throws in
            let journal = folder.journal()
            let entries = self.entries(0..<1100)
            try journal.append(entries)
            var calls = 0
            await #expect(throws: Failed.self) {
                try await journal.replay { part in
                    #expect(part.count <= 500)
                    calls += 1
                    if calls == 2 { throw Failed() }
                }
            }
            #expect(folder.entries == entries)
            #expect(try await self.replay(journal) == entries)
        }
    }

    @Test("of a process that was killed is taken over by the next one")
    func takesOver() async throws {
        try await JournalFolder.with { folder async throws in
            let entries = self.entries(0..<3)
            do {
                // The file outlives its journal as it outlives a killed process: unlocked.
                let killed = folder.journal()
                try killed.append(entries)
            }
            #expect(folder.files.count == 1)
            let next = folder.journal()
            let own = self.entries(3..<5)
            try next.append(own)
            #expect(try await self.replay(next) == entries + own)
            #expect(folder.files.isEmpty)
        }
    }

    @Test("of a process that runs is left alone")
    func respectsLocks() async throws {
        try await JournalFolder.with { folder async throws in
            let running = folder.journal()
            let entries = self.entries(0..<3)
            try running.append(entries)
            #expect(try await self.replay(folder.journal()) == [])
            #expect(folder.entries == entries)
            #expect(try await self.replay(running) == entries)
        }
    }

    @Test("of another database is left alone")
    func respectsLedgers() async throws {
        try await JournalFolder.with { folder async throws in
            let entries = self.entries(0..<3)
            do { try folder.journal("one").append(entries) }
            for other in ["two", "on", "onee", ""] {
                #expect(try await self.replay(folder.journal(other)) == [], "\(other)")
            }
            #expect(folder.entries == entries)
            #expect(try await self.replay(folder.journal("one")) == entries)
        }
    }

    @Test("ignores a last line that was cut in two, and lines that are none")
    func ignoresTornLines() async throws {
        try await JournalFolder.with { folder async throws in
            let entries = self.entries(0..<3)
            do {
                let killed = folder.journal()
                try killed.append(entries)
                let line = String(decoding: entries[0].json.bytes(), as: UTF8.self)
                try folder.append("{}\nnull\n\n\0\0\0\n" + line.prefix(line.count - 5), to: folder.files[0])
            }
            #expect(try await self.replay(folder.journal()) == entries)
            #expect(folder.files.isEmpty, "what cannot be read is read for ever")
        }
    }

    @Test("keeps the line behind one that a full disk has cut in two")
    func survivesPartialWrites() async throws {
        try await JournalFolder.with { folder async throws in
            let journal = folder.journal()
            let entries = self.entries(0..<3)
            try journal.append([entries[0]])
            // What a write leaves that runs out of space: its beginning.
            let line = String(decoding: entries[1].json.bytes(), as: UTF8.self)
            try folder.append(String(line.prefix(50)), to: folder.files[0])
            try journal.append([entries[2]])
            let found = try await self.replay(journal)
            #expect(found == [entries[0], entries[2]])
        }
    }

    @Test("of several killed processes are all taken over, also when booking fails at first")
    func takesOverAll() async throws {
        try await JournalFolder.with { folder async throws in
            let entries = self.entries(0..<6)
            for index in 0..<3 { try folder.journal().append(Array(entries[(index * 2)..<(index * 2 + 2)])) }
            #expect(folder.files.count == 3)
            let next = folder.journal()
            for _ in 0..<2 {
                await #expect(throws: Failed.self) { try await next.replay { _ in throw Failed() } }
            }
            let found = try await self.replay(next).map(\.id).sorted()
            #expect(found == entries.map(\.id).sorted())
            #expect(folder.files.isEmpty)
        }
    }

    @Test("hands over what is appended while it is read back, and loses nothing of it")
    func appendsWhileReplaying() async throws {
        try await JournalFolder.with { folder async throws in
            let journal = folder.journal()
            let entries = self.entries(0..<2000)
            try journal.append(Array(entries[..<1000]))
            var (next, found) = (1000, [SpendEntry]())
            for _ in 0..<20 {
                _ = try await journal.replay { part in
                    found += part
                    if next < entries.count { try journal.append(Array(entries[next..<(next + 100)])) }
                    next = min(entries.count, next + 100)
                }
            }
            #expect(found == entries)
            #expect(folder.files.isEmpty)
        }
    }

    @Test("loses nothing to appends from other threads while it is read back")
    func racesWithAppends() async throws {
        try await JournalFolder.with { folder async throws in
            let journal = folder.journal()
            let entries = self.entries(0..<3000)
            let appending = Task {
                for first in stride(from: 0, to: entries.count, by: 50) {
                    try journal.append(Array(entries[first..<(first + 50)]))
                }
            }
            var found: [String: Int] = [:]
            let isComplete = try await eventually {
                _ = try await journal.replay { for entry in $0 { found[entry.id, default: 0] += 1 } }
                return found.count == entries.count
            }
            try await appending.value
            #expect(isComplete, "\(found.count) of \(entries.count) came back")
        }
    }

    @Test("says that its folder cannot be used")
    func saysWhatIsWrong() async throws {
        try await JournalFolder.with { folder async throws in
            #expect(FileManager.default.createFile(atPath: folder.path, contents: nil))
            let journal = folder.journal()
            let error = #expect(throws: SpendJournal.Failure.self) { try journal.append(self.entries(0..<1)) }
            #expect(error?.description.contains(folder.path) == true)
            #expect(try await self.replay(journal) == [])
            // A folder that can be used again is.
            try FileManager.default.removeItem(atPath: folder.path)
            let entries = self.entries(0..<2)
            try journal.append(entries)
            #expect(try await self.replay(journal) == entries)
        }
    }
}

@Suite("The spend ledger")
struct SpendLedgerTests {
    /// Waits until the store's counter of this month says so.
    private func isBooked(_ shop: SpendWorkshop, _ principal: String, _ amount: Int64) async -> Bool {
        await eventually { (try? await shop.spend(principal)) == amount }
    }

    /// A ledger whose first booking hangs: what is recorded meanwhile waits for the next one.
    private func busyLedger(_ shop: SpendWorkshop, _ principal: String, _ journal: SpendJournal? = nil) async
        -> SpendLedger
    {
        let ledger = shop.ledger(journal)
        shop.store.set(.booking, .hanging)
        ledger.record(SpendWorkshop.entry(principal, 1))
        #expect(await eventually { shop.store.held(.booking) == 1 })
        return ledger
    }

    private func ledgerRows(_ shop: SpendWorkshop) async throws -> [String] {
        try await shop.store.real.reading(timeout: .seconds(5)) { session in
            try session.rows("SELECT count(*), sum(requests), sum(nanodollars) FROM spend_ledger", []).map { row in
                row.map { $0 ?? "-" }.joined(separator: "|")
            }
        }
    }

    private static let everybody: PrincipalQuery = {
        var query = PrincipalQuery()
        query.limit = 100_000
        return query
    }()

    private let gone = StoreError.unavailable("gone")

    // MARK: Writes

    @Test("writes all that has ended during a write in one more")
    func gathers() async throws {
        try await SpendWorkshop.with { shop async throws in
            let ledger = await self.busyLedger(shop, "u")
            for index in 0..<500 { ledger.record(SpendWorkshop.entry("u\(index)", 1)) }
            shop.store.set(.booking, .well)
            await ledger.close(within: .seconds(10))
            #expect(shop.store.bookings.map(\.entries.count) == [1, 500])
            #expect(try await self.ledgerRows(shop) == ["501|501|501"])
        }
    }

    @Test("makes one entry of answers that differ in nothing but their size, up to a thousand")
    func merges() async throws {
        try await SpendWorkshop.with { shop async throws in
            let ledger = await self.busyLedger(shop, "first")
            // All in one minute, wherever the clock stands.
            let start = SpendWorkshop.entry("u", 1).at
            for index in 0..<2500 {
                var entry = SpendWorkshop.entry("u", 1, model: index % 5 == 4 ? "n" : "m")
                entry.at = start
                ledger.record(entry)
            }
            var alone = SpendWorkshop.entry("u", 1)
            alone.undecidedPools = ["g"]
            for _ in 0..<3 { ledger.record(alone) }
            shop.store.set(.booking, .well)
            await ledger.close(within: .seconds(10))
            let entries = shop.store.bookings.dropFirst().flatMap(\.entries)
            #expect(entries.map(\.requests) == [1000, 500, 1000, 1, 1, 1])
            #expect(entries.map(\.amount.nanodollars) == [1000, 500, 1000, 1, 1, 1])
            #expect(Set(entries.map(\.id)).count == 6, "two entries have one id")
            #expect(try await shop.spend("u") == 2503)
        }
    }

    @Test("makes few entries of answers whose upstreams, minutes and groups take turns")
    func mergesInTurns() async throws {
        try await SpendWorkshop.with { shop async throws in
            let ledger = await self.busyLedger(shop, "first")
            let start = SpendWorkshop.entry("u", 1).at
            for index in 0..<800 {
                var entry = SpendWorkshop.entry("u", 1)
                entry.at = Timestamp(milliseconds: start.milliseconds - Int64(index / 2 % 2) * 60_000)
                entry.upstream = index % 2 == 0 ? "up" : "other"
                entry.billingGroup = index / 4 % 2 == 0 ? nil : "g"
                ledger.record(entry)
            }
            shop.store.set(.booking, .well)
            await ledger.close(within: .seconds(10))
            let entries = shop.store.bookings.dropFirst().flatMap(\.entries)
            #expect(entries.map(\.requests) == Array(repeating: 100, count: 8))
        }
    }

    @Test("hands no more than a thousand entries to one write")
    func boundsBatches() async throws {
        try await SpendWorkshop.with { shop async throws in
            let ledger = await self.busyLedger(shop, "first")
            for index in 0..<2100 { ledger.record(SpendWorkshop.entry("u\(index)", 1)) }
            shop.store.set(.booking, .well)
            await ledger.close(within: .seconds(30))
            #expect(shop.store.bookings.map(\.entries.count) == [1, 1000, 1000, 100])
        }
    }

    @Test("begins at most fifty writes a second, whatever the load and its pauses")
    func boundsWrites() async throws {
        try await SpendWorkshop.with { shop async throws in
            let ledger = shop.ledger(nil)
            let start = ContinuousClock.now
            var recorded = 0
            while shop.store.bookings.count < 20, ContinuousClock.now - start < .seconds(30) {
                ledger.record(SpendWorkshop.entry("u", 1))
                recorded += 1
                if recorded % 100 == 0 { await ledger.flush(within: .seconds(5)) } else { await Task.yield() }
            }
            let bookings = shop.store.bookings
            #expect(bookings.count >= 20)
            for (index, booking) in bookings.enumerated() {
                #expect(booking.at - start >= .milliseconds(20) * index, "write \(index) came too early")
            }
            await ledger.close(within: .seconds(10))
            #expect(try await shop.spend("u") == Int64(recorded))
        }
    }

    @Test("adds up what many tasks record at the same time")
    func concurrentRecords() async throws {
        try await SpendWorkshop.with { shop async throws in
            let ledger = shop.ledger(nil)
            await withTaskGroup(of: Void.self) { group in
                for task in 0..<20 {
                    group.addTask {
                        for round in 0..<100 {
                            ledger.record(SpendWorkshop.entry("u\(round % 3)", Int64(task)))
                            if round % 10 == 0 { await Task.yield() }
                        }
                    }
                }
            }
            await ledger.close(within: .seconds(10))
            #expect(try await shop.spend("u0") == 34 * 190)
            #expect(try await shop.spend("u1") == 33 * 190)
            #expect(try await self.ledgerRows(shop).first?.hasSuffix("|2000|19000") == true)
        }
    }

    @Test("tells the guard of what it has booked, so that the next check knows")
    func tellsTheGuard() async throws {
        try await SpendWorkshop.with { shop async throws in
            let ledger = shop.ledger(nil)
            for round in Int64(1)...10 {
                _ = await shop.ask("u")
                ledger.record(SpendWorkshop.entry("u", 1))
                await ledger.flush(within: .seconds(10))
                let reading = await shop.ask("u")
                #expect(reading?.state.spend(of: "u", .monthly, at: .now).nanodollars == round)
            }
        }
    }

    @Test("frees the exposure of what it has booked, kept or lost")
    func freesExposure() async throws {
        try await SpendWorkshop.with { shop async throws in
            try await JournalFolder.with { folder async throws in
                let ledger = shop.ledger(folder.journal())
                let left = Money(nanodollars: 1)
                func isFree(_ name: String) -> Bool {
                    let counter = shop.exposure.counter(ofPrincipal: name)
                    let taking = shop.exposure.take(
                        left, principal: counter, remaining: left, pool: ("g-" + name, left))
                    if case .taken(let share) = taking {
                        shop.exposure.release(share)
                        return true
                    }
                    return false
                }
                func run(_ name: String) throws {
                    let counter = shop.exposure.counter(ofPrincipal: name)
                    let taking = shop.exposure.take(left, principal: counter, remaining: nil, pool: ("g-" + name, nil))
                    guard case .taken(let share) = taking else { throw StoreError.busy }
                    shop.exposure.settle(share, Money(nanodollars: 9))
                    var entry = SpendWorkshop.entry(name, 9, pool: "g-" + name)
                    entry.isExposed = true
                    #expect(!isFree(name))
                    ledger.record(entry)
                }
                try run("booked")
                #expect(await eventually { isFree("booked") })
                // Refused for good: the store will never have it.
                shop.store.refuse { $0.principal == "bad" ? .refused(sqlState: "22003", "too large") : nil }
                try run("bad")
                #expect(await eventually { isFree("bad") })
                shop.store.refuse { _ in nil }
                shop.store.set(.booking, .failing(self.gone))
                try run("kept")
                #expect(await eventually { isFree("kept") })
                shop.store.set(.booking, .well)
                #expect(await self.isBooked(shop, "kept", 9))
                #expect(isFree("kept"))
                await ledger.close(within: .seconds(10))
            }
        }
    }

    // MARK: Sightings

    @Test("notes a developer once in half a minute, and again when something about him is new")
    func notes() async throws {
        try await SpendWorkshop.with { shop async throws in
            let ledger = shop.ledger(nil)
            let now = SpendFixtures.now
            func note(_ seconds: Int64, groups: [String] = ["g"], email: String? = "u@x", name: String? = nil) {
                ledger.note(
                    Principal(subject: "u", email: email, name: name, groups: groups),
                    now: Timestamp(seconds: now.seconds + seconds))
            }
            func expect(_ count: Int, at location: SourceLocation = #_sourceLocation) async {
                await ledger.flush(within: .seconds(10))
                // A slow machine's write was taken for an outage, in which sightings are not kept.
                guard shop.logged.lines("spend cannot be booked").isEmpty else { return }
                #expect(shop.store.bookings.map(\.sightings.count).reduce(0, +) == count, sourceLocation: location)
            }
            note(0)
            await expect(1)
            for second in Int64(0)..<30 { note(second) }
            await expect(1)
            note(30)
            await expect(2)
            note(31, groups: ["g", "h"])
            note(32, groups: ["g", "h"], email: "new@x")
            note(33, groups: ["g", "h"], email: "new@x", name: "U")
            await expect(5)
            let identity = try await shop.store.identities(["u"])["u"]
            let wasDown = !shop.logged.lines("spend cannot be booked").isEmpty
            #expect(wasDown || identity == PrincipalIdentity(email: "new@x", name: "U", groups: ["g", "h"]))
            // The groups of a day are a day's own.
            let midnight = 86_400 - now.seconds % 86_400
            note(midnight - 1)
            note(midnight)
            await expect(7)
        }
    }

    // MARK: Outages

    @Test("keeps on the disk what a store that is away cannot take, and books it once when it is back")
    func survivesOutage() async throws {
        try await SpendWorkshop.with { shop async throws in
            try await JournalFolder.with { folder async throws in
                let journal = folder.journal()
                let ledger = shop.ledger(journal)
                shop.store.set(.booking, .failing(self.gone))
                shop.store.set(.reading, .failing(self.gone))
                for index in 0..<30 { ledger.record(SpendWorkshop.entry("u\(index % 3)", Int64(index))) }
                await ledger.flush(within: .seconds(10))
                #expect(folder.entries.map(\.amount.nanodollars).reduce(0, +) == 435)
                let attempts = shop.store.bookings.count
                for _ in 0..<30 { ledger.record(SpendWorkshop.entry("u0", 1)) }
                await ledger.flush(within: .seconds(10))
                #expect(shop.store.bookings.count == attempts, "the store is asked for every request")
                #expect(shop.logged.lines("spend cannot be booked").count == 1)
                shop.store.set(.reading, .well)
                shop.store.set(.booking, .well)
                #expect(await eventually { folder.files.isEmpty && journal.size == 0 })
                #expect(await eventually { shop.logged.lines("the store answers again").count == 1 })
                #expect(try await shop.spend("u0") == 135 + 30)
                #expect(try await shop.spend("u1") == 145)
                #expect(try await shop.spend("u2") == 155)
                // And goes on as before.
                ledger.record(SpendWorkshop.entry("u1", 5))
                #expect(await self.isBooked(shop, "u1", 150))
                #expect(await eventually { folder.files.isEmpty })
                await ledger.close(within: .seconds(10))
            }
        }
    }

    @Test("books once what the store had taken although its answer was lost")
    func survivesLostAnswers() async throws {
        try await SpendWorkshop.with { shop async throws in
            try await JournalFolder.with { folder async throws in
                let ledger = shop.ledger(folder.journal())
                shop.store.set(.booking, .late)
                ledger.record(SpendWorkshop.entry("u", 7, pool: "g"))
                #expect(await eventually { shop.store.held(.booking) == 1 })
                shop.store.set(.booking, .failing(self.gone))
                #expect(await eventually { shop.store.ended(.booking) == 1 })
                await ledger.flush(within: .seconds(10))
                #expect(folder.entries.count >= 1)
                #expect(try await shop.spend("u") == 7)
                shop.store.set(.booking, .well)
                #expect(await eventually { folder.files.isEmpty })
                #expect(try await shop.spend("u") == 7)
                #expect(try await self.ledgerRows(shop) == ["1|1|7"])
                await ledger.close(within: .seconds(10))
            }
        }
    }

    @Test("keeps on the disk what a slow write holds, and books it once when that goes through")
    func survivesSlowWrites() async throws {
        try await SpendWorkshop.with { shop async throws in
            try await JournalFolder.with { folder async throws in
                let journal = folder.journal()
                let ledger = shop.ledger(journal)
                shop.store.set(.booking, .late)
                ledger.record(SpendWorkshop.entry("u", 7))
                #expect(await eventually { journal.size > 0 }, "a write that hangs is nowhere but in memory")
                shop.store.set(.booking, .well)
                #expect(await eventually { folder.files.isEmpty })
                #expect(try await shop.spend("u") == 7)
                #expect(try await self.ledgerRows(shop) == ["1|1|7"])
                await ledger.close(within: .seconds(10))
            }
        }
    }

    @Test("books once what a slow write holds that fails in the end")
    func survivesSlowFailures() async throws {
        try await SpendWorkshop.with { shop async throws in
            try await JournalFolder.with { folder async throws in
                let journal = folder.journal()
                let ledger = shop.ledger(journal)
                shop.store.set(.booking, .hanging)
                ledger.record(SpendWorkshop.entry("u", 7))
                #expect(await eventually { journal.size > 0 })
                shop.store.set(.booking, .failing(.timedOut))
                #expect(await eventually { shop.store.ended(.booking) == 1 })
                await ledger.flush(within: .seconds(10))
                shop.store.set(.booking, .well)
                #expect(await eventually { folder.files.isEmpty })
                let spend = try await shop.spend("u")
                #expect(spend == 7)
                await ledger.close(within: .seconds(10))
            }
        }
    }

    @Test("books what a killed process has left, before anything of its own")
    func takesOver() async throws {
        try await SpendWorkshop.with { shop async throws in
            try await JournalFolder.with { folder async throws in
                let name = try await shop.store.ledgerName()
                do {
                    let killed = SpendJournal(folder: folder.path, ledger: name)
                    let entries = (1...3).map { SpendWorkshop.bookable("u", Int64($0), pool: "g") }
                    try killed.append(entries)
                    // One of them had been booked when the process was killed.
                    try await shop.store.book([entries[1]], [], now: .now)
                }
                try SpendJournal(folder: folder.path, ledger: "other").append([SpendWorkshop.bookable("u", 1000)])
                let ledger = shop.ledger(SpendJournal(folder: folder.path, ledger: name))
                #expect(try await ledger.replay() == 3)
                #expect(try await shop.spend("u") == 6)
                #expect(try await ledger.replay() == 0)
                #expect(folder.entries.map(\.amount.nanodollars) == [1000], "another database's was touched")
                await ledger.close(within: .seconds(10))
            }
        }
    }

    @Test("leaves a journal as it is while the store is away at the start")
    func startsWithoutStore() async throws {
        try await SpendWorkshop.with { shop async throws in
            try await JournalFolder.with { folder async throws in
                do { try folder.journal().append([SpendWorkshop.bookable("u", 5)]) }
                let ledger = shop.ledger(folder.journal())
                shop.store.set(.booking, .failing(self.gone))
                await #expect(throws: StoreError.self) { try await ledger.replay() }
                #expect(folder.entries.count == 1)
                shop.store.set(.booking, .well)
                #expect(try await ledger.replay() == 1)
                #expect(try await shop.spend("u") == 5)
            }
        }
    }

    @Test("keeps in memory what neither the store nor the disk can take, and books it in the end")
    func survivesWithoutDisk() async throws {
        try await SpendWorkshop.with { shop async throws in
            try await JournalFolder.with { folder async throws in
                // Where the folder should be there is a file.
                #expect(FileManager.default.createFile(atPath: folder.path, contents: nil))
                let ledger = shop.ledger(folder.journal())
                shop.store.set(.booking, .failing(self.gone))
                shop.store.set(.reading, .failing(self.gone))
                for index in 0..<50 { ledger.record(SpendWorkshop.entry("u\(index % 5)", 1)) }
                #expect(await eventually { shop.logged.lines("spend cannot be booked").count == 1 })
                for index in 0..<50 { ledger.record(SpendWorkshop.entry("u\(index % 5)", 1)) }
                shop.store.set(.reading, .well)
                shop.store.set(.booking, .well)
                for index in 0..<5 { #expect(await self.isBooked(shop, "u\(index)", 20)) }
                #expect(shop.logged.lines("spend is lost").isEmpty)
                await ledger.close(within: .seconds(10))
            }
        }
    }

    @Test("books in the end what a slow write held that failed, although no disk could take it meanwhile")
    func survivesSlowFailuresWithoutDisk() async throws {
        try await SpendWorkshop.with { shop async throws in
            let ledger = shop.ledger(nil)
            shop.store.set(.booking, .hanging)
            ledger.record(SpendWorkshop.entry("u", 7))
            #expect(await eventually { shop.logged.lines("spend cannot be booked").count == 1 })
            shop.store.set(.booking, .failing(.timedOut))
            #expect(await eventually { shop.store.ended(.booking) == 1 })
            ledger.record(SpendWorkshop.entry("v", 1))
            shop.store.set(.booking, .well)
            #expect(await self.isBooked(shop, "v", 1))
            await ledger.close(within: .seconds(10))
            let spend = try await shop.spend("u")
            #expect(spend == 7)
        }
    }

    @Test("moves from memory to the disk when that can be written again")
    func recoversDisk() async throws {
        try await SpendWorkshop.with { shop async throws in
            try await JournalFolder.with { folder async throws in
                #expect(FileManager.default.createFile(atPath: folder.path, contents: nil))
                let ledger = shop.ledger(folder.journal())
                shop.store.set(.booking, .failing(self.gone))
                shop.store.set(.reading, .failing(self.gone))
                for index in 0..<5 { ledger.record(SpendWorkshop.entry("u\(index)", Int64(index))) }
                #expect(await eventually { shop.logged.lines("spend cannot be booked").count == 1 })
                try FileManager.default.removeItem(atPath: folder.path)
                #expect(await eventually { folder.entries.count == 5 })
                #expect(folder.entries.map(\.principal) == ["u0", "u1", "u2", "u3", "u4"])
                await ledger.close(within: .seconds(10))
            }
        }
    }

    // MARK: Refusals

    @Test("books the others when the store refuses one of many, and names the lost one")
    func survivesRefusals() async throws {
        try await SpendWorkshop.with { shop async throws in
            try await JournalFolder.with { folder async throws in
                let ledger = shop.ledger(folder.journal())
                shop.store.refuse { $0.principal == "bad" ? .refused(sqlState: "22003", "out of range") : nil }
                for name in ["u", "bad", "v"] { ledger.record(SpendWorkshop.entry(name, 12_345_678)) }
                ledger.note(Principal(subject: "u", email: "u@x"), now: .now)
                await ledger.close(within: .seconds(10))
                #expect(try await shop.spend("u") == 12_345_678)
                #expect(try await shop.spend("v") == 12_345_678)
                #expect(try await shop.spend("bad") == 0)
                #expect(try await shop.store.identities(["u"])["u"]?.email == "u@x")
                let lines = shop.logged.lines("refused to book")
                #expect(lines.count == 1)
                #expect(lines.first?.contains("sub=bad") == true && lines.first?.contains("cents=1.2345678") == true)
                #expect(folder.files.isEmpty, "what will never be booked is kept for ever")
            }
        }
    }

    @Test("gives a reservation back whose answer the store refuses for good")
    func releasesHoldsOfRefused() async throws {
        try await SpendWorkshop.with { shop async throws in
            let now = Timestamp.now
            let hold = SpendHold(
                id: TimeOrderedID.make(), requestID: "r", principal: "bad", pool: nil, amount: Money(nanodollars: 9),
                expiresAt: Timestamp(milliseconds: now.milliseconds + 60_000))
            try await shop.store.hold(SpendQuestion(principals: ["bad"], groups: []), now: now) { _ in [hold] }
            func held() async throws -> String? {
                try await shop.store.reading(timeout: .seconds(5)) {
                    try $0.rows("SELECT count(*) FROM spend_holds", [])[0][0]
                }
            }
            #expect(try await held() == "1")
            shop.store.refuse { _ in .refused(sqlState: "22003", "out of range") }
            let ledger = shop.ledger(nil)
            var entry = SpendWorkshop.entry("bad", 5)
            entry.hold = hold.id
            ledger.record(entry)
            #expect(try await eventually { try await held() == "0" })
            await ledger.close(within: .seconds(10))
        }
    }

    @Test("books the others of a journal when the store refuses one of them, and gets over the outage")
    func survivesRefusalsInJournal() async throws {
        try await SpendWorkshop.with { shop async throws in
            try await JournalFolder.with { folder async throws in
                let ledger = shop.ledger(folder.journal())
                shop.store.set(.booking, .failing(self.gone))
                for name in ["u", "bad", "v"] { ledger.record(SpendWorkshop.entry(name, 5)) }
                await ledger.flush(within: .seconds(10))
                #expect(folder.entries.count == 3)
                shop.store.refuse { $0.principal == "bad" ? .refused(sqlState: "22003", "out of range") : nil }
                shop.store.set(.booking, .well)
                // Longer than several attempts take.
                #expect(await eventually { folder.files.isEmpty })
                #expect(try await shop.spend("u") == 5)
                #expect(try await shop.spend("v") == 5)
                #expect(shop.logged.lines("sub=bad").count == 1)
                await ledger.close(within: .seconds(10))
            }
        }
    }

    @Test(
        "takes a refusal that passes for an outage", arguments: ["40001", "40P01", "53300", "57014", "25006", "55P03"])
    func survivesTransientRefusals(_ state: String) async throws {
        try await SpendWorkshop.with { shop async throws in
            try await JournalFolder.with { folder async throws in
                let ledger = shop.ledger(folder.journal())
                let isOver = Tally()
                shop.store.refuse { _ in isOver.count == 0 ? .refused(sqlState: state, "try again") : nil }
                shop.store.set(.reading, .failing(self.gone))
                for name in ["u", "v"] { ledger.record(SpendWorkshop.entry(name, 3)) }
                #expect(await eventually { folder.entries.count == 2 })
                #expect(shop.logged.lines("refused to book").isEmpty)
                isOver.add()
                shop.store.set(.reading, .well)
                #expect(await eventually { folder.files.isEmpty })
                for name in ["u", "v"] { #expect(await self.isBooked(shop, name, 3)) }
                await ledger.close(within: .seconds(10))
            }
        }
    }

    // MARK: The end

    @Test("books everything before it closes")
    func closes() async throws {
        try await SpendWorkshop.with { shop async throws in
            try await JournalFolder.with { folder async throws in
                let ledger = shop.ledger(folder.journal())
                let names = (0..<200).map { "u\($0)" }
                for name in names { ledger.record(SpendWorkshop.entry(name, 1)) }
                await ledger.close(within: .seconds(30))
                let booked = try await shop.store.principals(Self.everybody)
                let wasDown = !shop.logged.lines("spend cannot be booked").isEmpty
                if wasDown {
                    // A slow machine's write was taken for an outage.
                    #expect(Set(booked + folder.entries.map(\.principal)) == Set(names))
                } else {
                    #expect(Set(booked) == Set(names))
                    #expect(folder.files.isEmpty)
                }
            }
        }
    }

    @Test("keeps everything when it closes during an outage, for the next process")
    func closesDuringOutage() async throws {
        try await SpendWorkshop.with { shop async throws in
            try await JournalFolder.with { folder async throws in
                do {
                    let ledger = shop.ledger(folder.journal())
                    shop.store.set(.booking, .failing(self.gone))
                    shop.store.set(.reading, .failing(self.gone))
                    for index in 0..<20 { ledger.record(SpendWorkshop.entry("u\(index)", 1)) }
                    await ledger.close(within: .seconds(10))
                }
                #expect(folder.entries.count == 20)
                #expect(shop.logged.lines("spend is lost").isEmpty)
                shop.store.set(.booking, .well)
                shop.store.set(.reading, .well)
                // The closed ledger no longer tries; the next process does, once the first one's lock is gone.
                let next = shop.ledger(folder.journal())
                let count = Tally()
                #expect(await eventually { count.add(Int64((try? await next.replay()) ?? 0)) == 20 })
                #expect(try await self.ledgerRows(shop) == ["20|20|20"])
                #expect(folder.files.isEmpty)
            }
        }
    }

    @Test("keeps everything when it closes while a write hangs")
    func closesDuringHang() async throws {
        try await SpendWorkshop.with { shop async throws in
            try await JournalFolder.with { folder async throws in
                let ledger = await self.busyLedger(shop, "first", folder.journal())
                for index in 0..<5 { ledger.record(SpendWorkshop.entry("u\(index)", 1)) }
                await ledger.close(within: .seconds(2))
                #expect(Set(folder.entries.map(\.principal)) == ["first", "u0", "u1", "u2", "u3", "u4"])
                shop.store.set(.booking, .well)
            }
        }
    }

    @Test("keeps what a write holds also when it closes sooner than that is taken for an outage")
    func closesAtOnce() async throws {
        try await SpendWorkshop.with { shop async throws in
            try await JournalFolder.with { folder async throws in
                let ledger = await self.busyLedger(shop, "u", folder.journal())
                await ledger.close(within: .zero)
                let kept = folder.entries.count
                #expect(kept == 1)
                shop.store.set(.booking, .well)
            }
        }
    }

    @Test("names what is lost when it closes and can keep it nowhere")
    func closesWithoutAnything() async throws {
        try await SpendWorkshop.with { shop async throws in
            let ledger = shop.ledger(nil)
            shop.store.set(.booking, .failing(self.gone))
            shop.store.set(.reading, .failing(self.gone))
            let entry = SpendWorkshop.entry("u", 10_500_000)
            ledger.record(entry)
            #expect(await eventually { shop.logged.lines("spend cannot be booked").count == 1 })
            await ledger.close(within: .milliseconds(100))
            let lines = shop.logged.lines("spend is lost")
            #expect(lines.count >= 1)
            #expect(lines.first?.contains(entry.requestIDs[0]) == true)
            #expect(lines.first?.contains("cents=1.05") == true && lines.first?.contains("sub=u") == true)
        }
    }
}
