// SPDX-License-Identifier: Apache-2.0

internal import Foundation
internal import GRDB
package import GatewayCore

/// The embedded store of a gateway of one process: a SQLite file, or memory.
package final class SQLiteStore: GatewayStore {
    private let database: DatabaseQueue

    /// - Parameter path: The file, made when it is missing; `nil` keeps everything in memory.
    package init(path: String?) throws {
        var configuration = Configuration()
        configuration.busyMode = .timeout(5)
        configuration.prepareDatabase { database in
            try database.execute(sql: "PRAGMA journal_mode = WAL")
            try database.execute(sql: "PRAGMA synchronous = NORMAL")
        }
        do {
            if let path {
                // Addresses and open codes are nobody else's to read; SQLite gives its side files the same mode.
                let descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
                if descriptor >= 0 { Foundation.close(descriptor) }
                self.database = try DatabaseQueue(path: path, configuration: configuration)
            } else {
                self.database = try DatabaseQueue(configuration: Configuration())
            }
        } catch let error as DatabaseError {
            throw Self.translate(error)
        }
    }

    package func close() async {
        try? self.database.close()
    }

    package func ping() async throws {
        try await self.run { _ = try Int.fetchOne($0, sql: "SELECT 1") }
    }

    package func migrate(log: @escaping @Sendable (String) -> Void) async throws {
        let applied = try await self.run { database in
            try database.execute(
                sql: "CREATE TABLE IF NOT EXISTS gateway_migrations (version INTEGER PRIMARY KEY, name TEXT NOT NULL)")
            let done = try Set(Int.fetchAll(database, sql: "SELECT version FROM gateway_migrations"))
            let missing = Migration.all.filter { !done.contains($0.version) }
            for migration in missing {
                for statement in migration.sqlite { try database.execute(sql: statement) }
                try database.execute(
                    sql: "INSERT INTO gateway_migrations (version, name) VALUES (?, ?)",
                    arguments: [migration.version, migration.name])
            }
            return missing
        }
        for migration in applied { log("migration \(migration.version) (\(migration.name)) applied") }
    }

    package func sweep(now: Timestamp) async throws {
        let oldest = now.milliseconds - Int64(SessionRetention.days) * 86_400_000
        try await self.run { database in
            try database.execute(sql: "DELETE FROM kv WHERE expires_at <= ?", arguments: [now.milliseconds])
            try database.execute(sql: "DELETE FROM sessions WHERE refreshed_at < ?", arguments: [oldest])
        }
    }

    /// Each call is one transaction of the single writer.
    fileprivate func run<Value: Sendable>(_ body: @escaping @Sendable (Database) throws -> Value) async throws -> Value
    {
        do {
            return try await self.database.write(body)
        } catch let error as DatabaseError {
            throw Self.translate(error)
        }
    }

    /// Runs a statement and says whether it changed a row.
    private func changes(_ sql: String, _ arguments: StatementArguments) async throws -> Bool {
        try await self.run { database in
            try database.execute(sql: sql, arguments: arguments)
            return database.changesCount > 0
        }
    }

    private static func translate(_ error: DatabaseError) -> StoreError {
        let text = (error.message ?? "SQLite error \(error.resultCode.rawValue)").singleLine
        switch error.resultCode {
        case .SQLITE_CANTOPEN, .SQLITE_IOERR, .SQLITE_FULL, .SQLITE_NOTADB, .SQLITE_CORRUPT, .SQLITE_READONLY:
            return .unavailable(text)
        case .SQLITE_BUSY, .SQLITE_LOCKED: return .busy
        default: return .refused(sqlState: "SQLITE-\(error.resultCode.rawValue)", text)
        }
    }
}

extension SQLiteStore: KeyValueStore {
    package func value(forKey key: String, now: Timestamp) async throws -> String? {
        try await self.run { database in
            try String.fetchOne(
                database, sql: "SELECT value FROM kv WHERE key = ? AND (expires_at IS NULL OR expires_at > ?)",
                arguments: [key, now.milliseconds])
        }
    }

    package func insert(_ value: String, forKey key: String, expiresAt: Timestamp, now: Timestamp) async throws -> Bool
    {
        let sql = """
            INSERT INTO kv (key, value, expires_at) VALUES (?, ?, ?)
            ON CONFLICT (key) DO UPDATE SET value = excluded.value, expires_at = excluded.expires_at
            WHERE kv.expires_at <= ?
            """
        return try await self.changes(sql, [key, value, expiresAt.milliseconds, now.milliseconds])
    }

    package func replace(_ expected: String, with value: String, forKey key: String, now: Timestamp) async throws
        -> Bool
    {
        let sql = "UPDATE kv SET value = ? WHERE key = ? AND value = ? AND (expires_at IS NULL OR expires_at > ?)"
        return try await self.changes(sql, [value, key, expected, now.milliseconds])
    }

    package func remove(_ expected: String, forKey key: String, now: Timestamp) async throws -> Bool {
        let sql = "DELETE FROM kv WHERE key = ? AND value = ? AND (expires_at IS NULL OR expires_at > ?)"
        return try await self.changes(sql, [key, expected, now.milliseconds])
    }

