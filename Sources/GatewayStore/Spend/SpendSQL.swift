// SPDX-License-Identifier: Apache-2.0

internal import GatewayCore

/// The statements of bookings and readings, which run some dozens of times a second: their texts are made once.
struct SpendSQL: Sendable {
    private static let ledgerColumns: [(name: String, type: SQLDialect.ColumnType)] = [
        ("id", .text), ("at", .integer), ("day", .text), ("principal", .text), ("request_ids", .text),
        ("requests", .integer),
        ("model", .text), ("upstream", .text), ("upstream_model", .text), ("billing_group", .text),
        ("pool", .text), ("input", .integer), ("output", .integer), ("cache_write_5m", .integer),
        ("cache_write_1h", .integer), ("cache_read", .integer), ("web_searches", .integer),
        ("estimates", .integer), ("nanodollars", .integer),
    ]
    static let dailyKeys = ["day", "principal", "model", "upstream", "billing_group"]
    static let dailySums = [
        "requests", "input", "output", "cache_write_5m", "cache_write_1h", "cache_read", "web_searches", "nanodollars",
    ]

    private static let postgres = SpendSQL(.postgres)
    private static let sqlite = SpendSQL(.sqlite)

    static func of(_ dialect: SQLDialect) -> SpendSQL {
        switch dialect {
        case .postgres: self.postgres
        case .sqlite: self.sqlite
        }
    }

    /// Fails when one of them is in the ledger already.
    let insertNew: String
    /// Returns the ids of those that were not.
    let insertAny: String
    let addSpend: String
    let addPooled: String
    let addDays: String
    let notePeople: String
    /// The groups of a day are all that were seen on it.
    let noteGroups: String
    let endHolds: String
    let read: String
    let readWithHolds: String

    private init(_ dialect: SQLDialect) {
        self.insertNew = Self.insert(dialect)
        self.insertAny = Self.insert(dialect) + " ON CONFLICT (id) DO NOTHING RETURNING id"
        self.addSpend = Self.add(to: "spend", key: "principal", dialect)
        self.addPooled = Self.add(to: "pooled_spend", key: "rbac_group_id", dialect)
        self.addDays = Self.addDays(dialect)
        self.notePeople = Self.notePeople(dialect)
        self.noteGroups = Self.noteGroups(dialect)
        self.endHolds = "DELETE FROM spend_holds WHERE id \(dialect.isOne(of: "$1"))"
        self.read = Self.read(dialect)
        self.readWithHolds = Self.read(dialect) + Self.holds(dialect)
    }

    private static func insert(_ dialect: SQLDialect) -> String {
        let columns = self.ledgerColumns.map(\.name).joined(separator: ", ")
        let id = dialect == .postgres ? "CAST(id AS uuid)" : "id"
        let selected = ([id] + self.ledgerColumns.dropFirst().map(\.name)).joined(separator: ", ")
        return """
            INSERT INTO spend_ledger (\(columns))
            SELECT \(selected) FROM \(dialect.records("$1", self.ledgerColumns)) WHERE true
            """
    }

    private static func add(to table: String, key: String, _ dialect: SQLDialect) -> String {
        let records = dialect.records("$1", [("name", .text), ("period", .text), ("nanodollars", .integer)])
        return """
            INSERT INTO \(table) (\(key), period, nanodollars, updated_at)
            SELECT name, period, nanodollars, \(dialect.time("$2")) FROM \(records) WHERE true
            ON CONFLICT (\(key), period) DO UPDATE
            SET nanodollars = \(self.sum(table, "nanodollars")), updated_at = excluded.updated_at
            RETURNING \(key), period, nanodollars
            """
    }

    /// Stops at the largest integer instead of failing.
    private static func sum(_ table: String, _ column: String) -> String {
        """
        CASE WHEN \(table).\(column) > \(Int64.max) - excluded.\(column) THEN \(Int64.max)
            ELSE \(table).\(column) + excluded.\(column) END
        """
    }

