// SPDX-License-Identifier: Apache-2.0

import GatewayCore
import GatewayStore
import Logging
import Synchronization
import TestSupport
import Testing

@testable import GatewayMetering

/// A real SQLite store behind a line that a test can cut, block and listen to.
final class TroubledStore: SpendStore, SQLStore {
    enum Mood: Sendable {
        case well
        case failing(StoreError)
        /// Calls wait for the next mood before they reach the store.
        case hanging
        /// Calls reach the store at once, and wait for the next mood with its answer.
        case late
    }

    enum Call: Sendable {
        case reading
        case booking
    }

    private struct State {
        var moods: [Call: Mood] = [:]
        var held: [Call: [CheckedContinuation<Void, Never>]] = [:]
        var ended: [Call: Int] = [:]
        var readings: [[String]] = []
        var bookings: [(entries: [SpendEntry], sightings: [PrincipalSighting], at: ContinuousClock.Instant)] = []
        var refuses: (@Sendable (SpendEntry) -> StoreError?)?
    }

    let real: SQLiteStore
    private let state = Mutex(State())

    init(_ real: SQLiteStore) {
        self.real = real
    }

    func set(_ call: Call, _ mood: Mood) {
        let held = self.state.withLock { state in
            state.moods[call] = mood
            return state.held.updateValue([], forKey: call) ?? []
        }
        for continuation in held { continuation.resume() }
    }

    /// Bookings with such an entry fail as a whole.
    func refuse(_ refuses: @escaping @Sendable (SpendEntry) -> StoreError?) {
        self.state.withLock { $0.refuses = refuses }
    }

    /// The principals of each query so far.
    var readings: [[String]] { self.state.withLock { $0.readings } }
    var bookings: [(entries: [SpendEntry], sightings: [PrincipalSighting], at: ContinuousClock.Instant)] {
        self.state.withLock { $0.bookings }
    }
    /// Calls that have been answered.
    func ended(_ call: Call) -> Int { self.state.withLock { $0.ended[call] ?? 0 } }
    /// Calls that wait.
    func held(_ call: Call) -> Int { self.state.withLock { $0.held[call]?.count ?? 0 } }

    private func run<Value: Sendable>(_ call: Call, _ body: () async throws -> Value) async throws -> Value {
        func mood() -> Mood { self.state.withLock { $0.moods[call] ?? .well } }
        defer { self.state.withLock { $0.ended[call, default: 0] += 1 } }
        var answer: Value?
        while true {
            switch mood() {
            case .well:
                if let answer { return answer }
                return try await body()
            case .failing(let error): throw error
            case .hanging: break
            case .late: if answer == nil { answer = try await body() }
            }
            await withCheckedContinuation { continuation in
                let isOver = self.state.withLock { state -> Bool in
                    switch state.moods[call] ?? .well {
                    case .well, .failing: return true
                    case .hanging, .late:
                        state.held[call, default: []].append(continuation)
                        return false
                    }
                }
                if isOver { continuation.resume() }
            }
        }
    }

    // MARK: What may be in trouble

    func book(
        _ entries: [SpendEntry], _ sightings: [PrincipalSighting], asking question: SpendQuestion?, mayRepeat: Bool,
        now: Timestamp,
    ) async throws -> SpendBooking {
        let refuses = self.state.withLock { state in
            state.bookings.append((entries, sightings, .now))
            return state.refuses
        }
        return try await self.run(.booking) {
            if let error = entries.lazy.compactMap({ refuses?($0) }).first { throw error }
            return try await self.real.book(
                entries, sightings, asking: question, mayRepeat: mayRepeat, now: now)
        }
    }

    func spendState(principals: [String], groups: [String], now: Timestamp) async throws -> SpendState {
        self.state.withLock { $0.readings.append(principals.sorted()) }
        return try await self.run(.reading) {
            try await self.real.spendState(principals: principals, groups: groups, now: now)
        }
    }

    // MARK: What is always well

    var dialect: SQLDialect { self.real.dialect }

    func transaction<Value: Sendable>(
        timeout: Duration, _ body: @escaping @Sendable (any SQLSession) throws -> Value,
    ) async throws -> Value {
        try await self.real.transaction(timeout: timeout, body)
    }

    func reading<Value: Sendable>(
        timeout: Duration, _ body: @escaping @Sendable (any SQLSession) throws -> Value,
    ) async throws -> Value {
        try await self.real.reading(timeout: timeout, body)
    }
}

