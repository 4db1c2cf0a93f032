// SPDX-License-Identifier: Apache-2.0

internal import GatewayCore
internal import GatewayMetering
internal import GatewayRelay
internal import GatewayStore
internal import Logging
internal import NIOCore
internal import NIOHTTP1

/// `/v1/organizations/spend_limits`: limits, who is under which, and who has changed them.
struct SpendLimitRoutes: Sendable {
    static let base = "/v1/organizations/spend_limits"

    let store: any SpendStore
    let guardian: SpendGuard
    let settings: AdminSettings
    let audit: any AuditSink

    /// Which methods a path under the base takes.
    func methods(of path: String) -> [String]? {
        switch Self.rest(path) {
        case "": ["GET", "HEAD", "POST"]
        case "effective", "audit": ["GET", "HEAD"]
        case let rest where rest.contains("/") || rest.isEmpty: nil
        default: ["GET", "HEAD", "DELETE"]
        }
    }

    /// What follows the base, without its slash.
    private static func rest(_ path: String) -> String {
        String(path.dropFirst(self.base.count).drop { $0 == "/" })
    }

    func answer(_ request: PlainRequest, _ administrator: AdminAccess.Administrator) async throws -> PlainResponse {
        let query = QueryParameters(request.query)
        let rest = Self.rest(request.path)
        switch (request.method, rest) {
        case (.POST, ""): return try await self.set(Array(request.body.readableBytesView), administrator)
        case (.DELETE, let id): return try await self.delete(id, administrator)
        case (_, ""): return try await self.list(query)
        case (_, "effective"):
            return try await EffectiveLimits(store: self.store, mode: self.settings.groupLimitMode).answer(query)
        case (_, "audit"): return try await self.trail(query)
        case (_, let id): return try await self.limit(id)
        }
    }

    // MARK: One limit

    private static func id(_ rest: String) throws(AdminError) -> String {
        let id = FormCoding.unescape(rest.utf8, plusIsSpace: false)
        if rest.contains("%"), id.contains("%") || id.utf8.contains(0) || id.unicodeScalars.contains("\u{FFFD}") {
            throw .invalid("the id of the spend limit is malformed")
        }
        return id
    }

    private func set(_ bytes: [UInt8], _ administrator: AdminAccess.Administrator) async throws -> PlainResponse {
        let body = try SpendLimitBody(bytes)
        let now = Timestamp.now
        let change = try await self.store.upsertLimit(
            body.scope, body.period, actor: administrator.actor, reason: body.reason, now: now
        ) { stored in
            try body.applied(to: stored, now: now)
        }
        self.guardian.forget()
        guard let limit = change.after else { throw AdminError.storeAway }
        let scope = limit.scope
        let before = change.before
        let hasPools = if case .group = scope { limit.period == .monthly } else { false }
        func amount(_ cents: Int64?) -> JSONValue { cents.map { .string(String($0)) } ?? .null }
        self.audit.record(
            AuditEvent(
                "admin.limit.upsert",
                [
                    "actor": .string(administrator.actor), "target": .string(limit.id),
                    "scope_type": .string(scope.type), "scope_id": .string(scope.id),
                    "period": .string(limit.period.rawValue),
                    "before_amount": before.map { amount($0.amount) }, "amount": amount(limit.amount),
                    "before_pooled_budget": hasPools ? before.map { Self.pool($0.pool) } : nil,
                    "pooled_budget": hasPools ? Self.pool(limit.pool) : nil,
                    "reason": body.reason.map(JSONValue.string),
                ]))
        return .json(.ok, limit.json, headers: ["spend-limit-change": before == nil ? "created" : "replaced"])
    }

    private static func pool(_ pool: SpendLimit.Pool?) -> JSONValue {
        guard let pool else { return .null }
        return ["amount": .string(String(pool.amount)), "paused": .bool(pool.isPaused)]
    }

    private func limit(_ rest: String) async throws -> PlainResponse {
        guard let limit = try await self.store.limit(id: try Self.id(rest), now: .now) else {
            throw AdminError.notFound("spend limit not found")
        }
        return .json(.ok, limit.json)
    }

    private func delete(_ rest: String, _ administrator: AdminAccess.Administrator) async throws -> PlainResponse {
        let deleted = try await self.store.deleteLimit(
            id: try Self.id(rest), actor: administrator.actor, reason: nil, now: .now)
        self.guardian.forget()
        guard let deleted else { throw AdminError.notFound("spend limit not found") }
        self.audit.record(
            AuditEvent(
                "admin.limit.delete",
                [
                    "actor": .string(administrator.actor), "target": .string(deleted.id),
                    "scope_type": .string(deleted.scope.type), "scope_id": .string(deleted.scope.id),
                    "period": .string(deleted.period.rawValue),
                ]))
        return .json(.ok, ["type": "spend_limit_deleted", "id": .string(deleted.id)])
    }

