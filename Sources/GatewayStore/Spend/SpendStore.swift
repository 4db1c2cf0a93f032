// SPDX-License-Identifier: Apache-2.0

package import GatewayCore

/// Spend and its limits: the tables `spend`, `pooled_spend`, `spend_ledger`, `spend_daily`, `spend_limits`,
/// `admin_audit`, `principal_emails`, `principal_groups`, `spend_holds`,
/// `spend_limit_requests`, `spend_alerts`.
package protocol SpendStore: Sendable {
    /// Books entries and notes sightings in one transaction. Entries that are booked already are left alone.
    ///
    /// - Parameters:
    ///   - question: What to read behind that; costs less than asking for it separately.
    ///   - mayRepeat: Whether some of them may well be booked already. New ones cost less when that is not expected.
    @discardableResult
    func book(
        _ entries: [SpendEntry], _ sightings: [PrincipalSighting], asking question: SpendQuestion?, mayRepeat: Bool,
        now: Timestamp,
    ) async throws -> SpendBooking

    /// Limits that may concern those callers, and what they and their groups' pools have spent at `now`.
    func spendState(principals: [String], groups: [String], now: Timestamp) async throws -> SpendState

    // MARK: Holds

    /// Decides on reservations while no other replica can decide about the same developers and groups.
    ///
    /// - Parameter decide: Given the state with what is held already; returns the holds to keep.
    func hold(
        _ question: SpendQuestion, now: Timestamp, decide: @escaping @Sendable (SpendState) -> [SpendHold],
    ) async throws
    /// Ends holds of requests that came to nothing.
    func releaseHolds(_ ids: [String]) async throws
    func extendHolds(_ ids: [String], to end: Timestamp) async throws
    /// Ends and returns the holds of replicas that are gone.
    func sweepHolds(now: Timestamp) async throws -> [SpendHold]

    // MARK: Limits

    /// Creates or replaces the limit of a scope and period, and writes the audit row. `change` is given the stored limit
    /// and says what the new one is.
    func upsertLimit(
        _ scope: SpendScope, _ period: SpendPeriod, actor: String, reason: String?, now: Timestamp,
        change: @escaping @Sendable (SpendLimit?) throws -> SpendLimit,
    ) async throws -> LimitChange
    /// `nil` when there is none.
    func deleteLimit(id: String, actor: String, reason: String?, now: Timestamp) async throws -> SpendLimit?
    func limit(id: String, now: Timestamp) async throws -> SpendLimit?
    /// A page in order of creation; `nil` when the cursor's limit does not exist.
    func limits(_ query: LimitQuery, now: Timestamp) async throws -> LimitListing?
    /// Newest first.
    func auditRows(_ query: AuditQuery) async throws -> (rows: [AdminAuditRow], hasMore: Bool)

    // MARK: Requests for more

    /// - Returns: Whether it was stored; not when the developer has as many pending ones as `maximumPending`.
    func insertRequest(_ request: LimitIncreaseRequest, maximumPending: Int) async throws -> Bool
    func request(id: String) async throws -> LimitIncreaseRequest?
    /// Newest first; `nil` when the cursor's request does not exist.
    func requests(_ query: LimitRequestQuery) async throws -> (requests: [LimitIncreaseRequest], hasMore: Bool)?
    /// Ends a pending request, and writes the audit row; `nil` when it is not pending any more.
    func decideRequest(_ decided: LimitIncreaseRequest, actor: String) async throws -> LimitIncreaseRequest?

    // MARK: Alerts

    /// Those whose id is known already are left alone.
    func insertAlerts(_ alerts: [SpendAlertRow], now: Timestamp) async throws
    func claimAlerts(limit: Int, retryAt: Timestamp, now: Timestamp) async throws -> [SpendAlertRow]
    /// - Parameter nextAttempt: `nil` when it has been delivered or given up.
    func endAlert(_ id: String, nextAttempt: Timestamp?, now: Timestamp) async throws
    func sweepAlerts(before time: Timestamp) async throws

    // MARK: Principals

    /// Principals that have spent, by subject.
    func principals(_ query: PrincipalQuery) async throws -> [String]
    /// Principals that have spent in one period, the highest first.
    func principalsBySpend(_ query: PrincipalQuery, periodKey: String) async throws -> [(
        principal: String, spend: Money
    )]
    func identities(_ principals: [String]) async throws -> [String: PrincipalIdentity]

    // MARK: Keeping

    func sweepSpend(_ retention: SpendRetention, now: Timestamp) async throws

    // MARK: Reports

    func report(_ query: SpendReportQuery) async throws -> [SpendReportRow]
    /// A name of this database, made on first use: what tells whether a journal belongs to it.
    func ledgerName() async throws -> String
}

extension SpendStore {
    @discardableResult
    package func book(
        _ entries: [SpendEntry], _ sightings: [PrincipalSighting], asking question: SpendQuestion? = nil,
        now: Timestamp,
    ) async throws -> SpendBooking {
        try await self.book(entries, sightings, asking: question, mayRepeat: false, now: now)
    }
}

/// About whom `SpendState` is wanted.
package struct SpendQuestion: Sendable {
    package let principals: [String]
    package let groups: [String]

    package init(principals: [String], groups: [String]) {
        self.principals = principals
        self.groups = groups
    }
}

package struct SpendBooking: Sendable {
    /// The counters that have changed.
    package var totals = SpendTotals()
    /// The answer to the question.
    package var state: SpendState?

    package init() {}
}

package struct LimitQuery: Sendable {
    package enum Cursor: Sendable {
        case after(String)
        case before(String)
    }

    package var cursor: Cursor?
    package var limit = 20
    package var scopeType: String?
    package var scopeID: String?
    package var period: SpendPeriod?

    package init() {}
}

package struct AuditQuery: Sendable {
    package var afterID: Int64?
    package var limit = 100
    package var actor: String?
    package var action: String?
    package var target: String?

    package init() {}
}

package struct PrincipalQuery: Sendable {
    /// Lower-cased; a part of the subject, the address or the name.
    package var search: String?
    package var group: String?
    package var limit = 20
    package var after: String?
    package var afterSpend: Money?

    package init() {}
}

/// What to sum up of the ledger.
package struct SpendReportQuery: Sendable {
    package enum Dimension: String, Sendable, CaseIterable {
        case user
        case model
        case upstream
        case group
        case billingGroup = "billing_group"
    }

    package enum Bucket: Sendable, Equatable {
        case minute
        case hour
        case day
        /// Everything in one sum.
        case all
    }

    package var from: Timestamp
    /// Exclusive.
    package var to: Timestamp
    package var bucket = Bucket.day
    package var by: [Dimension] = []
    /// Empty: everybody.
    package var principals: [String] = []
    /// Developers who were in one of these groups on the day. Empty: everybody.
    package var groups: [String] = []
    package var models: [String] = []
    package var upstreams: [String] = []

    package init(from: Timestamp, to: Timestamp) {
        self.from = from
        self.to = to
    }
}

package struct SpendReportRow: Sendable, Equatable {
    /// Where the row's bucket begins.
    package var start: Timestamp
    /// In the order of the query's dimensions; `nil` where there is none, such as no billing group.
    package var keys: [String?]
    package var requests: Int64
    package var input: Int64
    package var output: Int64
    package var cacheWrite5m: Int64
    package var cacheWrite1h: Int64
    package var cacheRead: Int64
    package var webSearches: Int64
    package var amount: Money
}