/// Everything that works on a store, over one that can be troubled.
struct SpendWorkshop: Sendable {
    let store: TroubledStore
    let guardian: SpendGuard
    let exposure: SpendExposure
    let holds: SpendHolds
    let logged: CapturedLog

    static func with<Value>(_ body: (SpendWorkshop) async throws -> Value) async throws -> Value {
        try await TestStores.withSQLite { try await body(SpendWorkshop(TroubledStore($0))) }
    }

    private init(_ store: TroubledStore) {
        self.store = store
        self.logged = CapturedLog()
        self.exposure = SpendExposure()
        self.guardian = SpendGuard(store: store, exposure: self.exposure, log: self.logged.logger)
        self.holds = SpendHolds(store: store, log: self.logged.logger)
    }

    func ledger(_ journal: SpendJournal?) -> SpendLedger {
        SpendLedger(
            store: self.store, journal: journal, exposure: self.exposure, guardian: self.guardian, holds: self.holds,
            watch: SpendWatch(),
            log: self.logged.logger)
    }

    /// Asks the guard, at once or later.
    func ask(_ principal: String, groups: [String] = []) async -> SpendReading? {
        let caller = SpendCaller(principal: principal, groups: groups)
        return await Answer.of { done in
            switch self.guardian.read(caller, done) {
            case .known(let reading, _): done(reading)
            case .unavailable: done(nil)
            case .later: break
            }
        }.flatMap { $0 }
    }

    /// This month's spend of a developer, as the store's counters say.
    func spend(_ principal: String) async throws -> Int64 {
        let now = Timestamp.now
        let state = try await self.store.real.spendState(principals: [principal], groups: [], now: now)
        return state.spend(of: principal, .monthly, at: now).nanodollars
    }

    static func entry(_ principal: String, _ nanodollars: Int64, model: String = "m", pool: String? = nil) -> SpendEntry
    {
        var entry = SpendEntry(
            at: .now, principal: principal, requestID: "r-\(RandomToken.make().prefix(8))", model: model,
            upstream: "up", upstreamModel: model, amount: Money(nanodollars: nanodollars))
        entry.pool = pool
        return entry
    }

    /// An entry that another replica books.
    static func bookable(_ principal: String, _ nanodollars: Int64, pool: String? = nil) -> SpendEntry {
        var entry = self.entry(principal, nanodollars, pool: pool)
        entry.id = TimeOrderedID.make()
        return entry
    }

    func put(_ scope: SpendScope, _ period: SpendPeriod, _ amount: Int64?, pool: Int64? = nil) async throws {
        let limit = SpendFixtures.limit(scope, period, amount, pool: pool)
        _ = try await self.store.upsertLimit(scope, period, actor: "test", reason: nil, now: .now) { _ in limit }
    }
}

/// What a callback is called with. One that is never called fails the test and does not stop it.
enum Answer {
    private final class Slot<Value: Sendable>: Sendable {
        private let continuation = Mutex<CheckedContinuation<Value?, Never>?>(nil)

        init(_ continuation: CheckedContinuation<Value?, Never>) {
            self.continuation.withLock { $0 = continuation }
        }

        /// - Returns: Whether nobody has before.
        func fill(_ value: Value?) -> Bool {
            let continuation = self.continuation.withLock { slot in
                defer { slot = nil }
                return slot
            }
            continuation?.resume(returning: value)
            return continuation != nil
        }
    }

    /// - Returns: `nil` when none has come within half a minute.
    static func of<Value: Sendable>(_ body: (@escaping @Sendable (Value) -> Void) -> Void) async -> Value? {
        await withCheckedContinuation { continuation in
            let slot = Slot<Value>(continuation)
            let timer = Task {
                try await Task.sleep(for: .seconds(30))
                if slot.fill(nil) { Issue.record("no answer has come") }
            }
            body { value in
                timer.cancel()
                if !slot.fill(value) { Issue.record("answered twice, or after half a minute") }
            }
        }
    }
}

/// Counts across tasks.
final class Tally: Sendable {
    private let value = Atomic<Int64>(0)

    var count: Int64 { self.value.load(ordering: .sequentiallyConsistent) }

    /// - Returns: The new count.
    @discardableResult
    func add(_ amount: Int64 = 1) -> Int64 { self.value.add(amount, ordering: .sequentiallyConsistent).newValue }
}

