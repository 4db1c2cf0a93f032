// SPDX-License-Identifier: Apache-2.0

package import GatewayCore

extension SpendStore where Self: SQLStore {
    private var limitColumns: String {
        """
        id, scope_type, scope_id, period, amount, pooled_limit_enabled, pooled_monthly_credit_limit, \
        \(self.dialect.milliseconds("created_at")), \(self.dialect.milliseconds("updated_at"))
        """
    }

    private func limit(_ row: ArraySlice<String?>) -> SpendLimit? {
        let row = Array(row)
        guard let id = row[0], let scope = SpendScope(type: row[1] ?? "", id: row[2] ?? ""),
            let period = SpendPeriod(rawValue: row[3] ?? ""), let created = row[7].flatMap({ Int64($0) }),
            let updated = row[8].flatMap({ Int64($0) })
        else { return nil }
        var pool: SpendLimit.Pool?
        if let amount = row[6].flatMap({ Int64($0) }) {
            pool = SpendLimit.Pool(amount: amount, isPaused: !self.dialect.isTrue(row[5]))
        }
        return SpendLimit(
            id: id, scope: scope, period: period, amount: row[4].flatMap { Int64($0) }, pool: pool,
            createdAt: Timestamp(milliseconds: created), updatedAt: Timestamp(milliseconds: updated))
    }

    package func spendState(principals: [String], groups: [String], now: Timestamp) async throws -> SpendState {
        try await self.reading(timeout: .seconds(2)) { session in
            try self.state(principals: principals, groups: groups, now: now, session)
        }
    }

    func state(
        principals: [String], groups: [String], includesHolds: Bool = false, now: Timestamp, _ session: any SQLSession,
    ) throws -> SpendState {
        let question = SpendQuestion(principals: principals, groups: groups)
        return self.state(question, try session.rows(self.asking(question, includesHolds: includesHolds, now: now)))
    }

    /// One statement, however many callers wait for its answer, so that all of it is seen at one moment: what a booking
    /// moves from the holds to the counters is seen once.
    func asking(_ question: SpendQuestion, includesHolds: Bool = false, now: Timestamp) -> SQLStatement {
        let periods = SpendPeriod.allCases.map { $0.key(at: now) }
        let (people, teams) = (StoredNames(question.principals), StoredNames(question.groups))
        return SQLStatement(
            includesHolds ? self.sql.readWithHolds : self.sql.read,
            [
                JSONValue.texts(people.asked), JSONValue.texts(teams.asked), JSONValue.texts(periods),
                SpendPeriod.monthly.key(at: now), String(now.milliseconds),
            ])
    }

    /// What the rows say that `asking` brought.
    func state(_ question: SpendQuestion, _ rows: SQLRows) -> SpendState {
        let (people, teams) = (StoredNames(question.principals), StoredNames(question.groups))
        var state = SpendState()
        for row in rows {
            guard row[0] != "limit" else {
                if let limit = self.limit(row[1...].map { $0 == "true" ? "t" : $0 }[...]) {
                    state.limits.append(limit)
                }
                continue
            }
            guard let stored = row[1], let period = row[2], let amount = row[3].flatMap({ Int64($0) }) else { continue }
            let money = Money(nanodollars: amount)
            let isOfGroup = row[0] == "pool" || row[0] == "held-pool"
            let name = isOfGroup ? teams.original(stored) : people.original(stored)
            switch row[0] {
            case "spend": state.spend[name, default: [:]][period] = money
            case "pool": state.pools[name] = money
            case "raise":
                guard let period = SpendPeriod(rawValue: period), let end = row[4].flatMap({ Int64($0) }) else { break }
                let raise = SpendState.Raise(amount: amount, endsAt: Timestamp(milliseconds: end))
                // Of several the largest counts.
                if let other = state.raises[name]?[period], other.amount >= amount { break }
                state.raises[name, default: [:]][period] = raise
            case "held": state.held[name] = money
            default: state.heldOfPools[name] = money
            }
        }
        return state
    }

    // MARK: Changing

