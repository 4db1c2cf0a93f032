// SPDX-License-Identifier: Apache-2.0

package import GatewayCore

/// The store of a gateway with replicas: PostgreSQL 14 or later.
package final class PostgresStore: GatewayStore {
    private let pool: PostgresPool

    package var load: StoreLoad? { self.pool.load }

    /// Connects lazily; `migrate` or `ping` is the first contact.
    package init(settings: StoreSettings, url: Secret, onOutage: @escaping @Sendable (String?) -> Void) {
        let (username, password, timeout) = (settings.username, settings.password, settings.connectTimeout)
        self.pool = PostgresPool(
            connections: settings.maximumConnections, waitLimit: .seconds(5), onOutage: onOutage
        ) { () throws(StoreError) in
            try PostgresConnection(
                url: url.reveal(), username: username, password: password?.reveal(), timeout: timeout)
        }
    }

    package func close() async {
        self.pool.close()
    }

    package func ping() async throws {
        _ = try await self.pool.withConnection { try $0.query("SELECT 1", timeout: .seconds(2)) }
    }

    /// The advisory lock's key, so that an operator can find who holds it in `pg_locks`.
    package static let migrationLock = 6_775_157

    package func migrate(log: @escaping @Sendable (String) -> Void) async throws {
        try await self.pool.withConnection { connection in
            let lock = String(Self.migrationLock)
            if try connection.query("SELECT pg_try_advisory_lock($1)", [lock])[0][0] != "t" {
                log("waiting for the migration lock; another replica may be migrating (pg_locks, key \(lock))")
                try connection.query("SELECT pg_advisory_lock($1)", [lock], timeout: .seconds(120))
            }
            defer { _ = try? connection.query("SELECT pg_advisory_unlock($1)", [lock]) }
            try connection.query(
                "CREATE TABLE IF NOT EXISTS gateway_migrations (version int PRIMARY KEY, name text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())"
            )
            let done = Set(try connection.query("SELECT version FROM gateway_migrations").compactMap { $0[0] })
            for migration in Migration.all where !done.contains(String(migration.version)) {
                try connection.query("BEGIN")
                for statement in migration.postgres { try connection.query(statement, timeout: .seconds(60)) }
                try connection.query(
                    "INSERT INTO gateway_migrations (version, name) VALUES ($1, $2)",
                    [String(migration.version), migration.name])
                try connection.query("COMMIT")
                log("migration \(migration.version) (\(migration.name)) applied")
            }
        }
    }

    package func sweep(now: Timestamp) async throws {
        let oldest = now.milliseconds - Int64(SessionRetention.days) * 86_400_000
        try await self.pool.withConnection { connection in
            try connection.query("DELETE FROM kv WHERE expires_at <= $1::timestamptz", [now.description])
            try connection.query("DELETE FROM sessions WHERE refreshed_at < $1", [String(oldest)])
        }
    }
}

extension PostgresStore: KeyValueStore {
    package func value(forKey key: String, now: Timestamp) async throws -> String? {
        try await self.pool.withConnection { connection in
            let sql = "SELECT value FROM kv WHERE key = $1 AND (expires_at IS NULL OR expires_at > $2::timestamptz)"
            return try connection.query(sql, [key, now.description]).first?[0]
        }
    }

    package func insert(_ value: String, forKey key: String, expiresAt: Timestamp, now: Timestamp) async throws -> Bool
    {
        try await self.pool.withConnection { connection in
            let sql = """
                INSERT INTO kv (key, value, expires_at) VALUES ($1, $2, $3::timestamptz)
                ON CONFLICT (key) DO UPDATE SET value = excluded.value, expires_at = excluded.expires_at
                WHERE kv.expires_at <= $4::timestamptz RETURNING 1
                """
            return try !connection.query(sql, [key, value, expiresAt.description, now.description]).isEmpty
        }
    }

    package func replace(_ expected: String, with value: String, forKey key: String, now: Timestamp) async throws
        -> Bool
    {
        try await self.pool.withConnection { connection in
            let sql = """
                UPDATE kv SET value = $3 WHERE key = $1 AND value = $2
                AND (expires_at IS NULL OR expires_at > $4::timestamptz) RETURNING 1
                """
            return try !connection.query(sql, [key, expected, value, now.description]).isEmpty
        }
    }

    package func remove(_ expected: String, forKey key: String, now: Timestamp) async throws -> Bool {
        try await self.pool.withConnection { connection in
            let sql = """
                DELETE FROM kv WHERE key = $1 AND value = $2
                AND (expires_at IS NULL OR expires_at > $3::timestamptz) RETURNING 1
                """
            return try !connection.query(sql, [key, expected, now.description]).isEmpty
        }
    }

    package func increment(_ key: String, window: Duration, now: Timestamp) async throws -> Int {
        let end = now.advanced(bySeconds: Double(window.components.seconds))
        return try await self.pool.withConnection { connection in
            let sql = """
                INSERT INTO kv (key, value, expires_at) VALUES ($1, '1', $2::timestamptz)
                ON CONFLICT (key) DO UPDATE SET
                    value = CASE WHEN kv.expires_at <= $3::timestamptz THEN '1' ELSE (kv.value::bigint + 1)::text END,
                    expires_at = CASE WHEN kv.expires_at <= $3::timestamptz THEN excluded.expires_at ELSE kv.expires_at END
                RETURNING value
                """
            let rows = try connection.query(sql, [key, end.description, now.description])
            return rows.first?[0].flatMap(Int.init) ?? 1
        }
    }
}