/// Keeps what is logged.
final class CapturedLog: Sendable {
    private let lines = Mutex<[String]>([])

    var logger: Logger { Logger(label: "test") { _ in Handler(log: self) } }

    func lines(_ part: String) -> [String] { self.lines.withLock { $0.filter { $0.contains(part) } } }

    private struct Handler: LogHandler {
        let log: CapturedLog
        var logLevel = Logger.Level.debug
        var metadata: Logger.Metadata = [:]

        subscript(metadataKey key: String) -> Logger.Metadata.Value? {
            get { self.metadata[key] }
            set { self.metadata[key] = newValue }
        }

        func log(event: LogEvent) {
            let metadata = (event.metadata ?? [:]).sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" }
            self.log.lines.withLock { $0.append("\(event.level) \(event.message) \(metadata)") }
        }
    }
}

@Suite("The spend guard")
struct SpendGuardTests {
    private func spend(_ reading: SpendReading?, _ principal: String) -> Int64? {
        reading?.state.spend(of: principal, .monthly, at: .now).nanodollars
    }

    // MARK: Shared queries

    @Test("asks once for all checks that come while a query is under way, and tells each its own")
    func sharesQueries() async throws {
        try await SpendWorkshop.with { shop async throws in
            let names = (0..<50).map { "u\($0)" }
            try await shop.store.book(
                names.map { SpendWorkshop.bookable($0, Int64($0.dropFirst()) ?? 0) }, [], now: .now)
            shop.store.set(.reading, .hanging)
            let readings = Mutex<[(String, SpendReading?)]>([])
            func check(_ name: String) {
                let caller = SpendCaller(principal: name, groups: [])
                let answer = shop.guardian.read(caller) { reading in readings.withLock { $0.append((name, reading)) } }
                guard case .later = answer else {
                    Issue.record("\(name) was told something before the store has answered")
                    return
                }
            }
            check("u0")
            #expect(await eventually { shop.store.held(.reading) == 1 })
            // Twice each, the one that has asked first too.
            for name in names + names { check(name) }
            shop.store.set(.reading, .well)
            #expect(await eventually { readings.withLock(\.count) == 101 })
            for (name, reading) in readings.withLock({ $0 }) {
                #expect(self.spend(reading, name) == Int64(name.dropFirst()))
                let others = reading?.state.spend.keys.filter { $0 != name } ?? []
                #expect(others.isEmpty, "\(name) was told of \(others)")
            }
            #expect(shop.store.readings == [["u0"], names.sorted()])
        }
    }

    @Test("serves an answer again, until it is old: then another replica's booking shows")
    func servesAgain() async throws {
        try await SpendWorkshop.with { shop async throws in
            let wasServed = await eventually {
                _ = await shop.ask("u")
                let before = shop.store.readings.count
                let caller = SpendCaller(principal: "u", groups: [])
                guard case .known = shop.guardian.read(caller, { _ in }) else { return false }
                return shop.store.readings.count == before
            }
            #expect(wasServed, "every check had a query of its own")
            try await shop.store.book([SpendWorkshop.bookable("u", 7)], [], now: .now)
            #expect(await eventually { self.spend(await shop.ask("u"), "u") == 7 })
        }
    }

    /// What a second check is served that comes in the very moment in which a first one's answer is there; `nil` when
    /// the store must be asked.
    private func serve(
        _ shop: SpendWorkshop, _ first: SpendCaller, _ second: SpendCaller,
        after change: @escaping @Sendable () -> Void = {},
    ) async -> SpendReading? {
        @Sendable func next() -> SpendReading? {
            change()
            guard case .known(let reading, _) = shop.guardian.read(second, { _ in }) else { return nil }
            return reading
        }
        return await Answer.of { done in
            if case .later = shop.guardian.read(first, { _ in done(next()) }) { return }
            done(next())
        }.flatMap { $0 }
    }

    private let developer = SpendCaller(principal: "u", groups: [])

    @Test("does not serve an answer to a developer whose groups have changed")
    func respectsGroups() async throws {
        try await SpendWorkshop.with { shop async throws in
            try await shop.put(.group("b"), .daily, 5)
            for _ in 0..<20 {
                let others = SpendCaller(principal: "u", groups: ["b"])
                #expect(await self.serve(shop, self.developer, others) == nil)
                #expect(await shop.ask("u", groups: ["b"])?.state.limits.map(\.scope) == [.group("b")])
                #expect(await shop.ask("u", groups: ["a"])?.state.limits.isEmpty == true)
            }
        }
    }

