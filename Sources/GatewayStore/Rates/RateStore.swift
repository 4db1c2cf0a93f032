// SPDX-License-Identifier: Apache-2.0

package import GatewayCore

/// What one developer has asked for in one minute.
package struct RateUsage: Sendable, Equatable {
    package var principal: String
    /// Minutes since 1970.
    package var minute: Int64
    package var requests: Int
    package var tokens: Int
    /// Answers that were under way when this was written.
    package var running: Int

    package init(principal: String, minute: Int64, requests: Int = 0, tokens: Int = 0, running: Int = 0) {
        self.principal = principal
        self.minute = minute
        self.requests = requests
        self.tokens = tokens
        self.running = running
    }
}

/// What replicas tell each other for rate limits. The table is `rate_usage`.
package protocol RateStore: Sendable {
    /// Puts a replica's own counts in place of its earlier ones, and returns the sums of the others' for `principals`
    /// and this minute and the one before. Running answers count only if they were told of lately.
    func exchangeRates(_ own: [RateUsage], about principals: [String], replica: String, now: Timestamp) async throws
        -> [RateUsage]
    func sweepRates(now: Timestamp) async throws
}

extension RateStore where Self: SQLStore {
    package func exchangeRates(_ own: [RateUsage], about principals: [String], replica: String, now: Timestamp)
        async throws -> [RateUsage]
    {
        let rows = JSONValue.array(
            own.map { usage in
                [
                    "principal": .string(usage.principal), "minute": .string(String(usage.minute)),
                    "requests": .string(String(usage.requests)), "tokens": .string(String(usage.tokens)),
                    "running": .string(String(usage.running)),
                ]
            }
        ).text()
        let records = self.dialect.records(
            "$1",
            [
                ("principal", .text), ("minute", .integer), ("requests", .integer), ("tokens", .integer),
                ("running", .integer),
            ])
        let oldest = now.milliseconds / 60_000 - 1
        return try await self.transaction(timeout: .seconds(2)) { session in
            if !own.isEmpty {
                _ = try session.rows(
                    """
                    INSERT INTO rate_usage (principal, minute, replica, requests, tokens, running, seen_at)
                    SELECT principal, minute, $2, requests, tokens, running, \(self.dialect.integer("$3")) FROM \(records)
                    WHERE true
                    ON CONFLICT (principal, minute, replica) DO UPDATE SET requests = excluded.requests,
                        tokens = excluded.tokens, running = excluded.running, seen_at = excluded.seen_at
                    """, [rows, replica, String(now.milliseconds)])
            }
            let others = try session.rows(
                """
                SELECT principal, minute, sum(requests), sum(tokens),
                    sum(CASE WHEN seen_at > \(self.dialect.integer("$3")) THEN running ELSE 0 END)
                FROM rate_usage
                WHERE principal \(self.dialect.isOne(of: "$1")) AND replica <> $2
                    AND minute >= \(self.dialect.integer("$4"))
                GROUP BY principal, minute
                """,
                [
                    JSONValue.texts(principals), replica, String(now.milliseconds - 5000),
                    String(oldest),
                ])
            return others.compactMap { row in
                func number(_ index: Int) -> Int { row[index].flatMap { Int($0) } ?? 0 }
                guard let principal = row[0], let minute = row[1].flatMap({ Int64($0) }) else { return nil }
                return RateUsage(
                    principal: principal, minute: minute, requests: number(2), tokens: number(3), running: number(4))
            }
        }
    }

    package func sweepRates(now: Timestamp) async throws {
        try await self.transaction(timeout: .seconds(5)) { session in
            _ = try session.rows(
                "DELETE FROM rate_usage WHERE minute < \(self.dialect.integer("$1"))",
                [String(now.milliseconds / 60_000 - 5)])
        }
    }
}
