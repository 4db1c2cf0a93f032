// SPDX-License-Identifier: Apache-2.0

import Foundation
import GatewayCore
import GatewayHTTPClient
import GatewayMetering
import GatewayServer
import GatewayStore
import TestSupport
import Testing

/// Not part of the tests, because it measures time: GATEWAY_BENCHMARKS=1 scripts/test --filter EffectiveBenchmark.
/// Compares pages of `/effective` among a million developers with those among a thousand, in one run.
@Suite(
    "A page of a million developers",
    .enabled(if: ProcessInfo.processInfo.environment["GATEWAY_BENCHMARKS"] != nil && TestStores.postgresURL != nil),
    .serialized)
struct EffectiveBenchmark {
    private static let key = "write-key-0123456789abcdef0123456789abcdef"

    @Test("takes less than 50 ms", arguments: [1_000, 1_000_000])
    func pages(_ count: Int) async throws {
        let schema = try await TestStores.makeSchema()
        let url = TestStores.url(schema: schema)
        var admin = AdminSettings()
        admin.writeKeys = [AdminSettings.Key(id: "bench", secret: Secret(Self.key))]
        try await withGateway(configure: {
            $0.admin = admin
            $0.store = StoreSettings(backend: .postgres(url: url))
        }) { gateway in
            let now = Timestamp.now
            for period in SpendPeriod.allCases {
                _ = try await TestStores.psql(
                    """
                    SET search_path = \(schema); INSERT INTO spend (principal, period, nanodollars)
                    SELECT 'user-' || lpad(n::text, 7, '0'), '\(period.key(at: now))', (n * 7919::bigint) % 50000000000
                    FROM generate_series(1, \(count)) AS n
                    """)
            }
            _ = try await TestStores.psql(
                """
                SET search_path = \(schema); INSERT INTO principal_emails (principal, email, name, groups)
                SELECT 'user-' || lpad(n::text, 7, '0'), 'user-' || n || '@example.com', 'User ' || n,
                    jsonb_build_array('team-' || n % 100)
                FROM generate_series(1, \(count)) AS n;
                INSERT INTO spend_limits (id, scope_type, scope_id, amount, period)
                SELECT 'spl_' || n, 'rbac_group', 'team-' || n, 5000 + n, 'monthly' FROM generate_series(0, 99) AS n;
                ANALYZE
                """)
            let base = "/v1/organizations/spend_limits/effective"
            let middle = Base64URL.encode(Array(#"{"p":"user-\#(String(count / 2 + 10_000_000).suffix(7))"}"#.utf8))
            let queries = [
                ("first page", "?limit=20"), ("page in the middle", "?limit=20&page=\(middle)"),
                ("highest spend first", "?limit=20&period[]=monthly&sort=spend_desc"),
                ("one developer", "?user_ids[]=user-0000500"), ("one group", "?limit=20&group=team-7"),
                ("100 developers", "?limit=100"),
            ]
            for (name, query) in queries {
                var times: [Duration] = []
                for _ in 0..<15 {
                    let start = ContinuousClock.now
                    let answer = try await gateway.send("GET", base + query, headers: [("x-api-key", Self.key)])
                    times.append(.now - start)
                    #expect(answer.status == 200, "\(answer.text.prefix(200))")
                    #expect(answer.json?["data"]?.array?.isEmpty == false)
                }
                let median = times.sorted()[7]
                print("\(count) developers, \(name): \(median)")
                #expect(median < .milliseconds(50), "\(name)")
            }
        }
        await TestStores.drop(schema: schema)
    }
}
