// SPDX-License-Identifier: Apache-2.0

import GatewayCore
import GatewayStore
import Testing

@testable import GatewayMetering

/// What the tests of this target make states of.
enum SpendFixtures {
    /// Monday, 2026-11-23T05:24:39Z.
    static let now = Timestamp(seconds: 1_795_411_479)

    static func limit(
        _ scope: SpendScope, _ period: SpendPeriod, _ amount: Int64?, pool: Int64? = nil, isPaused: Bool = false,
    ) -> SpendLimit {
        SpendLimit(
            id: "spl_\(scope.type)_\(scope.id)_\(period.rawValue)", scope: scope, period: period, amount: amount,
            pool: pool.map { SpendLimit.Pool(amount: $0, isPaused: isPaused) }, createdAt: self.now,
            updatedAt: self.now)
    }

    /// - Parameters:
    ///   - spend: Of `u`, in nano-dollars.
    ///   - pools: In nano-dollars.
    static func state(
        _ limits: [SpendLimit], spend: [SpendPeriod: Int64] = [:], pools: [String: Int64] = [:],
        now: Timestamp = now,
    ) -> SpendState {
        var state = SpendState()
        state.limits = limits
        for (period, amount) in spend {
            state.spend["u", default: [:]][period.key(at: now)] = Money(nanodollars: amount)
        }
        state.pools = pools.mapValues(Money.init(nanodollars:))
        return state
    }

    static func cents(_ cents: Double) -> Int64 { Int64((cents * 1e7).rounded()) }
}

@Suite("Spend rules")
struct SpendRulesTests {
    private typealias Fixtures = SpendFixtures
    private let now = SpendFixtures.now

    private func verdict(
        _ state: SpendState, groups: [String] = [], mode: AdminSettings.GroupLimitMode = .minimum,
        message: String? = nil, now: Timestamp = SpendFixtures.now,
    ) -> SpendVerdict {
        SpendRules(mode: mode, blockedMessage: message).verdict(
            SpendCaller(principal: "u", groups: groups), state, requestID: RequestID(chosenByClient: "r-1"), now: now)
    }

    private func allowance(
        _ state: SpendState, groups: [String] = [], mode: AdminSettings.GroupLimitMode = .minimum,
    ) throws -> SpendAllowance {
        guard case .allowed(let allowance) = self.verdict(state, groups: groups, mode: mode) else {
            throw Unexpected("a refusal")
        }
        return allowance
    }

    private func refusal(
        _ state: SpendState, groups: [String] = [], message: String? = nil, now: Timestamp = SpendFixtures.now,
    ) throws -> SpendRefusal {
        guard case .blocked(let refusal) = self.verdict(state, groups: groups, message: message, now: now) else {
            throw Unexpected("an allowance")
        }
        return refusal
    }

    private struct Unexpected: Error {
        let what: String
        init(_ what: String) { self.what = what }
    }

    private func lines(_ headers: [(name: String, value: String)]) -> [String] {
        headers.map { "\($0.name): \($0.value)" }
    }

    // MARK: Which limit counts

    struct Choice: Sendable, CustomTestStringConvertible {
        var testDescription: String
        var limits: [SpendLimit]
        var groups: [String] = []
        var mode = AdminSettings.GroupLimitMode.minimum
        /// The scope whose limit counts; `nil` when none does.
        var winner: SpendScope?
    }

    static let choices: [Choice] = {
        func daily(_ scope: SpendScope, _ amount: Int64?) -> SpendLimit { SpendFixtures.limit(scope, .daily, amount) }
        let organization = daily(.organization, 10)
        let (a, b, c) = (daily(.group("a"), 100), daily(.group("b"), 300), daily(.group("c"), nil))
        return [
            Choice(testDescription: "nothing without limits", limits: []),
            Choice(testDescription: "the organization's", limits: [organization], winner: .organization),
            Choice(
                testDescription: "the developer's own", limits: [organization, a, daily(.user("u"), 500)],
                groups: ["a"], winner: .user("u")),
            Choice(
                testDescription: "the developer's own unlimited one",
                limits: [organization, a, daily(.user("u"), nil)],
                groups: ["a"], winner: .user("u")),
            Choice(
                testDescription: "the developer's own of nothing", limits: [daily(.user("u"), 0), a], groups: ["a"],
                winner: .user("u")),
            Choice(
                testDescription: "not another developer's", limits: [organization, daily(.user("v"), 1)],
                winner: .organization),
            Choice(
                testDescription: "the smallest group's", limits: [organization, b, a, c], groups: ["c", "b", "a"],
                winner: .group("a")),
            Choice(
                testDescription: "the largest group's", limits: [organization, b, a], groups: ["a", "b"],
                mode: .maximum, winner: .group("b")),
            Choice(
                testDescription: "of groups the unlimited one, at most", limits: [b, c, a], groups: ["a", "b", "c"],
                mode: .maximum, winner: .group("c")),
            Choice(
                testDescription: "of groups the limited one, at least", limits: [c, b], groups: ["b", "c"],
                winner: .group("b")),
            Choice(
                testDescription: "a group's that is higher than the organization's", limits: [organization, b],
                groups: ["b"], winner: .group("b")),
            Choice(
                testDescription: "a group's that is unlimited", limits: [organization, c], groups: ["c"],
                winner: .group("c")),
            Choice(
                testDescription: "not that of a group of others", limits: [organization, a], groups: ["b"],
                winner: .organization),
            Choice(
                testDescription: "not that of a group whose name differs in case", limits: [organization, a],
                groups: ["A", "a "], winner: .organization),
            Choice(
                testDescription: "that of a group that is named like the developer", limits: [daily(.group("u"), 5)],
                groups: ["u"], winner: .group("u")),
            Choice(
                testDescription: "not that of a developer who is named like a group", limits: [daily(.user("a"), 5)],
                groups: ["a"]),
        ]
    }()

