// SPDX-License-Identifier: Apache-2.0

internal import GatewayCore
internal import GatewayMetering
internal import GatewayRelay
internal import GatewayStore
internal import NIOHTTP1

/// `/v1/organizations/usage_report/messages` and `/v1/organizations/cost_report`, in the shape of Anthropic's public
/// reports (<https://platform.claude.com/docs/en/api/admin-api>), from the gateway's own ledger. Administrators see
/// everybody's spend, developers their own.
struct ReportRoutes: Sendable {
    enum Kind: String, Sendable, CaseIterable {
        case usage = "/v1/organizations/usage_report/messages"
        case cost = "/v1/organizations/cost_report"
    }

    private struct Bucket {
        let name: String
        let bucket: SpendReportQuery.Bucket
        /// Milliseconds.
        let length: Int64
        let standard: Int
        let maximum: Int

        static let all = [
            Bucket(name: "1m", bucket: .minute, length: 60_000, standard: 60, maximum: 1440),
            Bucket(name: "1h", bucket: .hour, length: 3_600_000, standard: 24, maximum: 168),
            Bucket(name: "1d", bucket: .day, length: 86_400_000, standard: 7, maximum: 31),
            Bucket(name: "all", bucket: .all, length: 0, standard: 1000, maximum: 10_000),
        ]
    }

    private static let dimensions: [(name: String, dimension: SpendReportQuery.Dimension)] = [
        ("user_id", .user), ("model", .model), ("upstream", .upstream), ("rbac_group_id", .group),
        ("billing_group", .billingGroup),
    ]

    let kind: Kind
    let store: any SpendStore

    /// - Parameter developer: Whose spend alone may be seen; `nil` for administrators.
    func answer(_ parameters: QueryParameters, developer: String?) async throws -> PlainResponse {
        let width = try parameters.choice("bucket_width", Bucket.all.map(\.name)) ?? "1d"
        let bucket = Bucket.all.first { $0.name == width } ?? Bucket.all[2]
        let limit = try parameters.limit(default: bucket.standard, maximum: bucket.maximum)
        var query = try self.range(parameters, bucket)
        query.bucket = bucket.bucket
        for name in parameters.all("group_by[]") {
            guard let known = Self.dimensions.first(where: { $0.name == name }) else {
                throw AdminError.invalid(
                    "group_by[]: must be one of \(Self.dimensions.map(\.name).joined(separator: ", "))")
            }
            if !query.by.contains(known.dimension) { query.by.append(known.dimension) }
        }
        query.principals = parameters.all("user_ids[]")
        query.groups = parameters.all("rbac_group_ids[]")
        query.models = parameters.all("models[]")
        query.upstreams = parameters.all("upstreams[]")
        if (query.principals + query.groups + query.models + query.upstreams).contains(where: { $0.utf8.contains(0) }) {
            throw AdminError.invalid("a filter holds U+0000")
        }
        if let developer {
            guard query.groups.isEmpty, query.principals.allSatisfy({ $0 == developer }) else {
                throw AdminError.forbidden(
                    "only administrators see the spend of others: ask for a group in admin.admin_groups, or use an admin key"
                )
            }
            query.principals = [developer]
        }
        if bucket.bucket == .all {
            return try await self.rows(query, parameters, limit: limit)
        }
        return try await self.buckets(query, parameters, bucket, limit: limit)
    }

    private func range(_ parameters: QueryParameters, _ bucket: Bucket) throws -> SpendReportQuery {
        guard let text = parameters["starting_at"] else {
            throw AdminError.invalid("starting_at: is required, such as 2026-11-01T00:00:00Z")
        }
        guard let start = Timestamp(rfc3339: text) else {
            throw AdminError.invalid("starting_at: must be a time of RFC 3339, such as 2026-11-01T00:00:00Z")
        }
        var end = Timestamp.now
        if let text = parameters["ending_at"] {
            guard let given = Timestamp(rfc3339: text) else {
                throw AdminError.invalid("ending_at: must be a time of RFC 3339, such as 2026-12-01T00:00:00Z")
            }
            end = given
        }
        // Buckets begin at whole minutes, hours and days; a range over everything does not have to.
        let length = max(1, bucket.length)
        let from = start.milliseconds - Self.modulo(start.milliseconds, length)
        let to = end.milliseconds + Self.modulo(-end.milliseconds, length)
        guard from < to else { throw AdminError.invalid("ending_at: must be after starting_at") }
        return SpendReportQuery(from: Timestamp(milliseconds: from), to: Timestamp(milliseconds: to))
    }

