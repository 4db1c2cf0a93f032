// SPDX-License-Identifier: Apache-2.0

import Foundation
import GatewayCore
import GatewayStore
import Synchronization
import TestSupport
import Testing

@testable import GatewayMetering

@Suite("Spend exposure")
struct SpendExposureTests {
    private func money(_ nanodollars: Int64) -> Money { Money(nanodollars: nanodollars) }

    private struct Full: Error {}

    /// Takes a share, or throws.
    private func take(
        _ exposure: SpendExposure, _ amount: Int64, left: Int64?, of principal: String = "u",
        pool: (String, Int64?)? = nil,
    ) throws -> SpendExposure.Share {
        let taking = exposure.take(
            self.money(amount), principal: exposure.counter(ofPrincipal: principal), remaining: left.map(self.money),
            pool: pool.map { ($0.0, $0.1.map(self.money)) })
        guard case .taken(let share) = taking else { throw Full() }
        return share
    }

    // MARK: Taking and giving back

    @Test("lets requests begin until what runs may use up what is left, and never refuses the first")
    func takes() throws {
        let exposure = SpendExposure()
        // Nothing runs: any one request passes, also one that is larger than what is left.
        let first = try self.take(exposure, 500, left: 100)
        #expect(throws: Full.self) { try self.take(exposure, 1, left: 100) }
        // Other developers and other limits have nothing to do with it.
        _ = try self.take(exposure, 1, left: 100, of: "v")
        _ = try self.take(exposure, 1, left: nil)
        exposure.release(first)
        _ = try self.take(exposure, 98, left: 100)
        // 99 of 100 may be used: one more may begin.
        _ = try self.take(exposure, 500, left: 100)
        #expect(throws: Full.self) { try self.take(exposure, 1, left: 100) }
    }