    @Test("choose", arguments: choices)
    func chooses(_ choice: Choice) throws {
        var state = SpendState()
        // Limits of other periods never stand in.
        state.limits = choice.limits + [Fixtures.limit(.organization, .monthly, 7)]
        let caps = state.caps(of: SpendCaller(principal: "u", groups: choice.groups), choice.mode, at: self.now)
        let daily = caps.first { $0.period == .daily }
        #expect(daily?.limit.scope == choice.winner)
        #expect(daily?.limit == choice.limits.first { $0.scope == choice.winner })
        let monthly = try #require(caps.first { $0.period == .monthly })
        #expect((monthly.limit.scope, monthly.amount, caps.count) == (.organization, 7, choice.winner == nil ? 1 : 2))
    }

    @Test("choose in each period by itself, and give each its own spend and end")
    func choosesByPeriod() throws {
        let state = Fixtures.state(
            [
                Fixtures.limit(.organization, .monthly, 9000), Fixtures.limit(.user("u"), .daily, 100),
                Fixtures.limit(.group("g"), .weekly, 500),
            ],
            spend: [.daily: Fixtures.cents(40), .weekly: Fixtures.cents(510), .monthly: Fixtures.cents(8000.5)])
        let caps = state.caps(of: SpendCaller(principal: "u", groups: ["g"]), .minimum, at: self.now)
        #expect(caps.map(\.period) == [.daily, .weekly, .monthly])
        #expect(caps.map(\.limit.scope) == [.user("u"), .group("g"), .organization])
        #expect(caps.map { $0.spend.cents() } == ["40", "510", "8000.5"])
        #expect(caps.map(\.isExceeded) == [false, true, false])
        #expect(caps.map { $0.remaining?.cents() } == ["60", "0", "999.5"])
        #expect(
            caps.map(\.resetsAt.description) == [
                "2026-11-24T00:00:00.000Z", "2026-11-30T00:00:00.000Z", "2026-12-01T00:00:00.000Z",
            ])
        #expect(try self.refusal(state, groups: ["g"]).audit["source"] == "rbac_group")
    }

    @Test("do not count what was spent in an earlier period")
    func earlierPeriods() throws {
        let yesterday = Timestamp(seconds: self.now.seconds - 86_400)
        let state = Fixtures.state(
            [Fixtures.limit(.user("u"), .daily, 100)], spend: [.daily: Fixtures.cents(500)], now: yesterday)
        #expect(try self.allowance(state).remaining == Money(cents: 100))
    }

    // MARK: Blocking

    static let edges: [(Int64, Double, Bool)] = [
        (0, 0, true), (100, 99.9999999, false), (100, 100, true), (100, 150, true), (1, 0, false),
    ]

    @Test(
        "block at the limit and above, not below",
        arguments: edges)
    func blocks(_ amount: Int64, _ spend: Double, _ isBlocked: Bool) {
        for period in SpendPeriod.allCases {
            let state = Fixtures.state(
                [Fixtures.limit(.organization, period, amount)], spend: [period: Fixtures.cents(spend)])
            if case .blocked = self.verdict(state) { #expect(isBlocked) } else { #expect(!isBlocked) }
        }
    }

    @Test("let an unlimited developer pass whatever was spent")
    func unlimited() throws {
        let state = Fixtures.state(
            [Fixtures.limit(.organization, .daily, 0), Fixtures.limit(.user("u"), .daily, nil)],
            spend: [.daily: .max])
        let allowance = try self.allowance(state)
        #expect(allowance.headers.pairs.isEmpty)
        #expect(allowance.remaining == nil)
    }

    @Test("say how much the tightest limit leaves, which need not be the fullest")
    func remaining() throws {
        let state = Fixtures.state(
            [Fixtures.limit(.user("u"), .daily, 100), Fixtures.limit(.user("u"), .monthly, 100_000)],
            spend: [.daily: Fixtures.cents(10), .monthly: Fixtures.cents(99_950)])
        #expect(try self.allowance(state).remaining == Money(cents: 50))
        #expect(try self.allowance(state).headers.pairs.contains { $0.value == "0.99" })
    }

    // MARK: Which limit is described

    struct Description: Sendable, CustomTestStringConvertible {
        var testDescription: String
        var now = SpendFixtures.now
        /// Daily, weekly, monthly: spend and limit in cents.
        var caps: [SpendPeriod: (spend: Int64, limit: Int64)]
        var described: SpendPeriod
    }

    static let descriptions: [Description] = {
        let sunday = Timestamp(seconds: 1_795_953_600 + 3600)
        let lastOfYear = Timestamp(seconds: 1_798_675_200 + 3600)
        return [
            Description(
                testDescription: "the fullest",
                caps: [.daily: (500, 1000), .weekly: (600, 1000), .monthly: (220, 1000)],
                described: .weekly),
            Description(
                testDescription: "the fullest by share, not by amount", caps: [.daily: (9, 10), .monthly: (800, 1000)],
                described: .daily),
            Description(
                testDescription: "the monthly one of equally full ones",
                caps: [.daily: (5, 10), .weekly: (50, 100), .monthly: (500, 1000)], described: .monthly),
            Description(
                testDescription: "else the one that resets later", caps: [.daily: (5, 10), .weekly: (50, 100)],
                described: .weekly),
            Description(
                testDescription: "the monthly one of unused ones", caps: [.daily: (0, 10), .monthly: (0, 10)],
                described: .monthly),
            Description(
                testDescription: "the exceeded one, although the other resets later",
                caps: [.daily: (10, 10), .monthly: (99, 100)], described: .daily),
            Description(
                testDescription: "of exceeded ones the last to reset, not the fullest",
                caps: [.daily: (90, 10), .weekly: (10, 10), .monthly: (1, 10)], described: .weekly),
            Description(
                testDescription: "a limit of nothing like any exceeded one", caps: [.daily: (0, 0), .weekly: (20, 10)],
                described: .weekly),
            Description(
                testDescription: "a limit of nothing before one that is not exceeded",
                caps: [.daily: (0, 0), .monthly: (99, 100)], described: .daily),
            Description(
                testDescription: "on a Sunday, when day and week end together, the month's",
                now: sunday, caps: [.daily: (10, 10), .weekly: (10, 10), .monthly: (10, 10)], described: .monthly),
            Description(
                testDescription: "on the last day of the year the monthly one",
                now: lastOfYear, caps: [.daily: (10, 10), .monthly: (10, 10)], described: .monthly),
            Description(
                testDescription: "on the last day of the year the weekly one, which ends later", now: lastOfYear,
                caps: [.daily: (10, 10), .weekly: (10, 10), .monthly: (10, 10)], described: .weekly),
        ]
    }()

    @Test("describe", arguments: descriptions)
    func describes(_ description: Description) throws {
        let state = Fixtures.state(
            description.caps.map { Fixtures.limit(.user("u"), $0.key, $0.value.limit) },
            spend: description.caps.mapValues { $0.spend * Money.perCent }, now: description.now)
        let caps = state.caps(of: SpendCaller(principal: "u", groups: []), .minimum, at: description.now)
        #expect(SpendRules.described(caps)?.period == description.described)
        #expect(SpendRules.described(caps.reversed())?.period == description.described)
    }

    @Test("describe an exceeded limit whenever there is one, of random ones")
    func describesExceeded() throws {
        var generator = SystemRandomNumberGenerator()
        for _ in 0..<500 {
            let caps = SpendPeriod.allCases.map { period in
                EffectiveCap(
                    limit: Fixtures.limit(.user("u"), period, .random(in: 0...3, using: &generator)),
                    spend: Money(cents: .random(in: 0...3, using: &generator)), resetsAt: period.reset(after: self.now))
            }
            let described = try #require(SpendRules.described(caps.shuffled(using: &generator)))
            #expect(described.isExceeded == caps.contains(where: \.isExceeded))
        }
        #expect(SpendRules.described([]) == nil)
    }

    // MARK: Utilization

    static let shares: [(Double, Int64, String, Int)] = [
        (0, 1000, "0", 0), (0.01, 1000, "0", 0), (4.999, 1000, "0", 0), (5, 1000, "0.01", 1), (100, 1000, "0.1", 10),
        (500, 1000, "0.5", 50), (740, 1000, "0.74", 74), (745, 1000, "0.75", 75), (800, 1000, "0.8", 80),
        (994.999, 1000, "0.99", 99), (995, 1000, "0.99", 99), (999.999, 1000, "0.99", 99), (1000, 1000, "1", 100),
        (1030, 1000, "1.03", 103), (1500, 1000, "1.5", 150), (5000, 1000, "5", 500), (1, 3, "0.33", 33),
        (2, 3, "0.67", 67), (0, 0, "1", 100), (50, 0, "1", 100), (-20, 1000, "0", 0),
    ]

    @Test(
        "write shares in hundredths, below one until the limit is reached",
        arguments: shares)
    func utilizations(_ spend: Double, _ limit: Int64, _ text: String, _ percent: Int) {
        let used = Utilization(spend: Money(nanodollars: Fixtures.cents(spend)), limit: Money(cents: limit))
        #expect(used.text == text)
        #expect(used.percent == percent)
    }

    @Test("stay exact at the ends of what an amount can be")
    func extremes() {
        let all = Money(nanodollars: .max)
        #expect(Utilization(spend: all, limit: all).text == "1")
        #expect(Utilization(spend: Money(nanodollars: .max - 1), limit: all).text == "0.99")
        #expect(Utilization(spend: all, limit: Money(nanodollars: 1)).text == "9223372036854775807")
        #expect(Utilization(spend: all, limit: Money(nanodollars: 1)).percent == Int.max)
        #expect(Utilization(spend: Money(nanodollars: .max - 1), limit: all) < Utilization(spend: all, limit: all))
        #expect(!Utilization(spend: all, limit: all).isAbove(percent: 100))
        // Also limits that are larger than what can be counted.
        let state = Fixtures.state(
            [Fixtures.limit(.user("u"), .daily, 999_999_999_999_999_999)], spend: [.daily: .max])
        if case .allowed = self.verdict(state) { Issue.record("the fullest counter passed") }
    }

    // MARK: Headers of good answers

    static let warnings: [(Double, String, String, String?)] = [
        (0, "allowed", "0", nil), (740, "allowed", "0.74", nil), (750, "allowed", "0.75", nil),
        (750.01, "allowed_warning", "0.75", "0.75"), (950, "allowed_warning", "0.95", "0.75"),
        (950.01, "allowed_warning", "0.95", "0.95"), (999.999, "allowed_warning", "0.99", "0.95"),
    ]

    @Test(
        "tell the share and warn strictly above 75 % and 95 %",
        arguments: warnings)
    func headers(_ spend: Double, _ status: String, _ share: String, _ threshold: String?) throws {
        let state = Fixtures.state(
            [Fixtures.limit(.user("u"), .daily, 1000), Fixtures.limit(.organization, .monthly, nil)],
            spend: [.daily: Fixtures.cents(spend)])
        var expected = [
            "anthropic-ratelimit-unified-status: \(status)", "anthropic-ratelimit-unified-reset: 1795478400",
            "anthropic-ratelimit-unified-overage-reset: 1795478400",
            "anthropic-ratelimit-unified-overage-utilization: \(share)",
        ]
        if let threshold { expected.append("anthropic-ratelimit-unified-overage-surpassed-threshold: \(threshold)") }
        expected += [
            "anthropic-ratelimit-unified-representative-claim: overage",
            "anthropic-ratelimit-unified-overage-status: \(status)",
        ]
        #expect(self.lines(try self.allowance(state).headers.pairs) == expected)
    }

    @Test("say nothing to a developer without a finite limit")
    func noHeaders() throws {
        #expect(try self.allowance(SpendState()).headers.pairs.isEmpty)
        let pooled = Fixtures.state([Fixtures.limit(.group("g"), .monthly, nil, pool: 1000)], pools: ["g": 0])
        #expect(try self.allowance(pooled, groups: ["g"]).headers.pairs.isEmpty)
    }

    @Test("warn of a pool that runs out, when it is the last one and fuller than the developer's own limit")
    func poolHeaders() throws {
        func headers(_ spend: Double, own: Double, second: Int64? = nil) throws -> [String] {
            var limits = [
                Fixtures.limit(.group("g"), .monthly, nil, pool: 1000), Fixtures.limit(.user("u"), .daily, 100),
            ]
            if let second { limits.append(Fixtures.limit(.group("h"), .monthly, nil, pool: second)) }
            let state = Fixtures.state(
                limits, spend: [.daily: Fixtures.cents(own)], pools: ["g": Fixtures.cents(spend), "h": 0])
            return self.lines(try self.allowance(state, groups: ["g", "h"]).headers.pairs)
        }
        let pool = try headers(960, own: 80)
        #expect(
            pool == [
                "anthropic-ratelimit-unified-status: allowed_warning", "anthropic-ratelimit-unified-reset: 1796083200",
                "anthropic-ratelimit-unified-overage-reset: 1796083200",
                "anthropic-ratelimit-unified-overage-utilization: 0.96",
                "anthropic-ratelimit-unified-overage-surpassed-threshold: 0.95",
                "anthropic-ratelimit-unified-overage-scope: group_pool",
                "anthropic-ratelimit-unified-representative-claim: overage",
                "anthropic-ratelimit-unified-overage-status: allowed_warning",
            ])
        let scope = "anthropic-ratelimit-unified-overage-scope: group_pool"
        #expect(try !headers(750, own: 0).contains(scope), "exactly 75 % is no warning")
        #expect(try !headers(960, own: 97).contains(scope), "the own limit is fuller")
        #expect(try !headers(960, own: 0, second: 100).contains(scope), "another pool pays next")
        #expect(try headers(960, own: 0, second: 0).contains(scope), "the other pool is exhausted")
    }

    // MARK: Refusals

    /// What stands where the operator has said nothing.
    private static let advice = " · to ask for more: claude spend request"
    private let ask = "ask at https://go.example.com/limits"

    @Test("refuse with the headers, the sentence and the audit event that clients and operators know")
    func refusals() throws {
        let state = Fixtures.state(
            [Fixtures.limit(.user("u"), .daily, 1000)], spend: [.daily: Fixtures.cents(1500)])
        let refusal = try self.refusal(state, message: self.ask)
        #expect(refusal.message == "spend limit reached · daily limit · resets Nov 24, 00:00 UTC · \(self.ask)")
        #expect(
            self.lines(refusal.headers) == [
                "anthropic-ratelimit-unified-status: rejected", "anthropic-ratelimit-unified-reset: 1795478400",
                "anthropic-ratelimit-unified-overage-reset: 1795478400",
                "anthropic-ratelimit-unified-overage-utilization: 1.5",
                "anthropic-ratelimit-unified-overage-surpassed-threshold: 1",
                "anthropic-ratelimit-unified-overage-period: daily",
                "anthropic-ratelimit-unified-overage-disabled-reason: org_spend_cap_reached", "retry-after: 66921",
                "x-should-retry: false",
            ])
        #expect(
            refusal.audit
                == AuditEvent(
                    "spend.blocked",
                    [
                        "request_id": "r-1", "sub": "u", "cause": "over_limit", "cap_cents": "1000", "source": "user",
                        "period": "daily",
                    ]))
    }

    static let ends: [(SpendPeriod, String, String)] = [
        (SpendPeriod.daily, "daily limit · resets Nov 24, 00:00 UTC", "1795478400"),
        (.weekly, "weekly limit · resets Nov 30, 00:00 UTC", "1795996800"),
        (.monthly, "monthly limit · resets Dec 1, 00:00 UTC", "1796083200"),
    ]

    @Test(
        "name the period and its end",
        arguments: ends)
    func periods(_ period: SpendPeriod, _ text: String, _ reset: String) throws {
        let state = Fixtures.state([Fixtures.limit(.organization, period, 1)], spend: [period: Money.perCent])
        let refusal = try self.refusal(state)
        #expect(refusal.message == "spend limit reached · " + text + Self.advice)
        let lines = self.lines(refusal.headers)
        #expect(lines.contains("anthropic-ratelimit-unified-overage-period: \(period.rawValue)"))
        #expect(lines.contains("anthropic-ratelimit-unified-reset: \(reset)"))
        #expect(lines.contains("retry-after: \((Int64(reset) ?? 0) - self.now.seconds)"))
        #expect(refusal.audit["source"] == "organization")
        #expect(refusal.audit["period"] == .string(period.rawValue))
    }

    @Test("say that a limit of nothing allows nothing, and still when it resets")
    func zeroLimit() throws {
        let refusal = try self.refusal(Fixtures.state([Fixtures.limit(.user("u"), .weekly, 0)]), message: self.ask)
        #expect(
            refusal.message == "spend limit reached · weekly limit is 0, so nothing may be spent · \(self.ask)")
        let lines = self.lines(refusal.headers)
        #expect(lines.contains("anthropic-ratelimit-unified-overage-utilization: 1"))
        #expect(lines.contains("anthropic-ratelimit-unified-reset: 1795996800"))
        #expect(lines.contains { $0.hasPrefix("retry-after: ") })
        #expect(refusal.audit["cap_cents"] == "0")
    }

    @Test("give the operator's words as they are", arguments: ["  a\nb  ", "é · 😀", #"<b>"x"</b>"#])
    func blockedMessage(_ message: String) throws {
        let state = Fixtures.state([Fixtures.limit(.organization, .daily, 0)])
        #expect(try self.refusal(state, message: message).message.hasSuffix(" · " + message))
    }

    static let waits: [(Int64, String)] = [(86_399_999, "1"), (86_399_000, "1"), (86_398_999, "2"), (0, "86400")]

    @Test("send a client back in whole seconds, and never at once", arguments: waits)
    func retryAfter(_ millisecondOfDay: Int64, _ seconds: String) throws {
        let now = Timestamp(milliseconds: 1_795_392_000_000 + millisecondOfDay)
        let state = Fixtures.state([Fixtures.limit(.organization, .daily, 0)], now: now)
        #expect(self.lines(try self.refusal(state, now: now).headers).contains("retry-after: \(seconds)"))
    }

    @Test("refuse without a reset when limits cannot be read")
    func failClosed() {
        let caller = SpendCaller(principal: "u", groups: [])
        let id = RequestID(chosenByClient: "r-2")
        let refusal = SpendRules(mode: .minimum, blockedMessage: self.ask).unavailable(caller, requestID: id)
        #expect(refusal.message == "spend limit unavailable · \(self.ask)")
        #expect(
            self.lines(refusal.headers) == [
                "anthropic-ratelimit-unified-overage-disabled-reason: fetch_error", "x-should-retry: false",
            ])
        #expect(
            refusal.audit
                == AuditEvent("spend.blocked", ["request_id": "r-2", "sub": "u", "cause": "store_error"]))
        let plain = SpendRules(mode: .minimum, blockedMessage: nil).unavailable(caller, requestID: id)
        #expect(plain.message == "spend limit unavailable")
    }

    @Test("tell who asks for more than is left how much that is")
    func tooDear() throws {
        let state = Fixtures.state(
            [Fixtures.limit(.user("u"), .weekly, 1000)], spend: [.weekly: Fixtures.cents(900.5)])
        let caller = SpendCaller(principal: "u", groups: [])
        let cap = try #require(state.caps(of: caller, .minimum, at: self.now).first)
        let id = RequestID(chosenByClient: "r-3")
        let refusal = SpendRules(mode: .minimum, blockedMessage: self.ask).tooDear(
            cap, Money(cents: 123), caller, requestID: id, now: self.now)
        #expect(
            refusal.message
                == "spend limit reached · this request may cost $1.23, and $0.995 of the weekly limit is left; "
                + "a smaller max_tokens or a shorter prompt may fit · \(self.ask)")
        let lines = self.lines(refusal.headers)
        #expect(lines.contains("anthropic-ratelimit-unified-overage-utilization: 0.9"))
        #expect(lines.contains("x-should-retry: false"))
        #expect(
            refusal.audit
                == AuditEvent(
                    "spend.blocked",
                    [
                        "request_id": "r-3", "sub": "u", "cause": "would_exceed", "cap_cents": "1000",
                        "source": "user", "period": "weekly", "worst_case_cents": "123",
                    ]))
        let busy = SpendRules(mode: .minimum, blockedMessage: nil).busy(caller, requestID: id)
        #expect(busy.message.hasPrefix("spend limit reached · "))
        #expect(self.lines(busy.headers) == ["retry-after: 5", "x-should-retry: true"])
        #expect(busy.audit["cause"] == "reserved")
    }

    // MARK: Pools

    /// Three groups with a pool, one with a paused one, one without.
    private func pools(_ spend: [String: Double], own: [SpendLimit] = [], used: Double = 0) -> SpendState {
        Fixtures.state(
            own + [
                Fixtures.limit(.group("a"), .monthly, nil, pool: 300),
                Fixtures.limit(.group("b"), .monthly, 5, pool: 900),
                Fixtures.limit(.group("c"), .monthly, 7, pool: 300),
                Fixtures.limit(.group("p"), .monthly, nil, pool: 5000, isPaused: true),
                Fixtures.limit(.group("n"), .monthly, nil),
            ],
            spend: [.monthly: Fixtures.cents(used), .daily: Fixtures.cents(used)],
            pools: spend.mapValues(Fixtures.cents))
    }

    @Test("order pools by size and then by name, and leave paused and missing ones out")
    func poolOrder() {
        let state = self.pools(["a": 10, "b": 20])
        let found = state.activePools(of: ["n", "p", "c", "a", "b", "a", "unknown"])
        #expect(found.map(\.group) == ["b", "a", "c"])
        #expect(found.map(\.amount) == [900, 300, 300])
        #expect(found.map { $0.spend.cents() } == ["20", "10", "0"])
        #expect(state.activePools(of: ["B", "n", "p"]).isEmpty)
        // A pool is a monthly thing.
        let daily = Fixtures.state([Fixtures.limit(.group("a"), .daily, 1, pool: 5)])
        #expect(daily.activePools(of: ["a"]).isEmpty)
    }

    static let payers: [([String: Double], [String], String?)] = [
        ([:], ["c", "a", "b"], "b"), (["b": 899.9999999], ["c", "a", "b"], "b"), (["b": 900], ["c", "a", "b"], "a"),
        (["b": 900, "a": 300], ["c", "a", "b"], "c"), (["b": 950, "a": 300, "c": 300], ["c", "a", "b"], "b"),
        ([:], ["c", "a"], "a"), (["a": 400], ["a"], "a"), ([:], ["p", "n"], nil), ([:], [], nil),
    ]

    @Test(
        "let the largest pool pay that is not exhausted, and of exhausted ones the largest",
        arguments: payers)
    func payingPool(_ spend: [String: Double], _ groups: [String], _ expected: String?) {
        #expect(self.pools(spend).payingPool(of: groups) == expected)
    }

    @Test("let a developer pass while one of his pools has something left")
    func poolsPass() throws {
        let own = [Fixtures.limit(.user("u"), .monthly, nil)]
        let state = self.pools(["b": 900, "a": 300, "c": 299], own: own)
        #expect(try self.allowance(state, groups: ["a", "b", "c"]).pools.map(\.isExhausted) == [true, true, false])
        #expect(try self.allowance(self.pools(["p": 9000], own: own), groups: ["p", "n"]).pools.isEmpty)
    }

    @Test("refuse when all of a developer's pools are exhausted, whatever his own limit is")
    func poolsBlock() throws {
        let state = self.pools(
            ["a": 300, "b": 1000, "c": 301], own: [Fixtures.limit(.user("u"), .monthly, nil)], used: 5)
        let refusal = try self.refusal(state, groups: ["n", "p", "a", "c", "b"])
        #expect(
            refusal.message
                == "This request exceeds your group's budget. Ask your organization's admins to raise it, or try again "
                + "after it resets on December 1 at 00:00 UTC."
        )
        #expect(
            self.lines(refusal.headers) == [
                "anthropic-ratelimit-unified-status: rejected", "anthropic-ratelimit-unified-reset: 1796083200",
                "anthropic-ratelimit-unified-overage-reset: 1796083200",
                "anthropic-ratelimit-unified-overage-utilization: 1.11",
                "anthropic-ratelimit-unified-overage-surpassed-threshold: 1",
                "anthropic-ratelimit-unified-overage-period: monthly",
                "anthropic-ratelimit-unified-overage-scope: group_pool",
                "anthropic-ratelimit-unified-overage-disabled-reason: org_spend_cap_reached", "retry-after: 671721",
                "x-should-retry: false",
            ])
        #expect(
            refusal.audit
                == AuditEvent(
                    "spend.blocked",
                    [
                        "request_id": "r-1", "sub": "u", "cause": "over_limit", "cap_cents": "900",
                        "source": "group_pool", "period": "monthly", "groups": ["b", "a", "c"],
                    ]))
        let worded = try self.refusal(state, groups: ["a"], message: self.ask)
        #expect(worded.message.hasSuffix("try again after it resets on December 1 at 00:00 UTC · \(self.ask)"))
    }

    @Test("refuse at once for a pool of nothing")
    func emptyPool() throws {
        let state = Fixtures.state([Fixtures.limit(.group("g"), .monthly, nil, pool: 0)])
        let refusal = try self.refusal(state, groups: ["g"])
        #expect(refusal.audit["cap_cents"] == "0")
        #expect(self.lines(refusal.headers).contains("anthropic-ratelimit-unified-overage-utilization: 1"))
    }

    @Test("refuse for the developer's own limit first")
    func ownLimitFirst() throws {
        let state = self.pools(["b": 900], own: [Fixtures.limit(.user("u"), .daily, 3)], used: 3)
        let refusal = try self.refusal(state, groups: ["b"])
        #expect(refusal.audit["source"] == "user")
        #expect(refusal.message == "spend limit reached · daily limit · resets Nov 24, 00:00 UTC" + Self.advice)
        #expect(!refusal.headers.contains { $0.name.hasSuffix("overage-scope") })
    }

    // MARK: The usage report

    private func report(_ state: SpendState, groups: [String] = []) -> JSONValue {
        SpendUsageReport.make(SpendCaller(principal: "u", groups: groups), state, .minimum, now: self.now)
    }

    @Test("report what was spent to a developer without a finite limit")
    func openReport() throws {
        let spend = [
            SpendPeriod.daily: Fixtures.cents(1240.5), .weekly: Fixtures.cents(2000), .monthly: Fixtures.cents(3000.7),
        ]
        for limits in [[], [Fixtures.limit(.user("u"), .monthly, nil)]] {
            #expect(
                self.report(Fixtures.state(limits, spend: spend))
                    == (try JSONValue(
                        parsing: """
                            {"extra_usage":{"is_enabled":true,"monthly_limit":null,"used_credits":3000,
                            "utilization":null,"currency":"USD",
                            "daily":{"limit":null,"used_credits":1240,"utilization":null},
                            "weekly":{"limit":null,"used_credits":2000,"utilization":null}},"limits":[]}
                            """)))
        }
    }

    @Test("report every finite limit, and the one that headers speak of as active")
    func limitReport() throws {
        let state = Fixtures.state(
            [
                Fixtures.limit(.user("u"), .daily, 1000), Fixtures.limit(.user("u"), .weekly, 3000),
                Fixtures.limit(.organization, .monthly, 10000),
            ],
            spend: [
                .daily: Fixtures.cents(100.9), .weekly: Fixtures.cents(1500.99), .monthly: Fixtures.cents(2200),
            ])
        #expect(
            self.report(state)
                == (try JSONValue(
                    parsing: """
                        {"extra_usage":{"is_enabled":true,"monthly_limit":3000,"used_credits":1500,"utilization":50,
                        "currency":"USD"},"limits":[
                        {"kind":"spend","group":"daily","percent":10,"resets_at":"2026-11-24T00:00:00.000Z",
                        "severity":"normal","is_active":false},
                        {"kind":"spend","group":"weekly","percent":50,"resets_at":"2026-11-30T00:00:00.000Z",
                        "severity":"normal","is_active":true},
                        {"kind":"spend","group":"monthly","percent":22,"resets_at":"2026-12-01T00:00:00.000Z",
                        "severity":"normal","is_active":false}]}
                        """)))
    }

    static let severities: [(Int64, Double, Int, String)] = [
        (1000, 750, 75, "normal"), (1000, 750.01, 75, "warning"), (1000, 950, 95, "warning"),
        (1000, 950.01, 95, "critical"), (1000, 999.9, 99, "critical"), (1000, 1500, 150, "critical"),
        (0, 0, 100, "critical"),
    ]

    @Test(
        "report how bad it is",
        arguments: severities)
    func severity(_ limit: Int64, _ spend: Double, _ percent: Int, _ severity: String) {
        let report = self.report(
            Fixtures.state([Fixtures.limit(.user("u"), .monthly, limit)], spend: [.monthly: Fixtures.cents(spend)]))
        let row = report["limits"]?.array?.first
        #expect(row?["severity"]?.string == severity)
        #expect(row?["percent"]?.integer == percent)
        #expect(report["extra_usage"]?["utilization"]?.integer == percent)
        #expect(report["extra_usage"]?["monthly_limit"]?.integer == Int(limit))
    }

    @Test("report the pools that pay for a developer, after his own limits")
    func poolReport() {
        let state = self.pools(["a": 30, "b": 855.5], own: [Fixtures.limit(.user("u"), .daily, 10)], used: 1)
        let rows = self.report(state, groups: ["a", "b", "p"])["limits"]?.array ?? []
        #expect(rows.map { $0["kind"]?.string } == ["spend", "spend", "group_pool", "group_pool"])
        #expect(rows.suffix(2).map { $0["group"]?.string } == ["b", "a"])
        #expect(rows.suffix(2).map { $0["percent"]?.integer } == [95, 10])
        #expect(rows.suffix(2).map { $0["severity"]?.string } == ["critical", "normal"])
        #expect(rows.filter { $0["is_active"]?.bool == true }.count == 1)
    }

    // MARK: States

    @Test("take the higher of two readings of a counter, and of pools this month's only")
    func merging() {
        var state = Fixtures.state([], spend: [.daily: 50, .monthly: 90], pools: ["g": 7])
        var totals = SpendTotals()
        totals.spend = ["u": ["2026-11-23": Money(nanodollars: 60), "2026-11": Money(nanodollars: 80)], "v": [:]]
        totals.pools = [
            "g": ["2026-10": Money(nanodollars: 900), "2026-11": Money(nanodollars: 8)],
            "h": ["2026-12": Money(nanodollars: 5)],
        ]
        state.merge(totals, now: self.now)
        #expect(state.spend(of: "u", .daily, at: self.now) == Money(nanodollars: 60))
        #expect(state.spend(of: "u", .monthly, at: self.now) == Money(nanodollars: 90))
        #expect(state.pools == ["g": Money(nanodollars: 8)])
        #expect(SpendTotals().isEmpty && !totals.isEmpty)
        var other = SpendTotals()
        other.spend = ["u": ["2026-11-23": Money(nanodollars: 55), "2026-W48": Money(nanodollars: 1)]]
        totals.merge(other)
        #expect(
            totals.spend["u"] == [
                "2026-11-23": Money(nanodollars: 60), "2026-11": Money(nanodollars: 80),
                "2026-W48": Money(nanodollars: 1),
            ])
    }
}