    @Test("answers every one of many checks, while bookings, changes of limits and short outages go on")
    func answersAll() async throws {
        try await SpendWorkshop.with { shop async throws in
            let ledger = shop.ledger(nil)
            let answered = Tally()
            try await withThrowingTaskGroup(of: Void.self) { group in
                for task in 0..<16 {
                    group.addTask {
                        for round in 0..<100 {
                            let name = "u\((task + round) % 10)"
                            _ = await shop.ask(name, groups: round % 7 == 0 ? ["g"] : [])
                            answered.add()
                            if round % 5 == 0 { ledger.record(SpendWorkshop.entry(name, 1)) }
                            if round % 20 == 0 { shop.guardian.forget() }
                        }
                    }
                }
                try await group.waitForAll()
            }
            #expect(answered.count == 1600)
            await ledger.close(within: .seconds(10))
            let sums = try await withThrowingTaskGroup(of: Int64.self) { group in
                for index in 0..<10 { group.addTask { try await shop.spend("u\(index)") } }
                return try await group.reduce(0, +)
            }
            #expect(sums == 16 * 20)
            // Every developer's next answer knows all of it.
            #expect(await eventually { self.spend(await shop.ask("u3"), "u3") == (try? await shop.spend("u3")) })
        }
    }

    // MARK: Outages

    @Test("gives up on a store that hangs once, answers at once from then on, and recovers by itself")
    func survivesHanging() async throws {
        try await SpendWorkshop.with { shop async throws in
            try await shop.store.book([SpendWorkshop.bookable("u", 9)], [], now: .now)
            shop.store.set(.reading, .hanging)
            async let first = shop.ask("u")
            #expect(await eventually { shop.store.held(.reading) == 1 })
            // Who comes meanwhile shares the wait that is left.
            async let second = shop.ask("v")
            let (one, two) = await (first, second)
            #expect(one == nil && two == nil)
            for index in 0..<200 {
                let caller = SpendCaller(principal: "u\(index)", groups: [])
                guard case .unavailable = shop.guardian.read(caller, { _ in Issue.record("answered twice") }) else {
                    Issue.record("check \(index) was made to wait")
                    break
                }
            }
            let ofDevelopers = shop.store.readings.filter { !$0.isEmpty }
            #expect(ofDevelopers.count == 1, "requests have asked a store that is away")
            #expect(shop.logged.lines("spend limits cannot be read").count == 1)
            shop.store.set(.reading, .well)
            #expect(await eventually { self.spend(await shop.ask("u"), "u") == 9 })
            #expect(await eventually { shop.logged.lines("can be read again").count == 1 })
        }
    }

    @Test("answers at once when the store fails, and does not ask it for every request")
    func survivesFailing() async throws {
        try await SpendWorkshop.with { shop async throws in
            _ = await shop.ask("u")
            shop.store.set(.reading, .failing(.unavailable("gone")))
            shop.guardian.forget()
            #expect(await shop.ask("u") == nil)
            let before = shop.store.readings.filter { !$0.isEmpty }.count
            for _ in 0..<100 { #expect(await shop.ask("u") == nil) }
            #expect(shop.store.readings.filter { !$0.isEmpty }.count == before)
            #expect(shop.logged.lines("gone").count == 1)
            shop.store.set(.reading, .well)
            #expect(await eventually { await shop.ask("u") != nil })
        }
    }

    @Test("does not let a query that hangs through the outage be an answer afterwards")
    func ignoresLateAnswers() async throws {
        try await SpendWorkshop.with { shop async throws in
            shop.store.set(.reading, .late)
            #expect(await shop.ask("u") == nil)
            try await shop.put(.user("u"), .daily, 0)
            shop.store.set(.reading, .well)
            #expect(await eventually { await shop.ask("u") != nil })
            #expect(await shop.ask("u")?.state.limits.count == 1)
        }
    }

    // MARK: Changes

    @Test("asks again when limits have changed")
    func forgets() async throws {
        try await SpendWorkshop.with { shop async throws in
            #expect(
                await eventually { await self.serve(shop, self.developer, self.developer) != nil },
                "nothing is served, so that this shows nothing")
            for round in 1...20 {
                #expect(await self.serve(shop, self.developer, self.developer) { shop.guardian.forget() } == nil)
                try await shop.put(.user("u"), .daily, Int64(round))
                shop.guardian.forget()
                #expect(await shop.ask("u")?.state.limits.map(\.amount) == [Int64(round)])
            }
        }
    }

