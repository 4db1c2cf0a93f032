// SPDX-License-Identifier: Apache-2.0

import GatewayCore
import GatewayStore
import Logging
import TestSupport
import Testing

@testable import GatewayMetering

@Suite("Rate limits of developers")
struct InferenceLimiterTests {
    /// The begin of a minute.
    private let start = Timestamp(milliseconds: 1_700_000_040_000)

    private func withLimiters(_ count: Int = 1, _ body: ([InferenceLimiter]) async throws -> Void) async throws {
        try await TestStores.withSQLite { store in
            let log = Logger(label: "t") { _ in SwiftLogNoOpLogHandler() }
            try await body((0..<count).map { _ in InferenceLimiter(store: store, log: log) })
        }
    }

    private func admitted(
        _ limiter: InferenceLimiter, _ settings: InferenceLimiter.Settings, _ seconds: Double, tries: Int = 100,
    ) -> Int {
        (0..<tries).count { _ in
            (try? limiter.admit("u", settings, now: self.start.advanced(bySeconds: seconds)).get()) != nil
        }
    }

    @Test("of requests slide over the minute")
    func requests() async throws {
        try await self.withLimiters { limiters in
            let settings = InferenceLimiter.Settings(requestsPerMinute: 10)
            #expect(self.admitted(limiters[0], settings, 0) == 10)
            #expect(self.admitted(limiters[0], settings, 59) == 0)
            // Half of the last minute still counts.
            #expect(self.admitted(limiters[0], settings, 90) == 5)
            #expect(self.admitted(limiters[0], settings, 180) == 10)
            let refusal = limiters[0].admit("u", settings, now: self.start.advanced(bySeconds: 185))
            guard case .failure(let why) = refusal else {
                Issue.record("not refused")
                return
            }
            #expect(why.limit == "requests_per_minute" && why.retryAfterSeconds == 55)
            // Others are not concerned.
            guard case .success = limiters[0].admit("v", settings, now: self.start.advanced(bySeconds: 185)) else {
                Issue.record("another developer was refused")
                return
            }
        }
    }

    @Test("of tokens and of what runs at once")
    func tokensAndRunning() async throws {
        try await self.withLimiters { limiters in
            let limiter = limiters[0]
            let tokens = InferenceLimiter.Settings(tokensPerMinute: 100)
            limiter.used("u", tokens: 99, now: self.start)
            #expect(self.admitted(limiter, tokens, 1, tries: 1) == 1)
            limiter.used("u", tokens: 1, now: self.start)
            #expect(self.admitted(limiter, tokens, 1, tries: 1) == 0)
            let running = InferenceLimiter.Settings(concurrent: 2)
            var slots = (0..<3).compactMap { _ in try? limiter.admit("w", running, now: self.start).get() }
            #expect(slots.count == 2)
            slots.removeLast()
            #expect((try? limiter.admit("w", running, now: self.start).get()) != nil)
            slots = []
        }
    }

    @Test("are shared by replicas once they have told each other")
    func replicas() async throws {
        try await self.withLimiters(3) { limiters in
            let settings = InferenceLimiter.Settings(requestsPerMinute: 10)
            #expect(self.admitted(limiters[0], settings, 1, tries: 4) == 4)
            #expect(self.admitted(limiters[1], settings, 1, tries: 4) == 4)
            for limiter in limiters + limiters { try await limiter.exchange(now: self.start.advanced(bySeconds: 2)) }
            #expect(self.admitted(limiters[0], settings, 3) == 2)
            // A replica that has not seen the developer yet learns of the others with its first request.
            #expect(self.admitted(limiters[2], settings, 3, tries: 1) == 1)
            for limiter in limiters { try await limiter.exchange(now: self.start.advanced(bySeconds: 4)) }
            #expect(self.admitted(limiters[2], settings, 4) == 0)
            #expect(self.admitted(limiters[1], settings, 4) == 0)
        }
    }

    @Test("of what runs are told to the others, and forgotten when a replica is gone")
    func runningElsewhere() async throws {
        try await self.withLimiters(2) { limiters in
            let settings = InferenceLimiter.Settings(concurrent: 3)
            let slots = (0..<2).compactMap { _ in try? limiters[0].admit("u", settings, now: self.start).get() }
            #expect(slots.count == 2)
            let own = try? limiters[1].admit("u", settings, now: self.start).get()
            #expect(own != nil)
            for limiter in limiters { try await limiter.exchange(now: self.start) }
            try await limiters[1].exchange(now: self.start)
            #expect(self.admitted(limiters[1], settings, 1, tries: 1) == 0)
            // The first replica has said nothing for a while.
            try await limiters[1].exchange(now: self.start.advanced(bySeconds: 10))
            #expect(self.admitted(limiters[1], settings, 10, tries: 1) == 1)
            withExtendedLifetime((slots, own)) {}
        }
    }
}
