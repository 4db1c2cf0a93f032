// SPDX-License-Identifier: Apache-2.0

package import GatewayCore

/// Reservations of exact mode: `spend_holds`. A hold counts against the limits of its developer and its pool until the
/// booking that settles it removes it, in the booking's own transaction.
extension SpendStore where Self: SQLStore {
    package func hold(
        _ question: SpendQuestion, now: Timestamp, decide: @escaping @Sendable (SpendState) -> [SpendHold],
    ) async throws {
        try await self.transaction(timeout: .seconds(2)) { session in
            // In one order, so that replicas never wait for each other in a circle.
            for name in question.principals.sorted() { try self.dialect.lock("spend-hold p \(name)", in: session) }
            for name in question.groups.sorted() { try self.dialect.lock("spend-hold g \(name)", in: session) }
            let state = try self.state(
                principals: question.principals, groups: question.groups, includesHolds: true, now: now, session)
            let holds = decide(state)
            guard !holds.isEmpty else { return }
            let rows = holds.map { hold -> JSONValue in
                var object: JSONObject = [
                    "id": .string(hold.id), "request_id": .string(hold.requestID),
                    "principal": .string(StoredNames.stored(hold.principal)),
                    "nanodollars": .string(String(hold.amount.nanodollars)),
                    "at": .string(String(now.milliseconds)), "expires_at": .string(String(hold.expiresAt.milliseconds)),
                ]
                object["pool"] = hold.pool.map { .string(StoredNames.stored($0)) }
                return .object(object)
            }
            let columns: [(name: String, type: SQLDialect.ColumnType)] = [
                ("id", .text), ("request_id", .text), ("principal", .text), ("pool", .text), ("nanodollars", .integer),
                ("at", .integer), ("expires_at", .integer),
            ]
            let names = columns.map(\.name).joined(separator: ", ")
            _ = try session.rows(
                """
                INSERT INTO spend_holds (\(names)) SELECT \(names) FROM \(self.dialect.records("$1", columns))
                WHERE true
                """, [JSONValue.array(rows).text()])
        }
    }

    package func releaseHolds(_ ids: [String]) async throws {
        guard !ids.isEmpty else { return }
        try await self.transaction(timeout: .seconds(5)) { _ = try $0.rows(self.removingHolds(ids)) }
    }

    func removingHolds(_ ids: [String]) -> SQLStatement {
        SQLStatement(self.sql.endHolds, [JSONValue.texts(ids)])
    }

    package func extendHolds(_ ids: [String], to end: Timestamp) async throws {
        guard !ids.isEmpty else { return }
        try await self.transaction(timeout: .seconds(5)) { session in
            _ = try session.rows(
                """
                UPDATE spend_holds SET expires_at = \(self.dialect.integer("$2"))
                WHERE id \(self.dialect.isOne(of: "$1"))
                """, [JSONValue.texts(ids), String(end.milliseconds)])
        }
    }

    package func sweepHolds(now: Timestamp) async throws -> [SpendHold] {
        try await self.transaction(timeout: .seconds(10)) { session in
            let rows = try session.rows(
                """
                DELETE FROM spend_holds WHERE expires_at <= \(self.dialect.integer("$1"))
                RETURNING id, request_id, principal, pool, nanodollars, expires_at
                """, [String(now.milliseconds)])
            return rows.compactMap { row in
                guard let id = row[0], let requestID = row[1], let principal = row[2],
                    let amount = row[4].flatMap({ Int64($0) }), let end = row[5].flatMap({ Int64($0) })
                else { return nil }
                return SpendHold(
                    id: id, requestID: requestID, principal: principal, pool: row[3],
                    amount: Money(nanodollars: amount), expiresAt: Timestamp(milliseconds: end))
            }
        }
    }
}
