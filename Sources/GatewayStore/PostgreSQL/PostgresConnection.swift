// SPDX-License-Identifier: Apache-2.0

internal import CLibPQ
internal import Foundation
internal import GatewayCore

/// A `PGconn`, owned by one worker thread of the pool. Calls block that thread, never longer than their deadline.
final class PostgresConnection {
    /// Rows of text values; `nil` is SQL NULL.
    typealias Rows = [[String?]]

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
    }

    /// Whether the connection takes another statement, inside a transaction or not.
    var isUsable: Bool {
        PQstatus(self.handle) == CONNECTION_OK && PQtransactionStatus(self.handle) != PQTRANS_ACTIVE
    }

    /// Runs one statement. After `StoreError.timedOut` or `.unavailable` the connection must be dropped.
    @discardableResult
    func query(_ sql: String, _ parameters: [String?] = [], timeout: Duration = .seconds(5)) throws(StoreError) -> Rows
    {
        try self.run(timeout, parameters) { values in
            PQsendQueryParams(self.handle, sql, Int32(parameters.count), nil, values, nil, nil, 0)
        }
    }

    /// Runs a statement that will come again: the server parses it once. Poolers that hand every transaction to another
    /// server connection are recognised, and statements are then not prepared.
    func queryPrepared(_ sql: String, _ parameters: [String?], timeout: Duration) throws(StoreError) -> Rows {
        guard let prepared else { return try self.query(sql, parameters, timeout: timeout) }
        let name: String
        if let known = prepared[sql] {
            name = known
        } else {
            name = "gateway_\(prepared.count)"
            _ = try self.run(timeout, []) { _ in PQsendPrepare(self.handle, name, sql, 0, nil) }
            self.prepared?[sql] = name
        }
        return try self.run(timeout, parameters) { values in
            PQsendQueryPrepared(self.handle, name, Int32(parameters.count), values, nil, nil, 0)
        }
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
    ) throws(StoreError) -> Rows {
        let values = parameters.map { $0.map { strdup($0) } ?? nil }
        defer { for value in values { free(value) } }
        let sent = values.map { UnsafePointer($0) }.withUnsafeBufferPointer { send($0.baseAddress) }
        guard sent == 1 else { throw .unavailable(Self.message(of: self.handle)) }
        try self.waitForResult(until: .now + timeout)
        var rows: Rows = []
        var failure: StoreError?
        while let result = PQgetResult(self.handle) {
            defer { PQclear(result) }
            switch PQresultStatus(result) {
            case PGRES_TUPLES_OK, PGRES_COMMAND_OK: rows = Self.rows(of: result)
            default: failure = Self.error(of: result, connectionIsGood: PQstatus(self.handle) == CONNECTION_OK)
            }
        }
        if let failure { throw failure }
        return rows
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

    private static func rows(of result: OpaquePointer) -> Rows {
        let columns = PQnfields(result)
        return (0..<PQntuples(result)).map { row in
            (0..<columns).map { column in
                PQgetisnull(result, row, column) == 1 ? nil : String(cString: PQgetvalue(result, row, column))
            }
        }
    }

    private static func error(of result: OpaquePointer, connectionIsGood: Bool) -> StoreError {
        let state = PQresultErrorField(result, Int32(UInt8(ascii: "C"))).map { String(cString: $0) } ?? ""
        let primary = PQresultErrorField(result, Int32(UInt8(ascii: "M"))).map { String(cString: $0) }
        let text = self.sentence(primary ?? String(cString: PQresultErrorMessage(result)))
        // Class 57P: the server is going down; 08: the connection is gone.
        let isGone = !connectionIsGood || state.hasPrefix("57P") || state.hasPrefix("08")
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