    package func increment(_ key: String, window: Duration, now: Timestamp) async throws -> Int {
        let end = now.advanced(bySeconds: Double(window.components.seconds)).milliseconds
        return try await self.run { database in
            let sql = """
                INSERT INTO kv (key, value, expires_at) VALUES (?1, '1', ?2)
                ON CONFLICT (key) DO UPDATE SET
                    value = CASE WHEN kv.expires_at <= ?3 THEN '1' ELSE CAST(CAST(kv.value AS INTEGER) + 1 AS TEXT) END,
                    expires_at = CASE WHEN kv.expires_at <= ?3 THEN excluded.expires_at ELSE kv.expires_at END
                RETURNING value
                """
            let value = try String.fetchOne(database, sql: sql, arguments: [key, end, now.milliseconds])
            return value.flatMap(Int.init) ?? 1
        }
    }
}

extension SQLiteStore: SessionStore {
    package func insertSession(_ session: SessionRow) async throws {
        _ = try await self.changes(
            """
            INSERT INTO sessions (id, subject, email, created_at, refreshed_at, generation) VALUES (?, ?, ?, ?, ?, ?)
            """,
            [
                session.id, session.subject, session.email, session.createdAt.milliseconds,
                session.refreshedAt.milliseconds, session.generation,
            ])
    }

    package func session(id: String) async throws -> SessionRow? {
        try await self.run { database in
            guard let row = try Row.fetchOne(database, sql: "SELECT * FROM sessions WHERE id = ?", arguments: [id])
            else {
                return nil
            }
            var session = SessionRow(
                id: row["id"], subject: row["subject"], email: row["email"],
                at: Timestamp(milliseconds: row["created_at"]))
            session.refreshedAt = Timestamp(milliseconds: row["refreshed_at"])
            session.generation = row["generation"]
            session.leaseUntil = (row["lease_until"] as Int64?).map(Timestamp.init(milliseconds:))
            session.answer = row["answer"]
            return session
        }
    }

    package func leaseSession(id: String, generation: Int, until: Timestamp, now: Timestamp) async throws
        -> SessionLease?
    {
        let sql = """
            UPDATE sessions SET lease_until = ?
            WHERE id = ? AND generation <= ? AND (lease_until IS NULL OR lease_until <= ?)
            """
        let isTaken = try await self.changes(sql, [until.milliseconds, id, generation, now.milliseconds])
        return isTaken ? SessionLease(id: id, until: until) : nil
    }

    package func completeRefresh(id: String, generation: Int, email: String?, answer: String, now: Timestamp)
        async throws -> Bool
    {
        let sql = """
            UPDATE sessions SET generation = ?1, email = ?2, answer = ?3, refreshed_at = ?4, lease_until = NULL
            WHERE id = ?5 AND generation < ?1
            """
        return try await self.changes(sql, [generation, email, answer, now.milliseconds, id])
    }

    package func releaseSession(_ lease: SessionLease) async throws {
        _ = try await self.changes(
            "UPDATE sessions SET lease_until = NULL WHERE id = ? AND lease_until = ?",
            [lease.id, lease.until.milliseconds])
    }

    package func removeSession(_ lease: SessionLease) async throws -> Bool {
        try await self.changes(
            "DELETE FROM sessions WHERE id = ? AND lease_until = ?", [lease.id, lease.until.milliseconds])
    }

    package func removeSession(id: String) async throws {
        _ = try await self.changes("DELETE FROM sessions WHERE id = ?", [id])
    }
}

/// Runs the shared SQL: SQLite takes `?1` where PostgreSQL takes `$1`.
private struct SQLiteSession: SQLSession {
    let database: Database

    func rows(_ sql: String, _ values: [String?]) throws -> [[String?]] {
        let statement = try self.database.cachedStatement(sql: Self.numbered(sql))
        let arguments = StatementArguments(values)
        return try Row.fetchAll(statement, arguments: arguments).map { row in
            (0..<row.count).map { index in
                switch (row[index] as DatabaseValue).storage {
                case .null: nil
                case .int64(let value): String(value)
                case .double(let value): String(value)
                case .string(let value): value
                case .blob(let value): String(decoding: value, as: UTF8.self)
                }
            }
        }
    }

    private static func numbered(_ sql: String) -> String {
        var out: [UInt8] = []
        out.reserveCapacity(sql.utf8.count)
        let bytes = Array(sql.utf8)
        for (index, byte) in bytes.enumerated() {
            let isParameter = byte == 0x24 && index + 1 < bytes.count && (0x30...0x39).contains(bytes[index + 1])
            out.append(isParameter ? 0x3F : byte)
        }
        return String(decoding: out, as: UTF8.self)
    }
}

extension SQLiteStore: SpendStore, SQLStore {
    package var dialect: SQLDialect { .sqlite }

    package func transaction<Value: Sendable>(
        timeout: Duration, _ body: @escaping @Sendable (any SQLSession) throws -> Value,
    ) async throws -> Value {
        try await self.run { try body(SQLiteSession(database: $0)) }
    }

    package func reading<Value: Sendable>(
        timeout: Duration, _ body: @escaping @Sendable (any SQLSession) throws -> Value,
    ) async throws -> Value {
        try await self.run { try body(SQLiteSession(database: $0)) }
    }
}
