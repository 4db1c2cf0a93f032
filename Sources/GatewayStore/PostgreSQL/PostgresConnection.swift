// SPDX-License-Identifier: Apache-2.0

internal import CLibPQ
internal import Foundation
internal import GatewayCore

/// A `PGconn`, owned by one worker thread of the pool. Calls block that thread, never longer than their deadline.
final class PostgresConnection {
    private let handle: OpaquePointer
    /// The bound of statements that a transaction runs.
    var statementTimeout = Duration.seconds(5)
    /// Statements that the server has parsed, by their text; `nil` once it turned out that it forgets them.
    private var prepared: [String: String]? = [:]

    /// Connects with libpq's own rules for URLs, `sslmode` and certificates.
    init(url: String, username: String?, password: String?, timeout: Duration) throws(StoreError) {
        // The URL comes first, so that what follows overrides it.
        var options: [(String, String)] = [("dbname", url)]
        if let username { options.append(("user", username)) }
        if let password { options.append(("password", password)) }
        options.append(("connect_timeout", String(max(2, timeout.components.seconds))))
        options.append(("fallback_application_name", "claude-gateway"))
        options.append(("client_encoding", "UTF8"))
        options.append(("tcp_user_timeout", "5000"))
        let keywords = options.map { strdup($0.0) }
        let values = options.map { strdup($0.1) }
        defer { for text in keywords + values { free(text) } }
        let handle = (keywords.map { UnsafePointer($0) } + [nil]).withUnsafeBufferPointer { keywords in
            (values.map { UnsafePointer($0) } + [nil]).withUnsafeBufferPointer { values in
                PQconnectdbParams(keywords.baseAddress!, values.baseAddress!, 1)
            }
        }
        guard let handle else { throw .unavailable("out of memory") }
        guard PQstatus(handle) == CONNECTION_OK else {
            let reason = Self.message(of: handle)
            PQfinish(handle)
            throw .unavailable(reason)
        }
        PQsetNoticeProcessor(handle, { _, _ in }, nil)
        self.handle = handle
    }

    deinit {
        PQfinish(self.handle)
    }

    /// Whether the connection still stands. libpq notices a dropped peer only on its next call, so the pool asks this
    /// before it lends a connection out.
    var isAlive: Bool {
        var descriptor = pollfd(fd: PQsocket(self.handle), events: Int16(POLLIN), revents: 0)
        if poll(&descriptor, 1, 0) > 0 { PQconsumeInput(self.handle) }
        return PQstatus(self.handle) == CONNECTION_OK
    }

    /// Whether the connection is idle and outside a transaction.
    var isReusable: Bool {
        PQstatus(self.handle) == CONNECTION_OK && PQtransactionStatus(self.handle) == PQTRANS_IDLE
            && PQpipelineStatus(self.handle) == PQ_PIPELINE_OFF
    }

    /// Whether the connection takes another statement, inside a transaction or not.
    var isUsable: Bool {
        PQstatus(self.handle) == CONNECTION_OK && PQtransactionStatus(self.handle) != PQTRANS_ACTIVE
    }

    /// Runs one statement. After `StoreError.timedOut` or `.unavailable` the connection must be dropped.
    @discardableResult
    func query(_ sql: String, _ parameters: [String?] = [], timeout: Duration = .seconds(5)) throws(StoreError)
        -> SQLRows
    {
        try self.run(timeout, parameters) { values in
            PQsendQueryParams(self.handle, sql, Int32(parameters.count), nil, values, nil, nil, 0)
        }
    }

    /// Runs a statement that will come again: the server parses it once. Poolers that hand every transaction to another
    /// server connection are recognised, and statements are then not prepared.
    func queryPrepared(_ sql: String, _ parameters: [String?], timeout: Duration) throws(StoreError) -> SQLRows {
        guard let name = try self.name(of: sql, timeout: timeout) else {
            return try self.query(sql, parameters, timeout: timeout)
        }
        return try self.run(timeout, parameters) { values in
            PQsendQueryPrepared(self.handle, name, Int32(parameters.count), values, nil, nil, 0)
        }
    }

    /// The name under which the server knows a statement; `nil` when it forgets them.
    private func name(of sql: String, timeout: Duration) throws(StoreError) -> String? {
        guard let prepared else { return nil }
        if let known = prepared[sql] { return known }
        let name = "gateway_\(prepared.count)"
        _ = try self.run(timeout, []) { _ in PQsendPrepare(self.handle, name, sql, 0, nil) }
        self.prepared?[sql] = name
        return name
    }

    /// Runs statements in one transaction and one exchange: all are sent before an answer is read, and the server keeps
    /// what they do only if none fails (PostgreSQL manual, libpq, Pipeline Mode). Statements that will come again, as in
    /// `queryPrepared`.
    func pipeline(_ statements: [SQLStatement], timeout: Duration) throws(StoreError) -> [SQLRows] {
        var names: [String?] = []
        for statement in statements { names.append(try self.name(of: statement.sql, timeout: timeout)) }
        // What is sent must not wait for a server that waits for what it sends to be read.
        guard PQsetnonblocking(self.handle, 1) == 0, PQenterPipelineMode(self.handle) == 1 else {
            throw .unavailable(Self.message(of: self.handle))
        }
        for (statement, name) in zip(statements, names) {
            let (sql, count) = (statement.sql, Int32(statement.values.count))
            let sent = Self.withParameters(statement.values) { values in
                if let name { return PQsendQueryPrepared(self.handle, name, count, values, nil, nil, 0) }
                return PQsendQueryParams(self.handle, sql, count, nil, values, nil, nil, 0)
            }
            guard sent == 1 else { throw .unavailable(Self.message(of: self.handle)) }
        }
        guard PQpipelineSync(self.handle) == 1 else { throw .unavailable(Self.message(of: self.handle)) }
        let deadline = ContinuousClock.now + timeout
        var found: [SQLRows] = []
        var failure: StoreError?
        for _ in statements {
            let (rows, error) = try self.answer(until: deadline)
            found.append(rows)
            failure = failure ?? error
        }
        // The end of the transaction may fail as well, which is told before its end.
        while let error = try self.end(until: deadline) { failure = failure ?? error }
        guard PQexitPipelineMode(self.handle) == 1, PQsetnonblocking(self.handle, 0) == 0 else {
            throw .unavailable(Self.message(of: self.handle))
        }
        if let failure { throw failure }
        return found
    }