    @Test("counts what a request did cost until it is booked")
    func settles() throws {
        let exposure = SpendExposure()
        let share = try self.take(exposure, 500, left: 100)
        exposure.settle(share, self.money(60))
        let second = try self.take(exposure, 40, left: 100)
        #expect(throws: Full.self) { try self.take(exposure, 1, left: 100) }
        var entry = SpendWorkshop.entry("u", 60)
        exposure.booked([entry])
        #expect(throws: Full.self, "an entry that was not exposed has freed something") {
            try self.take(exposure, 1, left: 100)
        }
        entry.isExposed = true
        exposure.booked([entry])
        // The store's counter has the 60 now.
        _ = try self.take(exposure, 1, left: 41)
        exposure.release(second)
    }

    @Test("ends at nothing, whatever came between")
    func balances() throws {
        let exposure = SpendExposure()
        let counter = exposure.counter(ofPrincipal: "u")
        for round in 0..<200 {
            var merged: SpendEntry?
            let shares = try (0..<5).map { try self.take(exposure, Int64($0 + round), left: nil, pool: ("g", nil)) }
            for (index, share) in shares.enumerated() {
                if index == 0 {
                    exposure.release(share)
                    continue
                }
                exposure.settle(share, self.money(Int64(index * 7)))
                var entry = SpendWorkshop.entry("u", Int64(index * 7), pool: "g")
                entry.isExposed = true
                if merged?.merge(entry) == nil { merged = entry }
            }
            exposure.booked([try #require(merged)])
            // Nothing runs, so that a request passes even where nothing is left.
            let share = try self.take(exposure, 5, left: 0, pool: ("g", 0))
            #expect(throws: Full.self) { try self.take(exposure, 5, left: 0) }
            exposure.release(share)
            #expect(exposure.counter(ofPrincipal: "u") === counter)
        }
    }

    @Test("holds the developer and the pool to what each has left")
    func pools() throws {
        let exposure = SpendExposure()
        let first = try self.take(exposure, 80, left: 1000, of: "u", pool: ("g", 50))
        #expect(throws: Full.self) { try self.take(exposure, 1, left: 1000, of: "v", pool: ("g", 50)) }
        // What was tried for nothing has left no trace on the developer.
        let other = try self.take(exposure, 1, left: 1, of: "v", pool: ("h", 50))
        exposure.release(other)
        _ = try self.take(exposure, 1, left: 1000, of: "v", pool: ("g", nil))
        exposure.release(first)
        _ = try self.take(exposure, 1, left: 1000, of: "w", pool: ("g", 50))
    }

    // MARK: Waiting

    @Test("calls who waits once when something has changed, and at once when nothing runs")
    func wakes() throws {
        let exposure = SpendExposure()
        let counter = exposure.counter(ofPrincipal: "u")
        let woken = Tally()
        counter.onChange { woken.add() }
        #expect(woken.count == 1, "nothing runs, so nothing would have come")
        let (first, second) = (try self.take(exposure, 10, left: nil), try self.take(exposure, 10, left: nil))
        counter.onChange { woken.add() }
        counter.onChange { woken.add() }
        #expect(woken.count == 1)
        exposure.release(first)
        #expect(woken.count == 3)
        exposure.settle(second, self.money(3))
        #expect(woken.count == 3, "called twice")
    }

    @Test("does not wake who waits for a request to end when another one has only tried")
    func doesNotWakeForTries() throws {
        let exposure = SpendExposure()
        let running = try self.take(exposure, 100, left: 100, pool: ("g", 100))
        let woken = Tally()
        exposure.counter(ofPrincipal: "u").onChange { woken.add() }
        for _ in 0..<100 {
            #expect(throws: Full.self) { try self.take(exposure, 5, left: 100) }
            #expect(throws: Full.self) { try self.take(exposure, 5, left: nil, pool: ("g", 100)) }
        }
        #expect(woken.count == 0)
        exposure.release(running)
        #expect(woken.count == 1)
    }

    /// What the racing tasks share.
    private final class Track: Sendable {
        let exposure = SpendExposure()
        let granted = Tally()
        let highest = Mutex<Int64>(0)
        let finished = Tally()

        func grant(_ amount: Int64) {
            let sum = self.granted.add(amount)
            self.highest.withLock { $0 = max($0, sum) }
        }
    }

    enum Limited: String, CaseIterable {
        case developer
        case pool
        case both
    }

    @Test(
        "never grants more than what is left and one request, and lets everybody through", arguments: Limited.allCases)
    func race(_ limited: Limited) async {
        let track = Track()
        let (left, amount, tasks, rounds): (Int64, Int64, Int, Int) = (250, 100, 64, 100)
        for task in 0..<tasks {
            // Not in a group: should one wait for ever, the test must not.
            Task {
                let principal = track.exposure.counter(ofPrincipal: limited == .pool ? "u\(task)" : "u")
                for round in 0..<rounds {
                    while true {
                        let taking = track.exposure.take(
                            Money(nanodollars: amount), principal: principal,
                            remaining: limited == .pool ? nil : Money(nanodollars: left),
                            pool: limited == .developer ? nil : ("g", Money(nanodollars: left)))
                        if case .full(let counter) = taking {
                            await withCheckedContinuation { continuation in counter.onChange { continuation.resume() } }
                            continue
                        }
                        guard case .taken(let share) = taking else { return }
                        track.grant(amount)
                        if round % 3 == 0 { await Task.yield() }
                        track.granted.add(-amount)
                        if round % 2 == 0 {
                            track.exposure.release(share)
                        } else {
                            // It cost less, and is booked in a moment.
                            track.exposure.settle(share, Money(nanodollars: 10))
                            var entry = SpendWorkshop.entry(
                                limited == .pool ? "u\(task)" : "u", 10, pool: limited == .developer ? nil : "g")
                            entry.isExposed = true
                            track.exposure.booked([entry])
                        }
                        break
                    }
                }
                track.finished.add()
            }
        }
        let isOver = await eventually(within: .seconds(60)) { track.finished.count == tasks }
        #expect(isOver, "\(track.finished.count) of \(tasks) have got through")
        let highest = track.highest.withLock { $0 }
        #expect(highest <= left + amount, "\(highest) were granted at a time")
        #expect(highest > amount, "nothing ran at the same time, so that this shows nothing")
    }

    @Test("wakes who waits because of a try, when nothing else runs that could")
    func wakesAfterTries() async throws {
        let track = Track()
        // The pool is full for good.
        _ = try self.take(track.exposure, 100, left: nil, of: "v", pool: ("g", 100))
        let principal = track.exposure.counter(ofPrincipal: "u")
        Task {
            while track.finished.count == 0 {
                for _ in 0..<100 {
                    let taking = track.exposure.take(
                        Money(nanodollars: 10), principal: principal, remaining: nil,
                        pool: ("g", Money(nanodollars: 100)))
                    if case .taken = taking { Issue.record("a full pool was taken from") }
                }
                await Task.yield()
            }
        }
        // Until it has met enough tries; where threads do not run side by side it never does.
        let deadline = ContinuousClock.now + .seconds(3)
        Task {
            while track.granted.count < 300, ContinuousClock.now < deadline {
                switch track.exposure.take(
                    Money(nanodollars: 1), principal: principal, remaining: Money(nanodollars: 1), pool: nil)
                {
                case .taken(let share): track.exposure.release(share)
                case .full(let counter):
                    track.granted.add()
                    await withCheckedContinuation { continuation in counter.onChange { continuation.resume() } }
                }
            }
            track.finished.add()
        }
        let isOver = await eventually(within: .seconds(20)) { track.finished.count == 1 }
        #expect(isOver, "waits for ever, after \(track.granted.count) tries")
        if !isOver { track.finished.add() }
    }

    @Test("keeps counting what runs when very many others have come by, and forgets those")
    func manyCounters() throws {
        let exposure = SpendExposure()
        weak let forgotten = exposure.counter(ofPrincipal: "forgotten")
        #expect(forgotten != nil)
        // Both are known before the many; one runs already, the other begins when it may have been forgotten.
        let running = try self.take(exposure, 100, left: 100, of: "running")
        let idle = exposure.counter(ofPrincipal: "idle")
        for index in 0..<100_001 { _ = exposure.counter(ofPrincipal: "u\(index)") }
        #expect(forgotten == nil, "the memory that developers take is never given back")
        #expect(throws: Full.self) { try self.take(exposure, 1, left: 100, of: "running") }
        exposure.release(running)

        let taking = exposure.take(self.money(100), principal: idle, remaining: self.money(100), pool: nil)
        guard case .taken(let share) = taking else { throw Full() }
        exposure.settle(share, self.money(100))
        var entry = SpendWorkshop.entry("idle", 100)
        entry.isExposed = true
        exposure.booked([entry])
        // All is booked: one request begins, and a second one waits.
        _ = try self.take(exposure, 100, left: 100, of: "idle")
        #expect(throws: Full.self) { try self.take(exposure, 100, left: 100, of: "idle") }
    }
}

@Suite("Spend near a limit")
struct SpendNearLimitTests {
    private final class Outcomes: Sendable {
        private let list = Mutex<[SpendReservation]>([])

        func add(_ outcome: SpendReservation) { self.list.withLock { $0.append(outcome) } }
        var all: [SpendReservation] { self.list.withLock { $0 } }
        var grants: [SpendGrant] {
            self.all.compactMap { if case .granted(let grant) = $0 { grant } else { nil } }
        }
        var refusals: [SpendRefusal] {
            self.all.compactMap { if case .refused(let refusal) = $0 { refusal } else { nil } }
        }
    }

    private struct Blocked: Error {
        let refusal: SpendRefusal
    }

    private func control(
        _ shop: SpendWorkshop, _ ledger: SpendLedger, failsClosed: Bool = false, tag: String? = nil,
        audit: CapturingAudit = CapturingAudit(),
    ) -> SpendControl {
        var settings = AdminSettings()
        settings.billingGroupTag = tag
        return SpendControl(
            settings: settings, failsClosed: failsClosed, isExact: false,
            pricer: Pricer(PricingSettings()),
            services: SpendControl.Services(
                ledger: ledger, guardian: shop.guardian, exposure: shop.exposure, holds: shop.holds,
                watch: SpendWatch()),
            audit: audit, log: shop.logged.logger)
    }

    private func check(_ control: SpendControl, _ principal: Principal) async -> SpendVerdict {
        let verdict = await Answer.of { done in
            if let known = control.check(principal, requestID: RequestID(), done) { done(known) }
        }
        return verdict ?? .allowed(.unchecked)
    }

    private func allowance(_ control: SpendControl, _ principal: Principal) async throws -> SpendAllowance {
        switch await self.check(control, principal) {
        case .allowed(let allowance): return allowance
        case .blocked(let refusal): throw Blocked(refusal: refusal)
        }
    }

    /// Reserves; the outcome is in `outcomes` at once or later.
    private func reserve(
        _ control: SpendControl, _ principal: Principal, _ allowance: SpendAllowance, _ cents: Int64,
        billingGroup: String? = nil, into outcomes: Outcomes,
    ) {
        let outcome = control.reserve(
            principal, allowance, worstCase: Money(cents: cents), billingGroup: billingGroup, requestID: RequestID()
        ) { outcomes.add($0) }
        if let outcome { outcomes.add(outcome) }
    }

    private func record(_ control: SpendControl, _ principal: String, _ grant: SpendGrant, _ cents: Int64) {
        var entry = SpendWorkshop.entry(principal, cents * Money.perCent)
        control.record(&entry, grant, TokenUsage(), hasUsage: true, billing: .none)
    }

    private let developer = Principal(subject: "u")

    @Test("lets a second request wait until the first has ended, and then begin")
    func waits() async throws {
        try await SpendWorkshop.with { shop async throws in
            try await shop.put(.user("u"), .daily, 100)
            let control = self.control(shop, shop.ledger(nil))
            let allowance = try await self.allowance(control, self.developer)
            let (first, second) = (Outcomes(), Outcomes())
            self.reserve(control, self.developer, allowance, 100, into: first)
            self.reserve(control, self.developer, allowance, 100, into: second)
            #expect(first.grants.count == 1)
            #expect(second.all.isEmpty, "two requests of the whole limit have begun")
            control.release(first.grants[0])
            #expect(await eventually { second.grants.count == 1 })
            #expect(second.all.count == 1, "answered twice")
        }
    }

    @Test("refuses the second request when the first has used up what was left")
    func refusesAfterWait() async throws {
        try await SpendWorkshop.with { shop async throws in
            try await shop.put(.user("u"), .daily, 100)
            let audit = CapturingAudit()
            let control = self.control(shop, shop.ledger(nil), audit: audit)
            let allowance = try await self.allowance(control, self.developer)
            let (first, second) = (Outcomes(), Outcomes())
            self.reserve(control, self.developer, allowance, 150, into: first)
            self.reserve(control, self.developer, allowance, 1, into: second)
            self.record(control, "u", try #require(first.grants.first), 120)
            #expect(await eventually { second.all.count == 1 })
            #expect(second.refusals.first?.message.hasPrefix("spend limit reached · daily limit") == true)
            #expect(audit.events("spend.blocked").count == 1)
            guard case .blocked = await self.check(control, self.developer) else {
                Issue.record("a developer over the limit may begin")
                return
            }
        }
    }

    @Test("lets the second request begin when the first has cost less than it might have")
    func beginsAfterCheapRequest() async throws {
        try await SpendWorkshop.with { shop async throws in
            try await shop.put(.group("g"), .monthly, nil, pool: 100)
            let member = Principal(subject: "u", groups: ["g"])
            let control = self.control(shop, shop.ledger(nil))
            let allowance = try await self.allowance(control, member)
            let (first, second) = (Outcomes(), Outcomes())
            self.reserve(control, member, allowance, 150, into: first)
            self.reserve(control, member, allowance, 1, into: second)
            #expect(first.grants.first?.pool == "g")
            #expect(second.all.isEmpty, "the pool was not held to what it has left")
            self.record(control, "u", try #require(first.grants.first), 2)
            #expect(await eventually { second.grants.count == 1 })
        }
    }

    /// What one busy developer's requests come to.
    private final class Tallies: Sendable {
        let answered = Tally()
        let granted = Tally()
        let spent = Tally()
    }

    @Test("does not let a request begin on what was left before the last booking")
    func staleAllowances() async throws {
        try await SpendWorkshop.with { shop async throws in
            try await shop.put(.user("u"), .daily, 100)
            let ledger = shop.ledger(nil)
            let control = self.control(shop, ledger)
            // Both are checked; the second one's thread is late.
            let allowances = (
                try await self.allowance(control, self.developer), try await self.allowance(control, self.developer)
            )
            let (first, second) = (Outcomes(), Outcomes())
            self.reserve(control, self.developer, allowances.0, 100, into: first)
            self.record(control, "u", try #require(first.grants.first), 100)
            await ledger.flush(within: .seconds(10))
            self.reserve(control, self.developer, allowances.1, 100, into: second)
            #expect(await eventually { second.all.count == 1 })
            #expect(second.refusals.count == 1)
        }
    }

    @Test("is passed by less than one request, however many come at once, and everybody is answered")
    func neverOvershoots() async throws {
        try await SpendWorkshop.with { shop async throws in
            try await shop.put(.organization, .daily, 1000)
            let ledger = shop.ledger(nil)
            let control = self.control(shop, ledger)
            let tallies = Tallies()
            for index in 0..<60 {
                Task {
                    defer { tallies.answered.add() }
                    guard case .allowed(let allowance) = await self.check(control, self.developer) else { return }
                    let reservation = await Answer.of { done in
                        let outcome = control.reserve(
                            self.developer, allowance, worstCase: Money(cents: 100), billingGroup: nil,
                            requestID: RequestID(), done)
                        if let outcome { done(outcome) }
                    }
                    guard case .granted(let grant) = reservation else { return }
                    tallies.granted.add()
                    await Task.yield()
                    if index % 5 == 0 {
                        control.release(grant)
                    } else {
                        let cents = Int64(40 + index)
                        tallies.spent.add(cents)
                        self.record(control, "u", grant, cents)
                    }
                }
            }
            let isOver = await eventually(within: .seconds(60)) { tallies.answered.count == 60 }
            #expect(isOver, "\(tallies.answered.count) of 60 were answered")
            await ledger.close(within: .seconds(10))
            #expect(try await shop.spend("u") == tallies.spent.count * Money.perCent)
            #expect(tallies.spent.count >= 1000, "requests were refused although something was left")
            #expect(tallies.spent.count < 1100, "\(tallies.spent.count) cents were spent under a limit of 1000")
            #expect(tallies.granted.count > 10)
        }
    }

    @Test("does not matter to a developer without a limit")
    func unlimited() async throws {
        try await SpendWorkshop.with { shop async throws in
            let control = self.control(shop, shop.ledger(nil))
            let allowance = try await self.allowance(control, self.developer)
            let outcomes = Outcomes()
            for _ in 0..<50 { self.reserve(control, self.developer, allowance, .max, into: outcomes) }
            #expect(outcomes.grants.count == 50)
        }
    }

    @Test("passes requests unchecked while limits cannot be read, and lets a pool pay afterwards")
    func failsOpen() async throws {
        try await SpendWorkshop.with { shop async throws in
            try await shop.put(.user("u"), .daily, 0)
            try await shop.put(.group("g"), .monthly, nil, pool: 100)
            let ledger = shop.ledger(nil)
            let control = self.control(shop, ledger)
            let member = Principal(subject: "u", groups: ["g", "h"])
            shop.store.set(.reading, .failing(.unavailable("gone")))
            let allowance = try await self.allowance(control, member)
            #expect(allowance.headers.pairs.isEmpty)
            let outcomes = Outcomes()
            self.reserve(control, member, allowance, 100, into: outcomes)
            let grant = try #require(outcomes.grants.first)
            #expect((grant.pool, grant.undecided) == (nil, ["g", "h"]))
            self.record(control, "u", grant, 5)
            await ledger.close(within: .seconds(10))
            let state = try await shop.store.real.spendState(principals: ["u"], groups: ["g"], now: .now)
            #expect(state.pools == ["g": Money(cents: 5)])
            #expect(try await shop.spend("u") == 5 * Money.perCent)
        }
    }

    @Test("reserves at once only where nothing has to be asked or waited for")
    func reservesAtOnce() async throws {
        try await SpendWorkshop.with { shop async throws in
            try await shop.put(.user("u"), .daily, 100)
            let control = self.control(shop, shop.ledger(nil))
            var allowance = try await self.allowance(control, self.developer)
            let first = try #require(control.reserve(allowance, worstCase: Money(cents: 100)))
            #expect(first.pool == nil && first.share != nil)
            // Nothing is left beyond what the first may cost: the next one waits.
            #expect(control.reserve(allowance, worstCase: Money(cents: 1)) == nil)
            control.release(first)
            let second = try #require(control.reserve(allowance, worstCase: Money(cents: 1)))
            control.release(second)
            // Something else is known since.
            shop.guardian.forget()
            #expect(control.reserve(allowance, worstCase: Money(cents: 1)) == nil)
            allowance = try await self.allowance(control, self.developer)
            let third = try #require(
                control.reserve(allowance, worstCase: Money(cents: 100)), "what was tried for nothing is still counted")
            control.release(third)
            // Which of several pools pays depends on the request.
            try await shop.put(.group("g"), .monthly, nil, pool: 100)
            shop.guardian.forget()
            let member = Principal(subject: "u", groups: ["g"])
            allowance = try await self.allowance(control, member)
            #expect(control.reserve(allowance, worstCase: Money(cents: 1)) == nil)
            #expect(control.reserve(.unchecked, worstCase: Money(cents: 1)) == nil)
        }
    }

    @Test("books answers of one thread together, each once, when the thread hands them on")
    func gathers() async throws {
        try await SpendWorkshop.with { shop async throws in
            try await shop.put(.user("u"), .daily, 1_000_000)
            let ledger = shop.ledger(nil)
            let control = self.control(shop, ledger)
            let gathering = SpendGathering()
            let other = Principal(subject: "v")
            let sources = ["m", "n"].map { control.source(upstream: "up", upstreamModel: $0, modelID: $0) }
            let start = Timestamp(milliseconds: Timestamp.now.milliseconds / 60_000 * 60_000)
            func answer(_ principal: Principal, _ source: SpendSource, _ cents: Int64, after seconds: Double = 0)
                async throws -> String
            {
                let (id, at) = (RequestID(), start.advanced(bySeconds: seconds))
                let allowance = try await self.allowance(control, principal)
                let grant = try #require(control.reserve(allowance, worstCase: .zero))
                var amounts = SpendEntry.Amounts()
                (amounts.input, amounts.output, amounts.amount) = (10, 1, Money(cents: cents))
                let isGathered = control.gather(
                    gathering, principal, source, amounts, at: at, grant, requestID: id
                ) {
                    var entry = SpendEntry(
                        at: at, principal: principal.subject, requestID: id.description, model: source.modelID,
                        upstream: source.upstream, upstreamModel: source.upstreamModel, amount: .zero)
                    entry.amounts = amounts
                    return entry
                }
                #expect(isGathered)
                return id.description
            }
            var ids: [String] = []
            for index in 0..<100 {
                ids.append(try await answer(self.developer, sources[0], 1, after: Double(index % 50)))
            }
            _ = try await answer(self.developer, sources[1], 7)
            _ = try await answer(other, sources[0], 20)
            _ = try await answer(self.developer, sources[0], 400, after: 60)
            #expect(try await shop.spend("u") == 0, "something is booked before it was handed on")
            gathering.flush()
            gathering.flush()
            await ledger.flush(within: .seconds(10))
            #expect(try await shop.spend("u") == 507 * Money.perCent)
            #expect(try await shop.spend("v") == 20 * Money.perCent)
            let rows = try await shop.store.real.reading(timeout: .seconds(5)) { session in
                try session.rows(
                    """
                    SELECT principal, model, requests, input, output, nanodollars / 10000000, request_ids
                    FROM spend_ledger ORDER BY nanodollars
                    """, [])
            }
            #expect(
                rows.map { $0[..<6].map { $0 ?? "-" }.joined(separator: " ") } == [
                    "u n 1 10 1 7", "v m 1 10 1 20", "u m 100 1000 100 100", "u m 1 10 1 400",
                ])
            #expect(rows[2][6] == ids.prefix(SpendEntry.listedRequests).joined(separator: " "))
            // An answer may end behind the last turn.
            _ = try await answer(other, sources[0], 30)
            gathering.close()
            _ = try await answer(other, sources[0], 50)
            await ledger.flush(within: .seconds(10))
            #expect(try await shop.spend("v") == 100 * Money.perCent)
            // Nothing is counted that is booked: with nothing running, one request passes whatever it costs.
            let allowance = try await self.allowance(control, self.developer)
            let grant = try #require(control.reserve(allowance, worstCase: Money(cents: 10_000_000)))
            control.release(grant)
        }
    }

    @Test("gathers no answer of which somebody else is to be told")
    func gathersOnlyPlainAnswers() async throws {
        try await SpendWorkshop.with { shop async throws in
            let gathering = SpendGathering()
            func isGathered(_ control: SpendControl, _ grant: SpendGrant?) -> Bool {
                control.gather(
                    gathering, self.developer, control.source(upstream: "up", upstreamModel: "m", modelID: "m"),
                    SpendEntry.Amounts(), at: .now, grant, requestID: RequestID()
                ) { SpendWorkshop.entry("u", 0) }
            }
            let plain = self.control(shop, shop.ledger(nil))
            let tagged = self.control(shop, shop.ledger(nil), tag: "team")
            let share = try #require(
                plain.reserve(try await self.allowance(plain, self.developer), worstCase: .zero)?.share)
            #expect(!isGathered(plain, nil))
            #expect(!isGathered(plain, SpendGrant()))
            #expect(!isGathered(plain, SpendGrant(undecided: ["g"], share: share)))
            #expect(!isGathered(plain, SpendGrant(share: share, hold: "h")))
            #expect(!isGathered(tagged, SpendGrant(share: share)))
            #expect(isGathered(plain, SpendGrant(share: share)))
            gathering.flush()
        }
    }

    @Test("lets nobody begin by what was known before a limit changed")
    func remembersWhatIsKnown() async throws {
        try await SpendWorkshop.with { shop async throws in
            try await shop.put(.user("u"), .daily, 100)
            let control = self.control(shop, shop.ledger(nil))
            let memory = SpendMemory(self.developer)
            func check() -> SpendVerdict? {
                control.recall(memory, requestID: RequestID())
                    ?? control.check(self.developer, memory, requestID: RequestID(), { _ in })
            }
            #expect(control.recall(memory, requestID: RequestID()) == nil, "nothing is known yet")
            var isRecalled = false
            for _ in 0..<1000 where !isRecalled {
                // So many checks in so short a time make a reading serve for long.
                for _ in 0..<200 {
                    guard case .allowed? = check() else { break }
                    if case .allowed? = control.recall(memory, requestID: RequestID()) { isRecalled = true }
                }
                if !isRecalled { try await Task.sleep(for: .microseconds(200)) }
            }
            #expect(isRecalled)
            try await shop.put(.user("u"), .daily, 0)
            shop.guardian.forget()
            if case .allowed? = check() {
                Issue.record("an old limit let a request begin")
            }
            guard case .blocked = await self.check(control, self.developer) else {
                Issue.record("the new limit is not known")
                return
            }
        }
    }

    @Test("refuses requests while limits cannot be read, where the operator wants that")
    func failsClosed() async throws {
        try await SpendWorkshop.with { shop async throws in
            let audit = CapturingAudit()
            let control = self.control(shop, shop.ledger(nil), failsClosed: true, audit: audit)
            shop.store.set(.reading, .failing(.unavailable("gone")))
            for _ in 0..<3 {
                guard case .blocked(let refusal) = await self.check(control, self.developer) else {
                    Issue.record("an unchecked request may begin")
                    return
                }
                #expect(refusal.message == "spend limit unavailable")
            }
            #expect(audit.events("spend.blocked").map { $0["cause"] } == ["store_error", "store_error", "store_error"])
            shop.store.set(.reading, .well)
            let isBack = await eventually {
                if case .allowed = await self.check(control, self.developer) { true } else { false }
            }
            #expect(isBack)
        }
    }

    @Test("lets the pool pay that a request names, and refuses when that one is exhausted")
    func namedPools() async throws {
        try await SpendWorkshop.with { shop async throws in
            try await shop.put(.group("g"), .monthly, nil, pool: 900)
            try await shop.put(.group("h"), .monthly, nil, pool: 100)
            let audit = CapturingAudit()
            let control = self.control(shop, shop.ledger(nil), audit: audit)
            let member = Principal(subject: "u", groups: ["g", "h"])
            let outcomes = Outcomes()
            for named in [nil, "h", "no pool"] {
                let allowance = try await self.allowance(control, member)
                self.reserve(control, member, allowance, 1, billingGroup: named, into: outcomes)
            }
            #expect(outcomes.grants.map(\.pool) == ["g", "h", "g"])
            try await shop.store.book([SpendWorkshop.bookable("v", 100 * Money.perCent, pool: "h")], [], now: .now)
            shop.guardian.forget()
            let allowance = try await self.allowance(control, member)
            self.reserve(control, member, allowance, 1, billingGroup: "h", into: outcomes)
            #expect(outcomes.refusals.first?.message.hasPrefix("This request exceeds your group's budget.") == true)
            #expect(audit.events("spend.blocked").map { $0["groups"] } == [["h"]])
            self.reserve(control, member, allowance, 1, into: outcomes)
            #expect(outcomes.grants.last?.pool == "g")
        }
    }

    @Test("writes an audit line for a metered request where requests name their groups")
    func audits() async throws {
        try await SpendWorkshop.with { shop async throws in
            let audit = CapturingAudit()
            let ledger = shop.ledger(nil)
            let control = self.control(shop, ledger, tag: "team", audit: audit)
            var entry = SpendWorkshop.entry("u", 10_500_000)
            entry.billingGroup = "g"
            var usage = TokenUsage(input: 1000, output: 500)
            (usage.cacheRead, usage.cacheWrite5m, usage.cacheWrite1h) = (3, 4, 5)
            control.record(&entry, nil, usage, hasUsage: true, billing: .group("g"))
            control.record(&entry, nil, usage, hasUsage: false, billing: .ignored)
            control.record(&entry, nil, usage, hasUsage: false, billing: .none)
            // Behind the time.
            let lines = audit.events("spend.metered").map { event in
                String(decoding: event.line.drop { $0 != 0x2C }, as: UTF8.self)
            }
            let id = entry.requestIDs[0]
            #expect(
                lines == [
                    #","evt":"spend.metered","request_id":"\#(id)","sub":"u","#
                        + #""billing_group":"g","model":"m","upstream":"up","input_tokens":1000,"output_tokens":500,"#
                        + #""cache_read_input_tokens":3,"cache_creation_input_tokens":9,"cents":1.05}\#n"#,
                    #","evt":"spend.metered","request_id":"\#(id)","sub":"u","#
                        + #""billing_group_ignored":true,"model":"m","upstream":"up","input_tokens":1000,"#
                        + #""output_tokens":500,"cents":1.05}\#n"#,
                    #","evt":"spend.metered","request_id":"\#(id)","sub":"u","#
                        + #""model":"m","upstream":"up","input_tokens":1000,"output_tokens":500,"cents":1.05}\#n"#,
                ])
            let silent = CapturingAudit()
            self.control(shop, ledger, audit: silent).record(&entry, nil, usage, hasUsage: true, billing: .none)
            #expect(silent.events("spend.metered").isEmpty)
            await ledger.close(within: .seconds(10))
        }
    }
}