extension PostgresStore: SessionStore {
    package func insertSession(_ session: SessionRow) async throws {
        try await self.pool.withConnection { connection in
            let sql = """
                INSERT INTO sessions (id, subject, email, created_at, refreshed_at, generation)
                VALUES ($1, $2, $3, $4, $5, $6)
                """
            try connection.query(
                sql,
                [
                    session.id, session.subject, session.email, String(session.createdAt.milliseconds),
                    String(session.refreshedAt.milliseconds), String(session.generation),
                ])
        }
    }

    package func session(id: String) async throws -> SessionRow? {
        try await self.pool.withConnection { connection in
            let sql = """
                SELECT id, subject, email, created_at, refreshed_at, generation, lease_until, answer
                FROM sessions WHERE id = $1
                """
            guard let row = try connection.query(sql, [id]).first else { return nil }
            func time(_ text: String?) -> Timestamp? { text.flatMap(Int64.init).map(Timestamp.init(milliseconds:)) }
            var session = SessionRow(id: row[0]!, subject: row[1]!, email: row[2], at: time(row[3])!)
            session.refreshedAt = time(row[4])!
            session.generation = Int(row[5]!)!
            session.leaseUntil = time(row[6])
            session.answer = row[7]
            return session
        }
    }

    package func leaseSession(id: String, generation: Int, until: Timestamp, now: Timestamp) async throws
        -> SessionLease?
    {
        try await self.pool.withConnection { connection in
            let sql = """
                UPDATE sessions SET lease_until = $3
                WHERE id = $1 AND generation <= $2 AND (lease_until IS NULL OR lease_until <= $4) RETURNING 1
                """
            let values = [id, String(generation), String(until.milliseconds), String(now.milliseconds)]
            return try connection.query(sql, values).isEmpty ? nil : SessionLease(id: id, until: until)
        }
    }

    package func completeRefresh(id: String, generation: Int, email: String?, answer: String, now: Timestamp)
        async throws -> Bool
    {
        try await self.pool.withConnection { connection in
            let sql = """
                UPDATE sessions SET generation = $2, email = $3, answer = $4, refreshed_at = $5, lease_until = NULL
                WHERE id = $1 AND generation < $2 RETURNING 1
                """
            let values = [id, String(generation), email, answer, String(now.milliseconds)]
            return try !connection.query(sql, values).isEmpty
        }
    }

    package func releaseSession(_ lease: SessionLease) async throws {
        _ = try await self.pool.withConnection {
            try $0.query(
                "UPDATE sessions SET lease_until = NULL WHERE id = $1 AND lease_until = $2",
                [lease.id, String(lease.until.milliseconds)])
        }
    }

    package func removeSession(_ lease: SessionLease) async throws -> Bool {
        try await self.pool.withConnection {
            try !$0.query(
                "DELETE FROM sessions WHERE id = $1 AND lease_until = $2 RETURNING 1",
                [lease.id, String(lease.until.milliseconds)]
            ).isEmpty
        }
    }

    package func removeSession(id: String) async throws {
        _ = try await self.pool.withConnection { try $0.query("DELETE FROM sessions WHERE id = $1", [id]) }
    }
}

extension PostgresConnection: SQLSession {
    func transaction<Value>(_ body: (any SQLSession) throws -> Value) throws -> Value {
        try self.query("BEGIN", timeout: self.statementTimeout)
        do {
            let value = try body(self)
            try self.query("COMMIT", timeout: self.statementTimeout)
            return value
        } catch {
            // A connection that is not usable any more is dropped by the pool, and its transaction with it.
            if self.isUsable { _ = try? self.query("ROLLBACK", timeout: .seconds(1)) }
            throw error
        }
    }

    func rows(_ sql: String, _ values: [String?]) throws -> [[String?]] {
        try self.queryPrepared(sql, values, timeout: self.statementTimeout)
    }
}

extension PostgresStore: SpendStore, SQLStore {
    package var dialect: SQLDialect { .postgres }

    package func transaction<Value: Sendable>(
        timeout: Duration, _ body: @escaping @Sendable (any SQLSession) throws -> Value,
    ) async throws -> Value {
        try await self.statements(timeout) { try $0.transaction(body) }
    }

    package func together(timeout: Duration, _ statements: [SQLStatement]) async throws -> [SQLRows] {
        try await self.statements(timeout) { try $0.pipeline(statements, timeout: timeout) }
    }

    package func reading<Value: Sendable>(
        timeout: Duration, _ body: @escaping @Sendable (any SQLSession) throws -> Value,
    ) async throws -> Value {
        try await self.statements(timeout) { try body($0) }
    }

    /// What runs prepared statements: once more without, when the server has forgotten them.
    private func statements<Value: Sendable>(
        _ timeout: Duration, _ body: @escaping @Sendable (PostgresConnection) throws -> Value,
    ) async throws -> Value {
        try await self.pool.withConnection { connection in
            connection.statementTimeout = timeout
            do {
                return try body(connection)
            } catch {
                guard connection.forgetsStatements(error) else { throw error }
                return try body(connection)
            }
        }
    }
}
