// SPDX-License-Identifier: Apache-2.0

package import GatewayCore

/// Developers' requests for a higher limit: `spend_limit_requests`. An approved one with an end is the raise itself.
extension SpendStore where Self: SQLStore {
    private var requestColumns: String {
        """
        id, principal, period, requested, present, granted, reason, status, created_at, decided_at, decided_by, \
        decision_reason, expires_at
        """
    }

    private func request(_ row: [String?]) -> LimitIncreaseRequest? {
        func number(_ index: Int) -> Int64? { row[index].flatMap { Int64($0) } }
        func time(_ index: Int) -> Timestamp? { number(index).map(Timestamp.init(milliseconds:)) }
        guard let id = row[0], let principal = row[1], let period = row[2].flatMap(SpendPeriod.init(rawValue:)),
            let requested = number(3), let created = time(8),
            let status = row[7].flatMap(LimitIncreaseRequest.Status.init(rawValue:))
        else { return nil }
        var request = LimitIncreaseRequest(
            id: id, principal: principal, period: period, requested: requested, present: number(4),
            reason: row[6] ?? "", createdAt: created)
        request.status = status
        request.granted = number(5)
        request.decidedAt = time(9)
        request.decidedBy = row[10]
        request.decisionReason = row[11]
        request.expiresAt = time(12)
        return request
    }

    package func insertRequest(_ request: LimitIncreaseRequest, maximumPending: Int) async throws -> Bool {
        try await self.transaction(timeout: .seconds(5)) { session in
            try self.dialect.lock("spend-limit-request \(request.principal)", in: session)
            let pending = try session.rows(
                "SELECT count(*) FROM spend_limit_requests WHERE principal = $1 AND status = 'pending'",
                [StoredNames.stored(request.principal)]
            ).first?[0].flatMap { Int($0) }
            guard (pending ?? 0) < maximumPending else { return false }
            _ = try session.rows(
                """
                INSERT INTO spend_limit_requests (id, principal, period, requested, present, reason, status, created_at)
                VALUES ($1, $2, $3, \(self.dialect.integer("$4")), \(self.dialect.integer("$5")), $6, $7,
                    \(self.dialect.integer("$8")))
                """,
                [
                    request.id, StoredNames.stored(request.principal), request.period.rawValue,
                    String(request.requested),
                    request.present.map { String($0) }, request.reason, request.status.rawValue,
                    String(request.createdAt.milliseconds),
                ])
            return true
        }
    }

    package func request(id: String) async throws -> LimitIncreaseRequest? {
        try await self.reading(timeout: .seconds(5)) { session in
            try session.rows("SELECT \(self.requestColumns) FROM spend_limit_requests WHERE id = $1", [id]).first
                .flatMap { self.request($0) }
        }
    }

    package func requests(_ query: LimitRequestQuery) async throws -> (
        requests: [LimitIncreaseRequest], hasMore: Bool
    )? {
        try await self.reading(timeout: .seconds(5)) { session in
            var cursor: String?
            if let id = query.afterID {
                let row = try session.rows("SELECT sequence FROM spend_limit_requests WHERE id = $1", [id])
                guard let sequence = row.first?[0] else { return nil }
                cursor = sequence
            }
            let text = self.dialect == .postgres ? "text" : "TEXT"
            let rows = try session.rows(
                """
                SELECT \(self.requestColumns) FROM spend_limit_requests
                WHERE (CAST($1 AS \(text)) IS NULL OR principal = $1)
                    AND (CAST($2 AS \(text)) IS NULL OR status = $2)
                    AND sequence < \(self.dialect.integer("$3"))
                ORDER BY sequence DESC LIMIT \(self.dialect.integer("$4"))
                """,
                [
                    query.principal.map(StoredNames.stored), query.status?.rawValue, cursor ?? String(Int64.max),
                    String(query.limit + 1),
                ])
            return (rows.prefix(query.limit).compactMap { self.request($0) }, rows.count > query.limit)
        }
    }

    package func decideRequest(_ decided: LimitIncreaseRequest, actor: String) async throws -> LimitIncreaseRequest? {
        try await self.transaction(timeout: .seconds(5)) { session in
            let row = try session.rows(
                """
                UPDATE spend_limit_requests SET status = $2, granted = \(self.dialect.integer("$3")),
                    decided_at = \(self.dialect.integer("$4")), decided_by = $5, decision_reason = $6,
                    expires_at = \(self.dialect.integer("$7"))
                WHERE id = $1 AND status = 'pending' RETURNING \(self.requestColumns)
                """,
                [
                    decided.id, decided.status.rawValue, decided.granted.map { String($0) },
                    decided.decidedAt.map { String($0.milliseconds) }, decided.decidedBy, decided.decisionReason,
                    decided.expiresAt.map { String($0.milliseconds) },
                ])
            guard let after = row.first.flatMap({ self.request($0) }) else { return nil }
            var detail: JSONObject = [
                "user_id": .string(after.principal), "period": .string(after.period.rawValue),
                "requested_amount": .string(String(after.requested)), "status": .string(after.status.rawValue),
            ]
            detail["granted_amount"] = after.granted.map { .string(String($0)) }
            detail["expires_at"] = after.expiresAt.map { .string($0.description) }
            _ = try session.rows(
                """
                INSERT INTO admin_audit (at, actor, action, target, before, after, reason) VALUES (
                    \(self.dialect.time("$1")), $2, $3, $4, NULL, \(self.dialect.json("$5")), $6)
                """,
                [
                    after.decidedAt.map { String($0.milliseconds) }, actor,
                    "spend_limit_request.\(after.status.rawValue)", after.id, JSONValue.object(detail).text(),
                    after.decisionReason,
                ])
            return after
        }
    }
}

/// A developer's wish for a higher limit, and what became of it.
package struct LimitIncreaseRequest: Sendable, Equatable {
    package enum Status: String, Sendable, CaseIterable {
        case pending
        case approved
        case denied
        case withdrawn
    }

    package var id: String
    package var principal: String
    package var period: SpendPeriod
    /// In cents, as all amounts here.
    package var requested: Int64
    /// The limit when the request was made; `nil` without one.
    package var present: Int64?
    package var granted: Int64?
    package var reason: String
    package var status = Status.pending
    package var createdAt: Timestamp
    package var decidedAt: Timestamp?
    package var decidedBy: String?
    package var decisionReason: String?
    /// When the raise ends by itself; `nil` for one that has become the developer's limit.
    package var expiresAt: Timestamp?

    package init(
        id: String, principal: String, period: SpendPeriod, requested: Int64, present: Int64?, reason: String,
        createdAt: Timestamp,
    ) {
        self.id = id
        self.principal = principal
        self.period = period
        self.requested = requested
        self.present = present
        self.reason = reason
        self.createdAt = createdAt
    }
}

package struct LimitRequestQuery: Sendable {
    package var principal: String?
    package var status: LimitIncreaseRequest.Status?
    package var afterID: String?
    package var limit = 20

    package init() {}
}