    @Test("does not keep an answer that was asked for before limits changed")
    func forgetsWhatIsUnderWay() async throws {
        try await SpendWorkshop.with { shop async throws in
            for round in Int64(1)...10 {
                shop.store.set(.reading, .late)
                async let served = self.serve(shop, self.developer, self.developer)
                #expect(await eventually { shop.store.held(.reading) == 1 })
                try await shop.put(.user("u"), .daily, round)
                shop.guardian.forget()
                shop.store.set(.reading, .well)
                #expect(await served == nil)
                #expect(await shop.ask("u")?.state.limits.map(\.amount) == [round])
                // So that the next round begins with a query.
                shop.guardian.forget()
            }
        }
    }

    @Test("shows a booking of this process at once")
    func learns() async throws {
        try await SpendWorkshop.with { shop async throws in
            var sum: Int64 = 0
            for round in Int64(1)...20 {
                _ = await shop.ask("u")
                let booking = try await shop.store.book([SpendWorkshop.bookable("u", round)], [], now: .now)
                shop.guardian.learn(booking.totals)
                sum += round
                #expect(self.spend(await shop.ask("u"), "u") == sum)
            }
            // And what is served from before it has it too.
            var totals = SpendTotals()
            totals.spend = ["u": [SpendPeriod.monthly.key(at: .now): Money(nanodollars: 1_000_000)]]
            let wasServed = await eventually {
                let reading = await self.serve(shop, self.developer, self.developer) { [totals] in
                    shop.guardian.learn(totals)
                }
                guard let reading else { return false }
                #expect(self.spend(reading, "u") == 1_000_000)
                return true
            }
            #expect(wasServed)
        }
    }

