// SPDX-License-Identifier: Apache-2.0

extension Migration {
    /// `sessions`: one row a signed-in device. Times are milliseconds since 1970 so that both stores compare alike.
    static let sessions = Migration(
        version: 2,
        name: "sessions",
        postgres: [
            """
            CREATE TABLE sessions (
                id text PRIMARY KEY, subject text NOT NULL, email text,
                created_at bigint NOT NULL, refreshed_at bigint NOT NULL,
                generation bigint NOT NULL, lease_until bigint, answer text)
            """,
            "CREATE INDEX sessions_subject ON sessions (subject)",
            "CREATE INDEX sessions_refreshed_at ON sessions (refreshed_at)",
        ],
        sqlite: [
            """
            CREATE TABLE sessions (
                id TEXT PRIMARY KEY NOT NULL, subject TEXT NOT NULL, email TEXT,
                created_at INTEGER NOT NULL, refreshed_at INTEGER NOT NULL,
                generation INTEGER NOT NULL, lease_until INTEGER, answer TEXT) WITHOUT ROWID
            """,
            "CREATE INDEX sessions_subject ON sessions (subject)",
            "CREATE INDEX sessions_refreshed_at ON sessions (refreshed_at)",
        ])
}
