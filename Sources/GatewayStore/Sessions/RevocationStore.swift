// SPDX-License-Identifier: Apache-2.0

package import GatewayCore

/// What was issued to somebody up to a time counts no longer.
package struct Revocation: Sendable, Equatable {
    package enum Kind: String, Sendable, CaseIterable {
        case session
        case user
        case group
    }

    package let kind: Kind
    package let id: String
    package let at: Timestamp

    package init(_ kind: Kind, _ id: String, at: Timestamp) {
        self.kind = kind
        self.id = id
        self.at = at
    }
}

/// Revocations. The table is `revocations`.
package protocol RevocationStore: Sendable {
    /// Records a revocation and removes the sessions that it ends. A group's sessions are found when they are refreshed.
    ///
    /// - Returns: How many sessions were removed.
    func revoke(_ revocation: Revocation) async throws -> Int
    /// Those from `time` on.
    func revocations(since time: Timestamp) async throws -> [Revocation]
    /// Removes those that nothing can still need.
    func sweepRevocations(now: Timestamp) async throws
    /// Sessions in the order of their ids.
    ///
    /// - Parameter user: Only this subject's or e-mail address's.
    func sessions(user: String?, after id: String?, limit: Int) async throws -> [SessionRow]
}

/// How long revocations are kept.
enum RevocationRetention {
    /// Longer than any bearer lives: the session's row is gone.
    static let sessionDays = 8
    /// As long as a session can be refreshed.
    static let days = SessionRetention.days + 8
}

extension RevocationStore where Self: SQLStore {
    package func revoke(_ revocation: Revocation) async throws -> Int {
        try await self.transaction(timeout: .seconds(5)) { session in
            _ = try session.rows(
                """
                INSERT INTO revocations (kind, id, at) VALUES ($1, $2, \(self.dialect.integer("$3")))
                ON CONFLICT (kind, id) DO UPDATE SET at = \(self.dialect.integer("$3"))
                    WHERE revocations.at < \(self.dialect.integer("$3"))
                """, [revocation.kind.rawValue, revocation.id, String(revocation.at.milliseconds)])
            let column: String
            switch revocation.kind {
            case .session: column = "id"
            case .user: column = "subject"
            case .group: return 0
            }
            return try session.rows("DELETE FROM sessions WHERE \(column) = $1 RETURNING id", [revocation.id]).count
        }
    }

    package func revocations(since time: Timestamp) async throws -> [Revocation] {
        try await self.reading(timeout: .seconds(2)) { session in
            let rows = try session.rows(
                "SELECT kind, id, at FROM revocations WHERE at >= \(self.dialect.integer("$1"))",
                [String(time.milliseconds)])
            return rows.compactMap { row in
                guard let kind = row[0].flatMap(Revocation.Kind.init), let id = row[1],
                    let at = row[2].flatMap({ Int64($0) })
                else { return nil }
                return Revocation(kind, id, at: Timestamp(milliseconds: at))
            }
        }
    }

    package func sweepRevocations(now: Timestamp) async throws {
        let limits = [RevocationRetention.days, RevocationRetention.sessionDays].map { days in
            String(now.milliseconds - Int64(days) * 86_400_000)
        }
        try await self.transaction(timeout: .seconds(5)) { session in
            _ = try session.rows(
                """
                DELETE FROM revocations WHERE at < \(self.dialect.integer("$1"))
                    OR (kind = 'session' AND at < \(self.dialect.integer("$2")))
                """, limits)
        }
    }

    package func sessions(user: String?, after id: String?, limit: Int) async throws -> [SessionRow] {
        try await self.reading(timeout: .seconds(5)) { session in
            let rows = try session.rows(
                """
                SELECT id, subject, email, created_at, refreshed_at, generation FROM sessions
                WHERE id > $1 AND ($2 = '' OR subject = $2 OR lower(email) = lower($2))
                ORDER BY id LIMIT \(self.dialect.integer("$3"))
                """, [id ?? "", user ?? "", String(limit)])
            return rows.compactMap { row in
                guard let id = row[0], let subject = row[1], let created = row[3].flatMap({ Int64($0) }),
                    let refreshed = row[4].flatMap({ Int64($0) })
                else { return nil }
                var found = SessionRow(
                    id: id, subject: subject, email: row[2], at: Timestamp(milliseconds: created))
                found.refreshedAt = Timestamp(milliseconds: refreshed)
                found.generation = row[5].flatMap { Int($0) } ?? 0
                return found
            }
        }
    }
}
