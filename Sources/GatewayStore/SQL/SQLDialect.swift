// SPDX-License-Identifier: Apache-2.0

internal import GatewayCore

/// The few places where PostgreSQL and SQLite spell the same thing differently. Everything else of the spend tables is
/// written once, in SQL that both take: parameters are `$1`, `$2`, … in the order of their first use, and are texts.
package enum SQLDialect: Sendable {
    case postgres
    case sqlite

    enum ColumnType: Sendable {
        case text
        case integer
    }

    /// `name \(…)`: whether it is one of some texts, given as a JSON array. PostgreSQL looks an array's members up in an
    /// index; a subquery it may as well compare with every row.
    func isOne(of parameter: String) -> String {
        switch self {
        case .postgres: "= ANY (ARRAY(SELECT json_array_elements_text(CAST(\(parameter) AS json))))"
        case .sqlite: "IN (SELECT value FROM json_each(\(parameter)))"
        }
    }

    /// Rows, given as a JSON array of objects whose values are texts or null: for `FROM`.
    func records(_ parameter: String, _ columns: [(name: String, type: ColumnType)]) -> String {
        switch self {
        case .postgres:
            let list = columns.map { "\($0.name) \($0.type == .text ? "text" : "bigint")" }.joined(separator: ", ")
            return "json_to_recordset(CAST(\(parameter) AS json)) AS record(\(list))"
        case .sqlite:
            let list = columns.map { column in
                let value = "json_extract(value, '$.\(column.name)')"
                return (column.type == .text ? value : "CAST(\(value) AS INTEGER)") + " AS \(column.name)"
            }
            return "(SELECT \(list.joined(separator: ", ")) FROM json_each(\(parameter))) AS record"
        }
    }

    func integer(_ parameter: String) -> String { "CAST(\(parameter) AS bigint)" }

    /// Milliseconds since 1970 as a column's time.
    func time(_ milliseconds: String) -> String {
        switch self {
        case .postgres: "to_timestamp(CAST(\(milliseconds) AS bigint) / 1000.0)"
        case .sqlite: "CAST(\(milliseconds) AS INTEGER)"
        }
    }

    /// A column's time as milliseconds since 1970.
    func milliseconds(_ column: String) -> String {
        switch self {
        case .postgres: "CAST(floor(extract(epoch FROM \(column)) * 1000) AS bigint)"
        case .sqlite: column
        }
    }

    func json(_ parameter: String) -> String {
        switch self {
        case .postgres: "CAST(\(parameter) AS jsonb)"
        case .sqlite: parameter
        }
    }

    func boolean(_ parameter: String) -> String {
        switch self {
        case .postgres: "CAST(\(parameter) AS boolean)"
        case .sqlite: "CAST(\(parameter) AS INTEGER)"
        }
    }

    func isTrue(_ text: String?) -> Bool { text == "t" || text == "1" }

    /// Lower case of all letters; SQLite knows only those of ASCII.
    func contains(_ column: String, _ parameter: String) -> String {
        switch self {
        case .postgres: "strpos(lower(\(column)), \(parameter)) > 0"
        case .sqlite: "instr(lower(\(column)), \(parameter)) > 0"
        }
    }

    /// Byte order, so that pages come in the same order everywhere.
    var binaryOrder: String {
        switch self {
        case .postgres: "COLLATE \"C\""
        case .sqlite: "COLLATE BINARY"
        }
    }

    /// Whether a statement was refused because a row with its key is there.
    func isConflict(_ sqlState: String) -> Bool {
        switch self {
        case .postgres: sqlState == "23505"
        // Of any constraint.
        case .sqlite: sqlState == "SQLITE-19"
        }
    }

    /// Makes transactions that name the same thing wait for each other. SQLite has one writer anyway.
    func lock(_ name: String, in session: any SQLSession) throws {
        guard case .postgres = self else { return }
        _ = try session.rows("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", [name])
    }
}

/// Values are texts, `nil` is NULL.
package struct SQLStatement: Sendable {
    let sql: String
    let values: [String?]

    init(_ sql: String, _ values: [String?]) {
        self.sql = sql
        self.values = values
    }
}

/// Rows of text values; `nil` is NULL.
package typealias SQLRows = [[String?]]

/// A connection for the length of one call.
package protocol SQLSession {
    /// Runs one statement; values are texts, `nil` is NULL.
    func rows(_ sql: String, _ values: [String?]) throws -> SQLRows
}

extension SQLSession {
    func rows(_ statement: SQLStatement) throws -> SQLRows { try self.rows(statement.sql, statement.values) }
}

/// A store that runs SQL.
package protocol SQLStore: Sendable {
    var dialect: SQLDialect { get }
    /// All or nothing.
    func transaction<Value: Sendable>(
        timeout: Duration, _ body: @escaping @Sendable (any SQLSession) throws -> Value,
    ) async throws -> Value
    /// Statements of which none needs to know what another one found: all or nothing, and in one exchange with the
    /// database where it can do that.
    func together(timeout: Duration, _ statements: [SQLStatement]) async throws -> [SQLRows]
    /// Statements that only read.
    func reading<Value: Sendable>(
        timeout: Duration, _ body: @escaping @Sendable (any SQLSession) throws -> Value,
    ) async throws -> Value
}

extension SQLStore {
    package func together(timeout: Duration, _ statements: [SQLStatement]) async throws -> [SQLRows] {
        try await self.transaction(timeout: timeout) { session in try statements.map(session.rows) }
    }
}

extension JSONValue {
    static func texts(_ values: some Sequence<String>) -> String {
        JSONValue.array(values.map(JSONValue.string)).text()
    }
}