    private static func modulo(_ value: Int64, _ length: Int64) -> Int64 {
        (value % length + length) % length
    }

    // MARK: Pages

    private static func token(_ value: Int64) -> String { Base64URL.encode(Array("p\(value)".utf8)) }

    private static func value(of token: String?) throws(AdminError) -> Int64? {
        guard let token else { return nil }
        guard let bytes = Base64URL.decode(token), bytes.first == UInt8(ascii: "p"),
            let value = Int64(String(decoding: bytes.dropFirst(), as: UTF8.self)), value >= 0
        else { throw .invalid("page: invalid page token") }
        return value
    }

    /// One bucket over the whole range, a page of its rows at a time.
    private func rows(_ query: SpendReportQuery, _ parameters: QueryParameters, limit: Int) async throws
        -> PlainResponse
    {
        let start = Int(clamping: try Self.value(of: parameters["page"]) ?? 0)
        let rows = try await self.store.report(query)
        let page = rows.dropFirst(start).prefix(limit)
        let next = start + page.count < rows.count ? Self.token(Int64(start + page.count)) : nil
        let bucket = try await self.bucket(from: query.from, to: query.to, Array(page), query)
        return Self.answer([bucket], next: next)
    }

    private func buckets(
        _ query: SpendReportQuery, _ parameters: QueryParameters, _ bucket: Bucket, limit: Int,
    ) async throws -> PlainResponse {
        var query = query
        let end = query.to
        if let start = try Self.value(of: parameters["page"]) {
            guard start >= query.from.milliseconds, start < end.milliseconds, start % bucket.length == 0 else {
                throw AdminError.invalid("page: invalid page token")
            }
            query.from = Timestamp(milliseconds: start)
        }
        query.to = min(end, Timestamp(milliseconds: query.from.milliseconds + Int64(limit) * bucket.length))
        let rows = Dictionary(grouping: try await self.store.report(query), by: \.start)
        var data: [JSONValue] = []
        var start = query.from
        while start < query.to {
            let next = Timestamp(milliseconds: start.milliseconds + bucket.length)
            data.append(try await self.bucket(from: start, to: next, rows[start] ?? [], query))
            start = next
        }
        return Self.answer(data, next: query.to < end ? Self.token(query.to.milliseconds) : nil)
    }

    private static func answer(_ data: [JSONValue], next: String?) -> PlainResponse {
        .json(.ok, ["data": .array(data), "has_more": .bool(next != nil), "next_page": next.jsonOrNull])
    }

    private func bucket(from: Timestamp, to: Timestamp, _ rows: [SpendReportRow], _ query: SpendReportQuery)
        async throws -> JSONValue
    {
        let userIndex = query.by.firstIndex(of: .user)
        let users = userIndex.map { index in Set(rows.compactMap { $0.keys[index] }) } ?? []
        let identities = try await self.store.identities(Array(users))
        let results = rows.map { row -> JSONValue in
            var object: JSONObject = [:]
            for (name, dimension) in Self.dimensions {
                let key = query.by.firstIndex(of: dimension).flatMap { row.keys[$0] }
                object[name] = key.jsonOrNull
                if dimension == .user { object["email"] = key.flatMap { identities[$0]?.email }.jsonOrNull }
            }
            object["requests"] = .integer(row.requests)
            switch self.kind {
            case .usage:
                object["uncached_input_tokens"] = .integer(row.input)
                object["output_tokens"] = .integer(row.output)
                object["cache_read_input_tokens"] = .integer(row.cacheRead)
                object["cache_creation"] = [
                    "ephemeral_5m_input_tokens": .integer(row.cacheWrite5m),
                    "ephemeral_1h_input_tokens": .integer(row.cacheWrite1h),
                ]
                object["server_tool_use"] = ["web_search_requests": .integer(row.webSearches)]
                object["cost"] = ["amount": .string(row.amount.cents()), "currency": "USD"]
            case .cost:
                object["amount"] = .string(row.amount.cents())
                object["currency"] = "USD"
            }
            return .object(object)
        }
        return [
            "starting_at": .string(from.description), "ending_at": .string(to.description),
            "results": .array(results),
        ]
    }
}