    @Test("says of each answer when it no longer stands: after a booking, a change of limits, an outage, a new answer")
    func standing() async throws {
        try await SpendWorkshop.with { shop async throws in
            let rules = SpendRules(mode: .minimum, blockedMessage: nil)
            func standing() async throws -> SpendReading.Standing {
                let reading = try #require(await shop.ask("u"))
                guard case .allowed(let allowance) = reading.verdict(self.developer, rules, requestID: RequestID())
                else {
                    throw StoreError.busy
                }
                let standing = try #require(allowance.standing)
                #expect(standing.isCurrent)
                return standing
            }
            var totals = SpendTotals()
            totals.spend = ["u": [SpendPeriod.monthly.key(at: .now): Money(nanodollars: 1)]]
            let booked = try await standing()
            shop.guardian.learn(totals)
            #expect(!booked.isCurrent)
            let other = try await standing()
            totals.spend = ["v": [SpendPeriod.monthly.key(at: .now): Money(nanodollars: 1)]]
            shop.guardian.learn(totals)
            #expect(other.isCurrent)
            totals.pools = ["g": [SpendPeriod.monthly.key(at: .now): Money(nanodollars: 1)]]
            shop.guardian.learn(totals)
            #expect(!other.isCurrent)
            let changed = try await standing()
            shop.guardian.forget()
            #expect(!changed.isCurrent)
            let replaced = try await standing()
            #expect(
                await eventually {
                    _ = await shop.ask("u")
                    return !replaced.isCurrent
                })
        }
    }

    @Test("shows a booking to all members of the pool that has paid")
    func learnsPools() async throws {
        try await SpendWorkshop.with { shop async throws in
            try await shop.put(.group("g"), .monthly, nil, pool: 10)
            for round in Int64(1)...20 {
                _ = await (shop.ask("u", groups: ["g"]), shop.ask("v", groups: ["g"]))
                let booking = try await shop.store.book([SpendWorkshop.bookable("u", 1, pool: "g")], [], now: .now)
                shop.guardian.learn(booking.totals)
                #expect(await shop.ask("v", groups: ["g"])?.state.pools["g"]?.nanodollars == round)
            }
            var totals = SpendTotals()
            totals.spend = ["u": [SpendPeriod.monthly.key(at: .now): Money(nanodollars: 1_000_000)]]
            totals.pools = ["g": [SpendPeriod.monthly.key(at: .now): Money(nanodollars: 1_000_000)]]
            let other = SpendCaller(principal: "v", groups: ["g"])
            let wasServed = await eventually {
                let reading = await self.serve(shop, other, other) { [totals] in shop.guardian.learn(totals) }
                guard let reading else { return false }
                #expect(reading.state.pools["g"]?.nanodollars == 1_000_000)
                #expect(self.spend(reading, "v") == 0)
                return true
            }
            #expect(wasServed)
        }
    }

    @Test("does not hide a booking behind an answer that was asked for before it")
    func mergesWhatIsUnderWay() async throws {
        try await SpendWorkshop.with { shop async throws in
            try await shop.put(.group("g"), .monthly, nil, pool: 10)
            try await shop.store.book([SpendWorkshop.bookable("u", 3)], [], now: .now)
            shop.store.set(.reading, .late)
            async let answer = shop.ask("u", groups: ["g"])
            #expect(await eventually { shop.store.held(.reading) == 1 })
            for _ in 0..<2 {
                let booking = try await shop.store.book([SpendWorkshop.bookable("u", 7, pool: "g")], [], now: .now)
                shop.guardian.learn(booking.totals)
            }
            shop.store.set(.reading, .well)
            let reading = await answer
            #expect(self.spend(reading, "u") == 17)
            #expect(reading?.state.pools["g"]?.nanodollars == 14)
            #expect(self.spend(await shop.ask("u", groups: ["g"]), "u") == 17)
        }
    }

    @Test("takes an answer that a booking has brought, unless limits have changed meanwhile")
    func renews() async throws {
        try await SpendWorkshop.with { shop async throws in
            #expect(shop.guardian.renewal(of: [SpendWorkshop.entry("u", 1)]) == nil, "nobody has asked about them")
            func renewal() async throws -> SpendGuard.Renewal {
                var found: SpendGuard.Renewal?
                _ = await eventually {
                    _ = await shop.ask("u", groups: ["g"])
                    found = shop.guardian.renewal(of: [SpendWorkshop.entry("u", 1), SpendWorkshop.entry("x", 1)])
                    return found != nil
                }
                return try #require(found)
            }
            func booked(_ renewal: SpendGuard.Renewal) async throws -> SpendState {
                let booking = try await shop.store.book(
                    [SpendWorkshop.bookable("u", 5)], [], asking: renewal.question, now: .now)
                return try #require(booking.state)
            }
            // Several times, because what is not asked for within milliseconds is asked from the store.
            let wasServed = await eventually {
                guard let first = try? await renewal(), let state = try? await booked(first) else { return false }
                #expect(first.question.principals == ["u"] && first.question.groups == ["g"])
                let queries = shop.store.readings.count
                shop.guardian.renew(first, state)
                let sum = self.spend(await shop.ask("u", groups: ["g"]), "u")
                #expect(sum == state.spend(of: "u", .monthly, at: .now).nanodollars)
                return shop.store.readings.count == queries
            }
            #expect(wasServed)

            let second = try await renewal()
            let state = try await booked(second)
            try await shop.put(.user("u"), .daily, 1)
            shop.guardian.forget()
            shop.guardian.renew(second, state)
            #expect(await shop.ask("u", groups: ["g"])?.state.limits.count == 1, "an answer from before the change")
        }
    }

    @Test("reads anew for those who want to see")
    func readsAnew() async throws {
        try await SpendWorkshop.with { shop async throws in
            for round in Int64(1)...5 {
                _ = await shop.ask("u")
                try await shop.store.book([SpendWorkshop.bookable("u", 1)], [], now: .now)
                let state = await shop.guardian.read(SpendCaller(principal: "u", groups: []))
                #expect(state?.spend(of: "u", .monthly, at: .now).nanodollars == round)
            }
            shop.store.set(.reading, .failing(.timedOut))
            #expect(await shop.guardian.read(SpendCaller(principal: "u", groups: [])) == nil)
        }
    }

    // MARK: Bounds

    @Test("of a wait ends it with the answer, the failure or the bound, whichever comes first")
    func bounded() async throws {
        #expect(try await Bounded.run(within: .seconds(60)) { 5 } == 5)
        await #expect(throws: StoreError.busy) {
            try await Bounded.run(within: .seconds(60)) { () async throws -> Int in throw StoreError.busy }
        }
        let release = AsyncStream<Void>.makeStream()
        await #expect(throws: Bounded.TimedOut.self) {
            try await Bounded.run(within: .milliseconds(20)) {
                for await _ in release.stream {}
                return 5
            }
        }
        release.continuation.finish()
    }
}
