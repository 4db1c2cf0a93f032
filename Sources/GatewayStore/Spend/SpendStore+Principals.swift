// SPDX-License-Identifier: Apache-2.0

package import GatewayCore

extension SpendStore where Self: SQLStore {
    /// Conditions on `principal`, a column of the outer query.
    private func conditions(_ query: PrincipalQuery, firstParameter: Int) -> (sql: String, values: [String?]) {
        var sql = ""
        var values: [String?] = []
        func parameter(_ value: String) -> String {
            values.append(value)
            return "$\(firstParameter + values.count - 1)"
        }
        if let search = query.search {
            let text = parameter(search)
            sql += """
                 AND (\(self.dialect.contains("found.principal", text)) OR EXISTS (
                    SELECT 1 FROM principal_emails AS known WHERE known.principal = found.principal
                    AND (\(self.dialect.contains("known.email", text)) OR \(self.dialect.contains("known.name", text)))))
                """
        }
        if let group = query.group {
            let name = parameter(group)
            let isMember =
                self.dialect == .postgres
                ? "known.groups ? \(name)" : "EXISTS (SELECT 1 FROM json_each(known.groups) WHERE value = \(name))"
            sql += """
                 AND EXISTS (SELECT 1 FROM principal_emails AS known
                    WHERE known.principal = found.principal AND \(isMember))
                """
        }
        return (sql, values)
    }

    package func principals(_ query: PrincipalQuery) async throws -> [String] {
        try await self.reading(timeout: .seconds(10)) { session in
            let conditions = self.conditions(query, firstParameter: 3)
            let order = self.dialect.binaryOrder
            let rows = try session.rows(
                """
                SELECT DISTINCT found.principal \(order) FROM spend AS found
                WHERE found.principal \(order) > $1\(conditions.sql)
                ORDER BY 1 LIMIT \(self.dialect.integer("$2"))
                """,
                [query.after ?? "", String(query.limit)] + conditions.values)
            return rows.compactMap { $0[0] }
        }
    }

    package func principalsBySpend(_ query: PrincipalQuery, periodKey: String) async throws -> [(
        principal: String, spend: Money
    )] {
        try await self.reading(timeout: .seconds(10)) { session in
            let conditions = self.conditions(query, firstParameter: 5)
            let order = self.dialect.binaryOrder
            let rows = try session.rows(
                """
                SELECT found.principal, found.nanodollars FROM spend AS found WHERE found.period = $1
                    AND (found.nanodollars < \(self.dialect.integer("$2"))
                        OR (found.nanodollars = \(self.dialect.integer("$2")) AND found.principal \(order) > $3))
                    AND \(self.dialect.integer("$4")) > 0\(conditions.sql)
                ORDER BY found.nanodollars DESC, found.principal \(order) LIMIT \(self.dialect.integer("$4"))
                """,
                [
                    periodKey, String(query.afterSpend?.nanodollars ?? .max), query.after ?? "", String(query.limit),
                ] + conditions.values)
            return rows.compactMap { row in
                guard let name = row[0], let amount = row[1].flatMap({ Int64($0) }) else { return nil }
                return (name, Money(nanodollars: amount))
            }
        }
    }

    package func identities(_ principals: [String]) async throws -> [String: PrincipalIdentity] {
        guard !principals.isEmpty else { return [:] }
        let names = StoredNames(principals)
        return try await self.reading(timeout: .seconds(5)) { session in
            let rows = try session.rows(
                """
                SELECT principal, email, name, groups FROM principal_emails
                WHERE principal \(self.dialect.isOne(of: "$1"))
                """, [JSONValue.texts(names.asked)])
            var found: [String: PrincipalIdentity] = [:]
            for row in rows {
                let groups = row[3].flatMap { try? JSONValue(parsing: $0.utf8) }?.array?.compactMap(\.string)
                found[names.original(row[0] ?? "")] = PrincipalIdentity(
                    email: row[1], name: row[2], groups: groups ?? [])
            }
            return found
        }
    }

    package func sweepSpend(_ retention: SpendRetention, now: Timestamp) async throws {
        let day: Int64 = 86_400_000
        let audit = Timestamp(milliseconds: now.milliseconds - Int64(retention.auditDays) * day)
        let identity = Timestamp(milliseconds: now.milliseconds - Int64(retention.identityDays) * day)
        let month = CivilDate(now)
        let months = month.year * 12 + month.month - 1 - retention.spendMonths
        let oldestSpend = CivilDate(
            year: months / 12, month: months % 12 + 1, dayOfMonth: min(month.dayOfMonth, 28)
        ).start
        try await self.transaction(timeout: .seconds(60)) { session in
            let dialect = self.dialect
            let spend = String(oldestSpend.milliseconds)
            for table in ["spend", "pooled_spend"] {
                _ = try session.rows("DELETE FROM \(table) WHERE updated_at < \(dialect.time("$1"))", [spend])
            }
            _ = try session.rows("DELETE FROM spend_ledger WHERE at < \(dialect.integer("$1"))", [spend])
            _ = try session.rows(
                "DELETE FROM spend_daily WHERE day < $1", [SpendPeriod.daily.key(at: oldestSpend)])
            _ = try session.rows(
                "DELETE FROM admin_audit WHERE at < \(dialect.time("$1"))",
                [String(audit.milliseconds)])
            _ = try session.rows(
                """
                DELETE FROM spend_limit_requests
                WHERE status <> 'pending' AND created_at < \(dialect.integer("$1"))
                """, [String(audit.milliseconds)])
            _ = try session.rows(
                "DELETE FROM principal_emails WHERE updated_at < \(dialect.time("$1"))",
                [String(identity.milliseconds)])
            _ = try session.rows(
                "DELETE FROM principal_groups WHERE day < $1", [SpendPeriod.daily.key(at: identity)])
        }
    }
}
