// SPDX-License-Identifier: Apache-2.0

extension Migration {
    /// `revocations`: what was issued to a session, a user or a group up to a time counts no longer. Times are
    /// milliseconds since 1970.
    static let revocations = Migration(
        version: 4,
        name: "revocations",
        postgres: [
            "CREATE TABLE revocations (kind text NOT NULL, id text NOT NULL, at bigint NOT NULL, PRIMARY KEY (kind, id))",
            "CREATE INDEX revocations_at ON revocations (at)",
        ],
        sqlite: [
            """
            CREATE TABLE revocations (
                kind TEXT NOT NULL, id TEXT NOT NULL, at INTEGER NOT NULL, PRIMARY KEY (kind, id)) WITHOUT ROWID
            """,
            "CREATE INDEX revocations_at ON revocations (at)",
        ])
}
