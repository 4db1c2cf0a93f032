// SPDX-License-Identifier: Apache-2.0

extension Migration {
    /// `kv`: the documented table for device grants and counters. `IF NOT EXISTS` because a database that the existing
    /// gateway has written holds the same table, and is taken over as it is.
    static let keyValue = Migration(
        version: 1,
        name: "key-value",
        postgres: [
            "CREATE TABLE IF NOT EXISTS kv (key text PRIMARY KEY, value text NOT NULL, expires_at timestamptz)",
            "CREATE INDEX IF NOT EXISTS kv_expires_at ON kv (expires_at) WHERE expires_at IS NOT NULL",
        ],
        sqlite: [
            "CREATE TABLE kv (key TEXT PRIMARY KEY NOT NULL, value TEXT NOT NULL, expires_at INTEGER) WITHOUT ROWID",
            "CREATE INDEX kv_expires_at ON kv (expires_at) WHERE expires_at IS NOT NULL",
        ])
}
