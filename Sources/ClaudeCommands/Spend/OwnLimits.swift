// SPDX-License-Identifier: Apache-2.0

internal import GatewayClient
internal import GatewayCore

/// The signed-in developer's limits as of now, from `/api/oauth/usage`.
struct OwnLimits {
    struct Row {
        enum Amount: Equatable {
            case known(Money)
            case unlimited
            /// The gateway tells only how much of it is used.
            case untold
        }

        /// `spend`, or `group_pool` for a budget that a group's members share.
        let kind: String
        /// The period, or the pool's group.
        let name: String
        /// What may be spent.
        let amount: Amount
        /// `nil` for a pool, whose spend is everybody's.
        var spent: Money?
        /// Of the limit that is used, in percent.
        let percent: Int?
        let resetsAt: Timestamp?
        /// `normal`, `warning` or `critical`.
        let severity: String?
        /// Whether this is the limit that is nearest.
        let isActive: Bool

        var period: SpendPeriod? { self.kind == "spend" ? SpendPeriod(rawValue: self.name) : nil }

        var remaining: Money? {
            guard case .known(let limit) = self.amount, let spent = self.spent else { return nil }
            return max(.zero, limit - spent)
        }
    }

    private static let path = "/api/oauth/usage"

    private(set) var rows: [Row]

    static func read(_ connection: AdminConnection, _ account: AdminConnection.Account, now: Timestamp) async throws
        -> OwnLimits
    {
        var limits = OwnLimits(try await connection.call("GET", self.path, for: .developers).json, now: now)
        // The gateway tells what has been spent for the nearest limit only; the reports tell it for every period.
        for index in limits.rows.indices {
            guard limits.rows[index].spent == nil, let period = limits.rows[index].period else { continue }
            limits.rows[index].spent = try await self.spent(period, connection, account, now: now)
        }
        return limits
    }

    private static func spent(
        _ period: SpendPeriod, _ connection: AdminConnection, _ account: AdminConnection.Account, now: Timestamp,
    ) async throws -> Money {
        let query = [
            ("starting_at", period.start(of: now).description), ("ending_at", period.reset(after: now).description),
            ("bucket_width", "all"), ("user_ids[]", account.subject),
        ]
        let buckets = try await connection.list("/v1/organizations/cost_report", query: query, for: .developers)
        return buckets.flatMap { $0["results"]?.array ?? [] }.reduce(.zero) { sum, row in
            sum + (row["amount"]?.string.flatMap { Money(cents: $0) } ?? .zero)
        }
    }

    /// Reads the answer of `/api/oauth/usage`: `extra_usage` has the nearest limit's amounts in whole cents, or each
    /// period's spend where there is no limit; `limits` has a row for each limit and each pool.
    init(_ json: JSONValue, now: Timestamp) {
        let usage = json["extra_usage"]
        func cents(_ value: JSONValue?) -> Money? { value?.integer.map { Money(cents: Int64($0)) } }
        var rows: [Row] = []
        for entry in json["limits"]?.array ?? [] {
            guard let kind = entry["kind"]?.string, let name = entry["group"]?.string else { continue }
            let isActive = entry["is_active"] == true
            let amount = isActive ? cents(usage?["monthly_limit"]) : nil
            rows.append(
                Row(
                    kind: kind, name: name, amount: amount.map(Row.Amount.known) ?? .untold,
                    spent: isActive ? cents(usage?["used_credits"]) : nil, percent: entry["percent"]?.integer,
                    resetsAt: entry["resets_at"]?.string.flatMap { Timestamp(rfc3339: $0) },
                    severity: entry["severity"]?.string, isActive: isActive))
        }
        if !rows.contains(where: { $0.period != nil }) {
            let open = SpendPeriod.allCases.map { period in
                let spent = period == .monthly ? usage?["used_credits"] : usage?[period.rawValue]?["used_credits"]
                return Row(
                    kind: "spend", name: period.rawValue, amount: .unlimited, spent: cents(spent), percent: nil,
                    resetsAt: period.reset(after: now), severity: nil, isActive: false)
            }
            rows = open + rows
        }
        self.rows = rows
    }

    // MARK: Forms

    /// For people.
    func table(now: Timestamp, bold: (String) -> String = { $0 }) -> String {
        var table = TextTable([
            .left("LIMIT"), .right("AMOUNT"), .right("SPENT"), .right("LEFT"), .right("USED"), .left("RESETS (UTC)"),
        ])
        for row in self.rows {
            let amount =
                switch row.amount {
                case .known(let limit): limit.text
                case .unlimited: "unlimited"
                case .untold: ""
                }
            table.add([
                row.kind == "group_pool" ? "pool of \(row.name)" : row.name, amount, row.spent?.text ?? "",
                row.remaining?.text ?? "", row.percent.map { "\($0)%" } ?? "",
                row.resetsAt.map { "\($0.minuteText), in \($0.distanceText(from: now))" } ?? "",
            ])
        }
        return table.text(bold: bold)
    }

    /// Cents as decimal text. `amount` is null where there is no limit, and missing where the gateway does not tell it.
    var json: JSONValue {
        .array(
            self.rows.map { row in
                var object: JSONObject = ["kind": .string(row.kind)]
                object[row.kind == "group_pool" ? "rbac_group_id" : "period"] = .string(row.name)
                switch row.amount {
                case .known(let limit): object["amount"] = .string(limit.cents())
                case .unlimited: object["amount"] = .null
                case .untold: break
                }
                object["currency"] = "USD"
                object["spent"] = row.spent.map { .string($0.cents()) }
                object["remaining"] = row.remaining.map { .string($0.cents()) }
                object["percent"] = row.percent.map(JSONValue.integer)
                object["resets_at"] = row.resetsAt.map { .string($0.description) }
                object["severity"] = row.severity.map(JSONValue.string)
                object["is_active"] = .bool(row.isActive)
                return .object(object)
            })
    }
}

extension Timestamp {
    /// `2026-11-25 14:03`.
    var minuteText: String {
        String(self.description.prefix(16)).replacing("T", with: " ")
    }

    /// How far off this is, in its two largest units: `5 d 3 h`, `9 h 12 min`, `3 min`.
    func distanceText(from now: Timestamp) -> String {
        let minutes = max(0, (self.milliseconds - now.milliseconds) / 60_000)
        let (days, hours, rest) = (minutes / 1440, minutes / 60 % 24, minutes % 60)
        if days > 0 { return hours > 0 ? "\(days) d \(hours) h" : "\(days) d" }
        if hours > 0 { return rest > 0 ? "\(hours) h \(rest) min" : "\(hours) h" }
        return "\(rest) min"
    }
}