    // MARK: Lists

    private func list(_ query: QueryParameters) async throws -> PlainResponse {
        var wanted = LimitQuery()
        wanted.limit = try query.limit(default: 20)
        wanted.scopeType = try query.choice("scope_type", ["organization", "rbac_group", "user"])
        wanted.scopeID = query["scope_id"]
        wanted.period = try query.choice("period", SpendPeriod.allCases.map(\.rawValue)).flatMap(SpendPeriod.init)
        var name = "after_id"
        switch (query["after_id"], query["before_id"]) {
        case (_?, _?): throw AdminError.invalid("after_id and before_id are mutually exclusive; send one of them")
        case (let id?, nil): wanted.cursor = .after(id)
        case (nil, let id?):
            wanted.cursor = .before(id)
            name = "before_id"
        case (nil, nil): break
        }
        guard query[name]?.utf8.contains(0) != true, let page = try await self.store.limits(wanted, now: .now) else {
            throw AdminError.invalid("\(name): no spend limit with this id")
        }
        return .json(
            .ok,
            [
                "data": .array(page.limits.map(\.json)), "has_more": .bool(page.hasMore),
                "first_id": (page.limits.first?.id).jsonOrNull, "last_id": (page.limits.last?.id).jsonOrNull,
            ])
    }

    private func trail(_ query: QueryParameters) async throws -> PlainResponse {
        var wanted = AuditQuery()
        wanted.limit = try query.limit(default: 100)
        if let text = query["after_id"] {
            guard !text.isEmpty, text.utf8.allSatisfy({ (0x30...0x39).contains($0) }), let id = Int64(text) else {
                throw AdminError.invalid("after_id: must be an audit event id")
            }
            wanted.afterID = id
        }
        wanted.actor = query["actor"]
        wanted.action = query["action"]
        wanted.target = query["target_id"]
        let (rows, hasMore) = try await self.store.auditRows(wanted)
        let data = rows.map { row -> JSONValue in
            [
                "type": "audit_event", "id": .string(String(row.id)), "created_at": .string(row.at.description),
                "actor": .string(row.actor), "action": .string(row.action), "target_id": .string(row.target),
                "before": Self.ordered(row.before), "after": Self.ordered(row.after),
                "reason": row.reason.jsonOrNull,
            ]
        }
        return .json(.ok, ["data": .array(data), "has_more": .bool(hasMore)])
    }

    private static let auditKeys = [
        "id", "scope", "amount", "period", "currency", "created_at", "updated_at", "pooled_budget",
    ]

    /// PostgreSQL's `jsonb` forgets the order of keys.
    private static func ordered(_ value: JSONValue?) -> JSONValue {
        guard case .object(let object)? = value else { return .null }
        var sorted: JSONObject = [:]
        for key in self.auditKeys + object.keys where object[key] != nil {
            sorted[key] =
                switch key {
                case "scope": self.ordered(object[key], first: ["type", "user_id", "rbac_group_id"])
                case "pooled_budget": self.ordered(object[key], first: ["amount", "paused"])
                default: object[key]
                }
        }
        return .object(sorted)
    }

    private static func ordered(_ value: JSONValue?, first keys: [String]) -> JSONValue {
        guard case .object(let object)? = value else { return value ?? .null }
        var sorted: JSONObject = [:]
        for key in keys + object.keys { sorted[key] = object[key] }
        return .object(sorted)
    }
}

extension SpendLimit {
    /// As the API shows it.
    var json: JSONValue {
        var object: JSONObject = [
            "type": "spend_limit", "id": .string(self.id), "created_at": .string(self.createdAt.description),
            "updated_at": .string(self.updatedAt.description), "scope": self.scopeJSON,
            "amount": self.amount.map { .string(String($0)) } ?? .null, "currency": "USD",
            "period": .string(self.period.rawValue),
        ]
        if case .group = self.scope, self.period == .monthly {
            object["pooled_budget"] = self.pool.map { $0.json(spend: self.poolSpend ?? .zero) } ?? .null
        }
        return .object(object)
    }
}

extension SpendLimit.Pool {
    func json(spend: Money) -> JSONValue {
        [
            "amount": .string(String(self.amount)), "paused": .bool(self.isPaused), "currency": "USD",
            "period_to_date_spend": .string(spend.cents(places: 3)),
        ]
    }
}