    private static func addDays(_ dialect: SQLDialect) -> String {
        let columns = (self.dailyKeys + self.dailySums).joined(separator: ", ")
        let records = dialect.records(
            "$1",
            self.dailyKeys.map { (name: $0, type: .text) } + self.dailySums.map { (name: $0, type: .integer) })
        let updates = self.dailySums.map { "\($0) = \(self.sum("spend_daily", $0))" }.joined(separator: ", ")
        return """
            INSERT INTO spend_daily (\(columns))
            SELECT \(columns) FROM \(records) WHERE true
            ON CONFLICT (\(self.dailyKeys.joined(separator: ", "))) DO UPDATE SET \(updates)
            """
    }

    private static func notePeople(_ dialect: SQLDialect) -> String {
        let records = dialect.records(
            "$1", [("principal", .text), ("email", .text), ("name", .text), ("groups", .text), ("at", .integer)])
        return """
            INSERT INTO principal_emails (principal, email, name, groups, updated_at)
            SELECT principal, email, name, \(dialect.json("groups")), \(dialect.time("at"))
            FROM \(records) WHERE true
            ON CONFLICT (principal) DO UPDATE SET
                email = coalesce(excluded.email, principal_emails.email),
                name = coalesce(excluded.name, principal_emails.name),
                groups = excluded.groups, updated_at = excluded.updated_at
            """
    }

    private static func noteGroups(_ dialect: SQLDialect) -> String {
        let records = dialect.records("$1", [("day", .text), ("principal", .text), ("groups", .text)])
        let union: String
        switch dialect {
        case .postgres:
            union = """
                (SELECT coalesce(jsonb_agg(DISTINCT name), '[]') FROM jsonb_array_elements(
                    principal_groups.groups || excluded.groups) AS name)
                """
        case .sqlite:
            union = """
                (SELECT json_group_array(value) FROM (
                    SELECT value FROM json_each(principal_groups.groups)
                    UNION SELECT value FROM json_each(excluded.groups)))
                """
        }
        return """
            INSERT INTO principal_groups (day, principal, groups)
            SELECT day, principal, \(dialect.json("groups")) FROM \(records) WHERE true
            ON CONFLICT (day, principal) DO UPDATE SET groups = \(union)
            """
    }

    // Every column of the parts is text, so that they fit under each other.
    private static let nothing = "NULL, NULL, NULL, NULL, NULL, NULL"

    private static func read(_ dialect: SQLDialect) -> String {
        let columns = [
            "id", "scope_type", "scope_id", "period", "CAST(amount AS text)",
            "CAST(pooled_limit_enabled AS text)", "CAST(pooled_monthly_credit_limit AS text)",
            "CAST(\(dialect.milliseconds("created_at")) AS text)",
            "CAST(\(dialect.milliseconds("updated_at")) AS text)",
        ].joined(separator: ", ")
        return """
            SELECT 'limit', \(columns) FROM spend_limits WHERE scope_type = 'organization'
                OR (scope_type = 'user' AND scope_id \(dialect.isOne(of: "$1")))
                OR (scope_type = 'rbac_group' AND scope_id \(dialect.isOne(of: "$2")))
            UNION ALL
            SELECT 'spend', principal, period, CAST(nanodollars AS text), \(self.nothing)
            FROM spend WHERE principal \(dialect.isOne(of: "$1")) AND period \(dialect.isOne(of: "$3"))
            UNION ALL
            SELECT 'pool', rbac_group_id, period, CAST(nanodollars AS text), \(self.nothing)
            FROM pooled_spend WHERE rbac_group_id \(dialect.isOne(of: "$2")) AND period = $4
            UNION ALL
            SELECT 'raise', principal, period, CAST(granted AS text), CAST(expires_at AS text),
                NULL, NULL, NULL, NULL, NULL
            FROM spend_limit_requests WHERE principal \(dialect.isOne(of: "$1")) AND status = 'approved'
                AND expires_at > \(dialect.integer("$5"))
            """
    }

    private static func holds(_ dialect: SQLDialect) -> String {
        """

        UNION ALL
        SELECT 'held', principal, '', CAST(sum(nanodollars) AS text), \(self.nothing)
        FROM spend_holds WHERE principal \(dialect.isOne(of: "$1")) GROUP BY principal
        UNION ALL
        SELECT 'held-pool', pool, '', CAST(sum(nanodollars) AS text), \(self.nothing)
        FROM spend_holds WHERE pool \(dialect.isOne(of: "$2")) GROUP BY pool
        """
    }
}

extension SQLStore {
    var sql: SpendSQL { SpendSQL.of(self.dialect) }
}
