// SPDX-License-Identifier: Apache-2.0

internal import GatewayCore

/// One row of a report: what some requests have used and cost.
struct SpendRow {
    /// The day, when the report is split by days.
    var day: CivilDate?
    /// What the other dimensions are for this row; `nil` where the gateway knows none, such as a group for somebody who
    /// is in no group.
    var keys: [SpendDimension: String] = [:]
    /// The user's address, as last seen.
    var email: String?
    var requests = 0
    /// Tokens that were neither read from the cache nor written to it.
    var input = 0
    var output = 0
    var cacheRead = 0
    /// Written to the cache for five minutes.
    var cacheWrite5m = 0
    /// Written to the cache for an hour.
    var cacheWrite1h = 0
    var webSearches = 0
    var cost = Money.zero

    var cacheWrite: Int { self.cacheWrite5m + self.cacheWrite1h }
    var tokens: Int { self.input + self.output + self.cacheRead + self.cacheWrite }

    init(day: CivilDate? = nil) {
        self.day = day
    }

    /// Reads one of the API's `results`; `nil` when it has no cost.
    init?(_ json: JSONValue, day: CivilDate?) {
        guard let cost = json["cost"]?["amount"]?.string.flatMap({ Money(cents: $0) }) else { return nil }
        self.day = day
        for dimension in SpendDimension.allCases where dimension != .day {
            self.keys[dimension] = json[dimension.key]?.string
        }
        self.email = json["email"]?.string
        func number(_ value: JSONValue?) -> Int { value?.integer ?? 0 }
        self.requests = number(json["requests"])
        self.input = number(json["uncached_input_tokens"])
        self.output = number(json["output_tokens"])
        self.cacheRead = number(json["cache_read_input_tokens"])
        self.cacheWrite5m = number(json["cache_creation"]?["ephemeral_5m_input_tokens"])
        self.cacheWrite1h = number(json["cache_creation"]?["ephemeral_1h_input_tokens"])
        self.webSearches = number(json["server_tool_use"]?["web_search_requests"])
        self.cost = cost
    }

    /// The sum of rows, of which none is counted in another.
    static func sum(_ rows: [SpendRow]) -> SpendRow {
        rows.reduce(into: SpendRow()) { sum, row in
            sum.requests += row.requests
            sum.input += row.input
            sum.output += row.output
            sum.cacheRead += row.cacheRead
            sum.cacheWrite5m += row.cacheWrite5m
            sum.cacheWrite1h += row.cacheWrite1h
            sum.webSearches += row.webSearches
            sum.cost += row.cost
        }
    }

    /// For people.
    func label(_ dimension: SpendDimension) -> String {
        switch dimension {
        case .day: self.day?.description ?? ""
        case .user: self.email ?? self.keys[.user] ?? "(unknown)"
        default: self.keys[dimension] ?? "(none)"
        }
    }

    /// In the API's words and units: cents as decimal text, and only the dimensions asked for.
    func json(by dimensions: [SpendDimension]) -> JSONValue {
        var object: JSONObject = [:]
        for dimension in dimensions {
            object[dimension.key] =
                dimension == .day ? (self.day?.description).jsonOrNull : self.keys[dimension].jsonOrNull
            if dimension == .user { object["email"] = self.email.jsonOrNull }
        }
        object["requests"] = .integer(self.requests)
        object["uncached_input_tokens"] = .integer(self.input)
        object["output_tokens"] = .integer(self.output)
        object["cache_read_input_tokens"] = .integer(self.cacheRead)
        object["cache_creation"] = [
            "ephemeral_5m_input_tokens": .integer(self.cacheWrite5m),
            "ephemeral_1h_input_tokens": .integer(self.cacheWrite1h),
        ]
        object["server_tool_use"] = ["web_search_requests": .integer(self.webSearches)]
        object["cost"] = ["amount": .string(self.cost.cents()), "currency": "USD"]
        return .object(object)
    }
}
