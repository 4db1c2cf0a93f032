// SPDX-License-Identifier: Apache-2.0

internal import GatewayCore

extension SpendStore where Self: SQLStore {
    package func report(_ query: SpendReportQuery) async throws -> [SpendReportRow] {
        try await self.reading(timeout: .seconds(60)) { session in
            let statement = self.statement(query)
            return try session.rows(statement.sql, statement.values).compactMap { row in
                self.reportRow(row, query)
            }
        }
    }

    /// Days come from `spend_daily`; shorter buckets, and ranges that do not begin and end at midnight, from the ledger.
    private func statement(_ query: SpendReportQuery) -> (sql: String, values: [String?]) {
        let dialect = self.dialect
        var values: [String?] = []
        func parameter(_ value: String) -> String {
            values.append(value)
            return "$\(values.count)"
        }
        let day: Int64 = 86_400_000
        let isWhole = query.from.milliseconds % day == 0 && query.to.milliseconds % day == 0
        let usesDays = isWhole && (query.bucket == .day || query.bucket == .all)
        let start: String
        switch query.bucket {
        case .all: start = "''"
        case .day: start = "sums.day"
        case .hour: start = "sums.at / 3600000 * 3600000"
        case .minute: start = "sums.at / 60000 * 60000"
        }
        var from = usesDays ? "spend_daily AS sums" : "spend_ledger AS sums"
        var conditions: [String] = []
        if usesDays {
            conditions.append("sums.day >= \(parameter(SpendPeriod.daily.key(at: query.from)))")
            conditions.append("sums.day < \(parameter(SpendPeriod.daily.key(at: query.to)))")
        } else {
            conditions.append("sums.at >= \(dialect.integer(parameter(String(query.from.milliseconds))))")
            conditions.append("sums.at < \(dialect.integer(parameter(String(query.to.milliseconds))))")
        }
        for (column, wanted) in [
            ("principal", query.principals), ("model", query.models), ("upstream", query.upstreams),
        ] where !wanted.isEmpty {
            let names = JSONValue.texts(StoredNames(wanted).asked)
            conditions.append("sums.\(column) \(dialect.isOne(of: parameter(names)))")
        }
        if query.by.contains(.group) || !query.groups.isEmpty {
            let groups = StoredNames(query.groups).asked
            // A developer's spend shows under every group that he was in on that day.
            let member =
                dialect == .postgres
                ? "jsonb_array_elements_text(seen.groups) AS member(name)" : "json_each(seen.groups) AS member"
            let name = dialect == .postgres ? "member.name" : "member.value"
            from += " LEFT JOIN principal_groups AS seen ON seen.day = sums.day AND seen.principal = sums.principal"
            if query.by.contains(.group) {
                from += " LEFT JOIN \(dialect == .postgres ? "LATERAL " : "")\(member) ON true"
                if !query.groups.isEmpty {
                    conditions.append("\(name) \(dialect.isOne(of: parameter(JSONValue.texts(groups))))")
                }
            } else {
                let isWanted = dialect.isOne(of: parameter(JSONValue.texts(groups)))
                conditions.append("EXISTS (SELECT 1 FROM \(member) WHERE \(name) \(isWanted))")
            }
        }
        let keys = query.by.map { dimension -> String in
            switch dimension {
            case .user: "sums.principal"
            case .model: "sums.model"
            case .upstream: "sums.upstream"
            case .billingGroup: usesDays ? "nullif(sums.billing_group, '')" : "sums.billing_group"
            case .group: dialect == .postgres ? "member.name" : "member.value"
            }
        }
        let sums = [
            "requests", "input", "output", "cache_write_5m", "cache_write_1h", "cache_read", "web_searches",
            "nanodollars",
        ]
        .map { "CAST(sum(sums.\($0)) AS bigint)" }
        let selected = [start] + keys + sums
        let grouped = (1...(1 + keys.count)).map(String.init).joined(separator: ", ")
        let sql = """
            SELECT \(selected.joined(separator: ", ")) FROM \(from)
            WHERE \(conditions.joined(separator: " AND ")) GROUP BY \(grouped) ORDER BY \(grouped)
            """
        return (sql, values)
    }

    private func reportRow(_ row: [String?], _ query: SpendReportQuery) -> SpendReportRow? {
        let keys = query.by.count
        let sums = row[(1 + keys)...].map { $0.flatMap { Int64($0) } ?? 0 }
        guard sums.count == 8 else { return nil }
        let start: Timestamp
        switch query.bucket {
        case .all: start = query.from
        case .day: start = row[0].flatMap { CivilDate($0) }?.start ?? query.from
        case .hour, .minute:
            start = row[0].flatMap { Int64($0) }.map(Timestamp.init(milliseconds:)) ?? query.from
        }
        return SpendReportRow(
            start: start, keys: Array(row[1..<(1 + keys)]), requests: sums[0], input: sums[1], output: sums[2],
            cacheWrite5m: sums[3], cacheWrite1h: sums[4], cacheRead: sums[5], webSearches: sums[6],
            amount: Money(nanodollars: sums[7]))
    }
}
