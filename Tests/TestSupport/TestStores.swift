// SPDX-License-Identifier: Apache-2.0

internal import Foundation
package import GatewayCore
package import GatewayStore

/// Stores for tests: SQLite in memory, and PostgreSQL in a schema of the test's own.
package enum TestStores {
    /// The server that scripts/test starts, as a postgres:// URL; `nil` when there is none.
    package static var postgresURL: String? {
        ProcessInfo.processInfo.environment["GATEWAY_TEST_POSTGRES_URL"].flatMap { $0.isEmpty ? nil : $0 }
    }

    /// A URL whose connections see only that schema.
    package static func url(schema: String) -> Secret {
        let base = postgresURL ?? ""
        return Secret(base + (base.contains("?") ? "&" : "?") + "options=-csearch_path%3D\(schema)")
    }

    package static func makeSchema() async throws -> String {
        let schema = "t_" + RandomToken.make().filter(\.isLetter).lowercased().prefix(16)
        try await self.psql("CREATE SCHEMA \(schema)")
        return schema
    }

    package static func drop(schema: String) async {
        _ = try? await self.psql("DROP SCHEMA \(schema) CASCADE")
    }

    /// Runs a statement outside of the code under test.
    @discardableResult
    package static func psql(_ sql: String) async throws -> String {
        try await offPool { try self.runPsql(sql) }
    }

    private static func runPsql(_ sql: String) throws -> String {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments = ["psql", postgresURL ?? "", "-XAtqc", sql]
        let pipe = Pipe()
        process.standardOutput = pipe
        process.standardError = FileHandle.nullDevice
        try process.run()
        let out = pipe.fileHandleForReading.readDataToEndOfFile()
        process.waitUntilExit()
        guard process.terminationStatus == 0 else { throw StoreError.unavailable("psql failed") }
        return String(decoding: out, as: UTF8.self).trimmingSpaces
    }

    /// Runs something while another session holds a table's lock.
    package static func locking(_ table: String, _ body: () async throws -> Void) async throws {
        let holder = Task.detached { try? await self.psql("BEGIN; LOCK TABLE \(table); SELECT pg_sleep(120)") }
        let held = "FROM pg_locks WHERE relation = '\(table)'::regclass AND mode = 'AccessExclusiveLock' AND granted"
        func release() async throws {
            _ = try await self.psql("SELECT pg_terminate_backend(pid) \(held)")
            _ = await holder.value
        }
        do {
            guard try await eventually({ try await self.psql("SELECT count(*) \(held)") == "1" }) else {
                throw StoreError.unavailable("\(table) was not locked")
            }
            try await body()
        } catch {
            try await release()
            throw error
        }
        try await release()
    }

    /// Runs a test with a migrated PostgreSQL store.
    package static func withPostgres<Value>(_ body: (PostgresStore, String) async throws -> Value) async throws -> Value
    {
        let schema = try await self.makeSchema()
        let store = PostgresStore(
            settings: StoreSettings(backend: .postgres(url: self.url(schema: schema))), url: self.url(schema: schema)
        ) { _ in }
        do {
            try await store.migrate { _ in }
            let value = try await body(store, schema)
            await store.close()
            await self.drop(schema: schema)
            return value
        } catch {
            await store.close()
            await self.drop(schema: schema)
            throw error
        }
    }

    package static func withSQLite<Value>(_ body: (SQLiteStore) async throws -> Value) async throws -> Value {
        let store = try SQLiteStore(path: nil)
        try await store.migrate { _ in }
        let value = try await body(store)
        await store.close()
        return value
    }
}