    /// Whether the error says that a prepared statement cannot be used; then none is from now on.
    func forgetsStatements(_ error: any Error) -> Bool {
        // No such statement; there is one of that name; its result would have other columns than before.
        guard case .refused(let state, _)? = error as? StoreError, ["26000", "42P05", "0A000"].contains(state),
            self.prepared?.isEmpty == false || state == "42P05"
        else { return false }
        self.prepared = nil
        return true
    }

    private func run(
        _ timeout: Duration, _ parameters: [String?], _ send: (UnsafePointer<UnsafePointer<CChar>?>?) -> Int32,
    ) throws(StoreError) -> SQLRows {
        guard Self.withParameters(parameters, send) == 1 else { throw .unavailable(Self.message(of: self.handle)) }
        let (rows, failure) = try self.answer(until: .now + timeout)
        if let failure { throw failure }
        return rows
    }

    private static func withParameters(
        _ parameters: [String?], _ body: (UnsafePointer<UnsafePointer<CChar>?>?) -> Int32,
    ) -> Int32 {
        let values = parameters.map { $0.map { strdup($0) } ?? nil }
        defer { for value in values { free(value) } }
        return values.map { UnsafePointer($0) }.withUnsafeBufferPointer { body($0.baseAddress) }
    }

    /// All that comes for one statement.
    private func answer(until deadline: ContinuousClock.Instant) throws(StoreError) -> (SQLRows, StoreError?) {
        try self.waitForResult(until: deadline)
        var rows: SQLRows = []
        var failure: StoreError?
        while let result = PQgetResult(self.handle) {
            defer { PQclear(result) }
            switch PQresultStatus(result) {
            case PGRES_TUPLES_OK, PGRES_COMMAND_OK: rows = Self.rows(of: result)
            // Something before it has failed, and that is told.
            case PGRES_PIPELINE_ABORTED: break
            default: failure = self.error(of: result)
            }
        }
        return (rows, failure)
    }

    /// What is told behind the last statement: `nil` for the end of the pipeline.
    private func end(until deadline: ContinuousClock.Instant) throws(StoreError) -> StoreError? {
        try self.waitForResult(until: deadline)
        var result = PQgetResult(self.handle)
        // Between the answers to two things stands nothing.
        if result == nil { result = PQgetResult(self.handle) }
        guard let result else { throw .unavailable("the server's answers do not fit the statements") }
        defer { PQclear(result) }
        return PQresultStatus(result) == PGRES_PIPELINE_SYNC ? nil : self.error(of: result)
    }

    private func waitForResult(until deadline: ContinuousClock.Instant) throws(StoreError) {
        while true {
            guard PQconsumeInput(self.handle) == 1 else { throw .unavailable(Self.message(of: self.handle)) }
            if PQisBusy(self.handle) == 0 { return }
            let left = ContinuousClock.now.duration(to: deadline)
            guard left > .zero else { throw .timedOut }
            let unsent = PQflush(self.handle) == 1
            var descriptor = pollfd(
                fd: PQsocket(self.handle), events: Int16(POLLIN) | (unsent ? Int16(POLLOUT) : 0), revents: 0)
            let milliseconds = left.components.seconds * 1000 + left.components.attoseconds / 1_000_000_000_000_000
            poll(&descriptor, 1, Int32(clamping: milliseconds + 1))
        }
    }

    private static func rows(of result: OpaquePointer) -> SQLRows {
        let columns = PQnfields(result)
        return (0..<PQntuples(result)).map { row in
            (0..<columns).map { column in
                PQgetisnull(result, row, column) == 1 ? nil : String(cString: PQgetvalue(result, row, column))
            }
        }
    }

    private func error(of result: OpaquePointer) -> StoreError {
        let state = PQresultErrorField(result, Int32(UInt8(ascii: "C"))).map { String(cString: $0) } ?? ""
        let primary = PQresultErrorField(result, Int32(UInt8(ascii: "M"))).map { String(cString: $0) }
        let text = Self.sentence(primary ?? String(cString: PQresultErrorMessage(result)))
        // Class 57P: the server is going down; 08: the connection is gone.
        let isGone = PQstatus(self.handle) != CONNECTION_OK || state.hasPrefix("57P") || state.hasPrefix("08")
        return isGone ? .unavailable(text) : .refused(sqlState: state, text)
    }

    private static func message(of handle: OpaquePointer) -> String {
        let text = self.sentence(String(cString: PQerrorMessage(handle)))
        return text.isEmpty ? "the connection failed" : text
    }

    /// libpq's words, of which it makes several lines.
    private static func sentence(_ text: String) -> String {
        text.split(whereSeparator: \.isWhitespace).joined(separator: " ").singleLine
    }
}