    package func upsertLimit(
        _ scope: SpendScope, _ period: SpendPeriod, actor: String, reason: String?, now: Timestamp,
        change: @escaping @Sendable (SpendLimit?) throws -> SpendLimit,
    ) async throws -> LimitChange {
        try await self.transaction(timeout: .seconds(5)) { session in
            try self.dialect.lock("spend-limit \(period.rawValue) \(scope.type) \(scope.id)", in: session)
            let before = try session.rows(
                """
                SELECT \(self.limitColumns) FROM spend_limits
                WHERE scope_type = $1 AND scope_id = $2 AND period = $3
                """, [scope.type, scope.id, period.rawValue]
            ).first.flatMap { self.limit($0[...]) }
            let wanted = try change(before)
            let values = [
                wanted.id, scope.type, scope.id, wanted.amount.map { String($0) }, period.rawValue,
                String(wanted.createdAt.milliseconds), String(wanted.updatedAt.milliseconds), actor,
                wanted.pool?.isPaused == false ? "1" : "0", wanted.pool.map { String($0.amount) },
            ]
            let row = try session.rows(
                """
                INSERT INTO spend_limits (
                    id, scope_type, scope_id, amount, period, created_at, updated_at, created_by,
                    pooled_limit_enabled, pooled_monthly_credit_limit)
                VALUES (
                    $1, $2, $3, \(self.dialect.integer("$4")), $5, \(self.dialect.time("$6")),
                    \(self.dialect.time("$7")), $8, \(self.dialect.boolean("$9")), \(self.dialect.integer("$10")))
                ON CONFLICT (scope_type, scope_id, period) DO UPDATE SET
                    amount = excluded.amount, updated_at = excluded.updated_at,
                    pooled_limit_enabled = excluded.pooled_limit_enabled,
                    pooled_monthly_credit_limit = excluded.pooled_monthly_credit_limit
                RETURNING \(self.limitColumns)
                """, values)
            guard var after = row.first.flatMap({ self.limit($0[...]) }) else {
                throw StoreError.refused(sqlState: "", "the limit was not stored")
            }
            if case .group(let name) = scope, before?.pool == nil, after.pool != nil {
                try self.backfillPool(of: name, now: now, session)
            }
            after.poolSpend = try self.poolSpend(of: after, now: now, session)
            try self.audit(
                actor: actor, action: "spend_limit.upsert", target: after.id, before: before, after: after,
                reason: reason, now: now, session)
            return LimitChange(before: before, after: after)
        }
    }

    /// A new pool starts with what its group's members have spent this month: by their billing tag where they used one,
    /// else by having been in the group on the day, unless another group's pool has paid.
    private func backfillPool(of group: String, now: Timestamp, _ session: any SQLSession) throws {
        let month = SpendPeriod.monthly.key(at: now)
        let isMember: String
        switch self.dialect {
        case .postgres: isMember = "seen.groups ? $1"
        case .sqlite: isMember = "EXISTS (SELECT 1 FROM json_each(seen.groups) WHERE value = $1)"
        }
        let start = String(SpendPeriod.monthly.start(of: now).milliseconds)
        _ = try session.rows(
            """
            INSERT INTO pooled_spend (rbac_group_id, period, nanodollars, updated_at)
            SELECT $1, $2, total, \(self.dialect.time("$3")) FROM (
                SELECT CAST(sum(ledger.nanodollars) AS bigint) AS total FROM spend_ledger AS ledger
                LEFT JOIN principal_groups AS seen
                    ON seen.day = ledger.day AND seen.principal = ledger.principal
                WHERE ledger.at >= \(self.dialect.integer("$4")) AND ledger.pool IS NULL
                    AND (ledger.billing_group = $1 OR (ledger.billing_group IS NULL AND \(isMember)))
            ) AS spent WHERE total IS NOT NULL
            ON CONFLICT (rbac_group_id, period) DO NOTHING
            """, [StoredNames.stored(group), month, String(now.milliseconds), start])
    }

    private func poolSpend(of limit: SpendLimit, now: Timestamp, _ session: any SQLSession) throws -> Money? {
        guard limit.pool != nil, case .group(let name) = limit.scope else { return nil }
        let rows = try session.rows(
            "SELECT nanodollars FROM pooled_spend WHERE rbac_group_id = $1 AND period = $2",
            [StoredNames.stored(name), SpendPeriod.monthly.key(at: now)])
        return Money(nanodollars: rows.first?[0].flatMap { Int64($0) } ?? 0)
    }

    package func deleteLimit(id: String, actor: String, reason: String?, now: Timestamp) async throws -> SpendLimit? {
        try await self.transaction(timeout: .seconds(5)) { session in
            let row = try session.rows(
                "DELETE FROM spend_limits WHERE id = $1 RETURNING \(self.limitColumns)", [id])
            guard let limit = row.first.flatMap({ self.limit($0[...]) }) else { return nil }
            try self.audit(
                actor: actor, action: "spend_limit.delete", target: id, before: limit, after: nil, reason: reason,
                now: now, session)
            return limit
        }
    }

    private func audit(
        actor: String, action: String, target: String, before: SpendLimit?, after: SpendLimit?, reason: String?,
        now: Timestamp, _ session: any SQLSession,
    ) throws {
        _ = try session.rows(
            """
            INSERT INTO admin_audit (at, actor, action, target, before, after, reason) VALUES (
                \(self.dialect.time("$1")), $2, $3, $4, \(self.dialect.json("$5")), \(self.dialect.json("$6")), $7)
            """,
            [
                String(now.milliseconds), actor, action, target, before?.auditJSON.text(), after?.auditJSON.text(),
                reason,
            ])
    }

