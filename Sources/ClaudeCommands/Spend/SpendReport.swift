// SPDX-License-Identifier: Apache-2.0

internal import GatewayClient
internal import GatewayCore

/// Spend over some days, from `/v1/organizations/usage_report/messages`.
struct SpendReport {
    /// Whose requests count; empty is everybody's.
    struct Filter {
        /// Account ids.
        var users: [String] = []
        var groups: [String] = []

        var query: [(String, String)] {
            self.users.map { ("user_ids[]", $0) } + self.groups.map { ("rbac_group_ids[]", $0) }
        }
    }

    private static let path = "/v1/organizations/usage_report/messages"
    /// Rows of a page that is not split by days.
    private static let pageRows = 5000

    let range: SpendRange
    let dimensions: [SpendDimension]
    /// By day where the report is split by days, the dearest first.
    let rows: [SpendRow]
    /// Over everything once, also where a row's spend counts in another row too.
    let total: SpendRow

    init(range: SpendRange, dimensions: [SpendDimension], rows: [SpendRow], total: SpendRow) {
        self.range = range
        self.dimensions = dimensions
        self.rows = rows
        self.total = total
    }

    /// Asks the gateway, page by page.
    static func read(
        _ connection: AdminConnection, _ filter: Filter, by dimensions: [SpendDimension], _ range: SpendRange,
        for audience: AdminConnection.Audience, _ terminal: Terminal,
    ) async throws -> SpendReport {
        terminal.progress("Reading spend…")
        defer { terminal.endProgress() }
        let rows = try await self.rows(connection, filter, by: dimensions, range, for: audience, terminal)
        var total = SpendRow.sum(rows)
        // A developer's spend stands under each of his groups, so those rows do not add up.
        if dimensions.contains(.group) {
            total = SpendRow.sum(try await self.rows(connection, filter, by: [], range, for: audience, terminal))
        }
        return SpendReport(range: range, dimensions: dimensions, rows: self.sorted(rows, dimensions), total: total)
    }

    private static func rows(
        _ connection: AdminConnection, _ filter: Filter, by dimensions: [SpendDimension], _ range: SpendRange,
        for audience: AdminConnection.Audience, _ terminal: Terminal,
    ) async throws -> [SpendRow] {
        let isDaily = dimensions.contains(.day)
        let query =
            [
                ("starting_at", range.start.description), ("ending_at", range.end.description),
                ("bucket_width", isDaily ? "1d" : "all"),
                ("limit", String(isDaily ? self.pageDays(dimensions) : self.pageRows)),
            ] + dimensions.filter { $0 != .day }.map { ("group_by[]", $0.key) } + filter.query
        let buckets = try await connection.list(self.path, query: query, for: audience) { buckets in
            if isDaily {
                terminal.progress("Reading spend… \(buckets.count) of \(range.days) days")
            } else {
                let count = buckets.reduce(0) { $0 + ($1["results"]?.array?.count ?? 0) }
                terminal.progress("Reading spend… \(count.groupedByThousands) rows")
            }
        }
        return buckets.flatMap { bucket -> [SpendRow] in
            let day = isDaily ? bucket["starting_at"]?.string.flatMap { CivilDate(String($0.prefix(10))) } : nil
            let rows = (bucket["results"]?.array ?? []).compactMap { SpendRow($0, day: day) }
            // Days without spend belong to a report of days alone.
            return rows.isEmpty && dimensions == [.day] ? [SpendRow(day: day)] : rows
        }
    }

    /// Days of a page. The API sends a day's rows all at once, so that a page holds few days where a day has many rows.
    private static func pageDays(_ dimensions: [SpendDimension]) -> Int {
        guard dimensions.contains(.user) else { return 31 }
        return dimensions.count > 2 ? 1 : 7
    }

    private static func sorted(_ rows: [SpendRow], _ dimensions: [SpendDimension]) -> [SpendRow] {
        func names(_ row: SpendRow) -> [String] { dimensions.map(row.label) }
        return rows.sorted { left, right in
            if left.day != right.day { return (left.day?.day ?? 0) < (right.day?.day ?? 0) }
            if left.cost != right.cost { return left.cost > right.cost }
            return names(left).lexicographicallyPrecedes(names(right))
        }
    }

    // MARK: Forms

    var json: JSONObject {
        [
            "starting_at": .string(self.range.start.description), "ending_at": .string(self.range.end.description),
            "rows": .array(self.rows.map { $0.json(by: self.dimensions) }), "total": self.total.json(by: []),
        ]
    }

    /// RFC 4180, with the cost in dollars and a heading for each column.
    var csv: String {
        var header = self.dimensions.flatMap { $0 == .user ? [$0.key, "email"] : [$0.key] }
        header += [
            "requests", "uncached_input_tokens", "output_tokens", "cache_read_input_tokens",
            "cache_creation_5m_input_tokens", "cache_creation_1h_input_tokens", "web_search_requests", "cost_usd",
        ]
        let records = self.rows.map { row -> [String?] in
            let names = self.dimensions.flatMap { dimension -> [String?] in
                switch dimension {
                case .day: [row.day?.description]
                case .user: [row.keys[.user], row.email]
                default: [row.keys[dimension]]
                }
            }
            let counts = [
                row.requests, row.input, row.output, row.cacheRead, row.cacheWrite5m, row.cacheWrite1h,
                row.webSearches,
            ]
            return names + counts.map { String($0) } + [row.cost.dollars()]
        }
        return CommaSeparatedValues.text([header] + records)
    }

    /// For people, with the total in the last line.
    func table(bold: (String) -> String = { $0 }) -> String {
        var table = TextTable(
            self.dimensions.map { .left(Self.title($0)) }
                + ["REQUESTS", "INPUT", "OUTPUT", "CACHE READ", "CACHE WRITE", "COST"].map { .right($0) })
        func cells(_ row: SpendRow) -> [String] {
            [row.requests, row.input, row.output, row.cacheRead, row.cacheWrite].map(\.groupedByThousands)
                + [row.cost.text]
        }
        for row in self.rows { table.add(self.dimensions.map(row.label) + cells(row)) }
        table.add(self.totalLabels + cells(self.total))
        return table.text(bold: bold)
    }

    /// For people, with a bar for each row in place of the tokens.
    ///
    /// - Parameter width: Columns of the terminal; bars get what the names leave, and at least ten.
    func chart(_ style: BarChart.Style, width: Int, bold: (String) -> String = { $0 }) -> String {
        let highest = self.rows.map(\.cost).max() ?? .zero
        func filled(barWidth: Int?) -> TextTable {
            var table = TextTable(self.dimensions.map { .left(Self.title($0)) } + [.right("COST"), .left("")])
            for row in self.rows {
                let share = highest > .zero ? Double(row.cost.nanodollars) / Double(highest.nanodollars) : 0
                let bar = barWidth.map { BarChart.bar(share, width: $0, style) } ?? ""
                table.add(self.dimensions.map(row.label) + [row.cost.text, bar])
            }
            table.add(self.totalLabels + [self.total.cost.text, ""])
            return table
        }
        let names = filled(barWidth: nil).text().split(separator: "\n").map { String($0).terminalWidth }.max() ?? 0
        return filled(barWidth: max(10, width - names - 2)).text(bold: bold)
    }

    private var totalLabels: [String] {
        self.dimensions.indices.map { $0 == 0 ? "total" : "" }
    }

    private static func title(_ dimension: SpendDimension) -> String {
        dimension.rawValue.replacing("-", with: " ").uppercased()
    }
}
