// SPDX-License-Identifier: Apache-2.0

extension Migration {
    /// `rate_usage`: what replicas tell each other for rate limits, a few minutes of it. `revocations`: what was issued to a session, a user or a group up to a time counts no longer. Times are
    /// milliseconds since 1970.
    static let revocations = Migration(
        version: 4,
        name: "revocations and rates",
        postgres: [
            "CREATE TABLE revocations (kind text NOT NULL, id text NOT NULL, at bigint NOT NULL, PRIMARY KEY (kind, id))",
            "CREATE INDEX revocations_at ON revocations (at)",
            """
            CREATE UNLOGGED TABLE rate_usage (
                principal text NOT NULL, minute bigint NOT NULL, replica text NOT NULL, requests bigint NOT NULL,
                tokens bigint NOT NULL, running bigint NOT NULL, seen_at bigint NOT NULL,
                PRIMARY KEY (principal, minute, replica))
            """,
            "CREATE INDEX rate_usage_minute ON rate_usage (minute)",
        ],
        sqlite: [
            """
            CREATE TABLE revocations (
                kind TEXT NOT NULL, id TEXT NOT NULL, at INTEGER NOT NULL, PRIMARY KEY (kind, id)) WITHOUT ROWID
            """,
            "CREATE INDEX revocations_at ON revocations (at)",
            """
            CREATE TABLE rate_usage (
                principal TEXT NOT NULL, minute INTEGER NOT NULL, replica TEXT NOT NULL, requests INTEGER NOT NULL,
                tokens INTEGER NOT NULL, running INTEGER NOT NULL, seen_at INTEGER NOT NULL,
                PRIMARY KEY (principal, minute, replica)) WITHOUT ROWID
            """,
            "CREATE INDEX rate_usage_minute ON rate_usage (minute)",
        ])
}