    // MARK: Reading

    package func limit(id: String, now: Timestamp) async throws -> SpendLimit? {
        try await self.reading(timeout: .seconds(5)) { session in
            let row = try session.rows("SELECT \(self.limitColumns) FROM spend_limits WHERE id = $1", [id])
            guard var limit = row.first.flatMap({ self.limit($0[...]) }) else { return nil }
            limit.poolSpend = try self.poolSpend(of: limit, now: now, session)
            return limit
        }
    }

    package func limits(_ query: LimitQuery, now: Timestamp) async throws -> LimitListing? {
        try await self.reading(timeout: .seconds(5)) { session in
            var cursor: String?
            switch query.cursor {
            case .after(let id)?, .before(let id)?:
                let row = try session.rows("SELECT sequence FROM spend_limits WHERE id = $1", [id])
                guard let sequence = row.first?[0] else { return nil }
                cursor = sequence
            case nil: break
            }
            var isBackward = false
            if case .before? = query.cursor { isBackward = true }
            let comparison = cursor == nil ? "" : "AND sequence \(isBackward ? "<" : ">") \(self.dialect.integer("$5"))"
            let text = self.dialect == .postgres ? "text" : "TEXT"
            let rows = try session.rows(
                """
                SELECT \(self.limitColumns) FROM spend_limits
                WHERE (CAST($1 AS \(text)) IS NULL OR scope_type = $1)
                    AND (CAST($2 AS \(text)) IS NULL OR scope_id = $2)
                    AND (CAST($3 AS \(text)) IS NULL OR period = $3) \(comparison)
                ORDER BY sequence \(isBackward ? "DESC" : "ASC") LIMIT \(self.dialect.integer("$4"))
                """,
                [query.scopeType, query.scopeID, query.period?.rawValue, String(query.limit + 1)]
                    + (cursor.map { [$0] } ?? []))
            var limits = rows.prefix(query.limit).compactMap { self.limit($0[...]) }
            if isBackward { limits.reverse() }
            for index in limits.indices {
                limits[index].poolSpend = try self.poolSpend(of: limits[index], now: now, session)
            }
            return LimitListing(limits: limits, hasMore: rows.count > query.limit)
        }
    }

    package func auditRows(_ query: AuditQuery) async throws -> (rows: [AdminAuditRow], hasMore: Bool) {
        try await self.reading(timeout: .seconds(5)) { session in
            let text = self.dialect == .postgres ? "text" : "TEXT"
            let rows = try session.rows(
                """
                SELECT id, \(self.dialect.milliseconds("at")), actor, action, target, before, after, reason
                FROM admin_audit WHERE id < \(self.dialect.integer("$1"))
                    AND (CAST($2 AS \(text)) IS NULL OR actor = $2) AND (CAST($3 AS \(text)) IS NULL OR action = $3)
                    AND (CAST($4 AS \(text)) IS NULL OR target = $4)
                ORDER BY id DESC LIMIT \(self.dialect.integer("$5"))
                """,
                [
                    String(query.afterID ?? .max), query.actor, query.action, query.target, String(query.limit + 1),
                ])
            let found = rows.prefix(query.limit).compactMap { row -> AdminAuditRow? in
                guard let id = row[0].flatMap({ Int64($0) }), let at = row[1].flatMap({ Int64($0) }) else { return nil }
                func json(_ text: String?) -> JSONValue? { text.flatMap { try? JSONValue(parsing: $0.utf8) } }
                return AdminAuditRow(
                    id: id, at: Timestamp(milliseconds: at), actor: row[2] ?? "", action: row[3] ?? "",
                    target: row[4] ?? "", before: json(row[5]), after: json(row[6]), reason: row[7])
            }
            return (found, rows.count > query.limit)
        }
    }
}

extension SpendLimit {
    /// `scope` as the API writes it.
    package var scopeJSON: JSONValue {
        switch self.scope {
        case .organization: ["type": "organization"]
        case .group(let name): ["type": "rbac_group", "rbac_group_id": .string(name)]
        case .user(let subject): ["type": "user", "user_id": .string(subject)]
        }
    }

    /// What `admin_audit` keeps of a limit.
    package var auditJSON: JSONValue {
        var object: JSONObject = [
            "id": .string(self.id), "scope": self.scopeJSON,
            "amount": self.amount.map { .string(String($0)) } ?? .null, "period": .string(self.period.rawValue),
            "currency": "USD", "created_at": .string(self.createdAt.description),
            "updated_at": .string(self.updatedAt.description),
        ]
        if let pool {
            object["pooled_budget"] = ["amount": .string(String(pool.amount)), "paused": .bool(pool.isPaused)]
        }
        return .object(object)
    }
}
