// SPDX-License-Identifier: Apache-2.0

package import GatewayCore

/// Metered answers that differ in nothing but their size: mostly one; many of one developer's that ended within a few
/// milliseconds are one entry. Written exactly once, however often it is handed in: `id` is the gateway's own and never
/// a client's.
@dynamicMemberLookup
package struct SpendEntry: Sendable, Equatable {
    package static let listedRequests = 64

    /// What makes one answer more or less than another that is like it.
    package struct Amounts: Sendable, Equatable {
        package var input = 0
        package var output = 0
        package var cacheWrite5m = 0
        package var cacheWrite1h = 0
        package var cacheRead = 0
        package var webSearches = 0
        /// Answers whose usage is not all the upstream's word.
        package var estimates = 0
        package var amount = Money.zero

        package init() {}

        /// Sums stop at the largest number.
        mutating func add(_ other: Amounts) {
            func add(_ sum: inout Int, _ value: Int) {
                let (result, overflow) = sum.addingReportingOverflow(value)
                sum = overflow ? .max : result
            }
            add(&self.input, other.input)
            add(&self.output, other.output)
            add(&self.cacheWrite5m, other.cacheWrite5m)
            add(&self.cacheWrite1h, other.cacheWrite1h)
            add(&self.cacheRead, other.cacheRead)
            add(&self.webSearches, other.webSearches)
            add(&self.estimates, other.estimates)
            self.amount += other.amount
        }
    }

    /// A UUID; empty until the entry is handed to the books.
    package var id = ""
    /// When the request began, of several the first; decides the periods.
    package var at: Timestamp
    package var principal: String
    /// Of several requests the first ones', at most `listedRequests`.
    package private(set) var requestIDs: [String]
    package private(set) var requests = 1
    /// As the client asked for it.
    package var model: String
    package var upstream: String
    package var upstreamModel: String
    package var billingGroup: String?
    /// The group whose pool pays, when that is decided.
    package var pool: String?
    /// The groups among whose pools one is still to be chosen, because limits could not be read when the request began.
    package var undecidedPools: [String] = []
    package var amounts = Amounts()
    /// Whether this process counts it as not yet booked. Not kept on the disk.
    package var isExposed = false
    /// The reservation that this settles.
    package var hold: String?

    package init(
        at: Timestamp, principal: String, requestID: String, model: String, upstream: String,
        upstreamModel: String, amount: Money,
    ) {
        self.at = at
        self.principal = principal
        self.requestIDs = [requestID]
        self.model = model
        self.upstream = upstream
        self.upstreamModel = upstreamModel
        self.amounts.amount = amount
    }

    package subscript<Value>(dynamicMember path: WritableKeyPath<Amounts, Value>) -> Value {
        get { self.amounts[keyPath: path] }
        set { self.amounts[keyPath: path] = newValue }
    }
}

extension SpendEntry {
    /// A number under which to look for entries that are like this one: theirs is the same, and that of others hardly ever.
    /// `nil` for an entry that stays by itself, because something is still to be settled or decided for it.
    package var kind: Int? {
        guard self.hold == nil, self.undecidedPools.isEmpty else { return nil }
        // Whoever finds names that collide only keeps entries apart.
        var hash = ByteHash(
            seed: UInt64(truncatingIfNeeded: self.at.milliseconds / 60_000 * 2 + (self.isExposed ? 1 : 0)))
        hash.add(self.principal)
        hash.add(self.model)
        hash.add(self.upstream)
        hash.add(self.billingGroup ?? "")
        hash.add(self.pool ?? "")
        return Int(truncatingIfNeeded: hash.value)
    }

    package func isOfMinute(of time: Timestamp) -> Bool { self.at.milliseconds / 60_000 == time.milliseconds / 60_000 }

    /// Whether two entries with a kind can be one.
    package func isLike(_ other: SpendEntry) -> Bool {
        self.isOfMinute(of: other.at) && self.isExposed == other.isExposed
            && self.principal == other.principal && self.model == other.model && self.upstream == other.upstream
            && self.upstreamModel == other.upstreamModel && self.billingGroup == other.billingGroup
            && self.pool == other.pool
    }

    /// Takes in another entry if it is like this one, which is of fewer answers than `limit`.
    ///
    /// - Returns: Whether it has.
    package mutating func merge(_ other: SpendEntry, ifLikeAndBelow limit: Int) -> Bool {
        guard self.requests < limit, self.isLike(other) else { return false }
        self.merge(other)
        return true
    }

    /// Takes in another entry that is like it and has not been handed in yet.
    package mutating func merge(_ other: SpendEntry) {
        self.requests += other.requests
        let room = Self.listedRequests - self.requestIDs.count
        if room > 0 { self.requestIDs += other.requestIDs.prefix(room) }
        self.add(other.amounts, at: other.at)
    }

    /// Takes in one answer more that is like it.
    package mutating func add(_ amounts: Amounts, at: Timestamp, requestID: String) {
        self.requests += 1
        if self.requestIDs.count < Self.listedRequests { self.requestIDs.append(requestID) }
        self.add(amounts, at: at)
    }

    private mutating func add(_ amounts: Amounts, at: Timestamp) {
        self.at = min(self.at, at)
        self.amounts.add(amounts)
    }

    /// One line of the journal.
    package var json: JSONValue {
        func number(_ value: Int) -> JSONValue { .string(String(value)) }
        var object: JSONObject = [
            "id": .string(self.id), "at": .string(String(self.at.milliseconds)), "principal": .string(self.principal),
            "request_ids": .string(self.requestIDs.joined(separator: " ")), "requests": number(self.requests),
            "model": .string(self.model), "upstream": .string(self.upstream),
            "upstream_model": .string(self.upstreamModel), "input": number(self.input),
            "output": number(self.output), "cache_write_5m": number(self.cacheWrite5m),
            "cache_write_1h": number(self.cacheWrite1h), "cache_read": number(self.cacheRead),
            "web_searches": number(self.webSearches), "estimates": number(self.estimates),
            "nanodollars": .string(String(self.amount.nanodollars)),
        ]
        object["billing_group"] = self.billingGroup.map(JSONValue.string)
        object["pool"] = self.pool.map(JSONValue.string)
        object["hold"] = self.hold.map(JSONValue.string)
        if !self.undecidedPools.isEmpty {
            object["undecided_pools"] = .array(self.undecidedPools.map(JSONValue.string))
        }
        return .object(object)
    }

    /// `nil` for anything that `json` has not written.
    package init?(json: JSONValue) {
        func number(_ key: String) -> Int? { json[key]?.string.flatMap { Int($0) } }
        guard let id = json["id"]?.string, let at = number("at"), let principal = json["principal"]?.string,
            let requestIDs = json["request_ids"]?.string?.split(separator: " ").map(String.init),
            let requestID = requestIDs.first, let model = json["model"]?.string,
            let upstream = json["upstream"]?.string, let upstreamModel = json["upstream_model"]?.string,
            let nanodollars = number("nanodollars"), let input = number("input"), let output = number("output"),
            let cacheWrite5m = number("cache_write_5m"), let cacheWrite1h = number("cache_write_1h"),
            let cacheRead = number("cache_read"), let webSearches = number("web_searches"),
            let estimates = number("estimates"), let requests = number("requests")
        else { return nil }
        self.init(
            at: Timestamp(milliseconds: Int64(at)), principal: principal, requestID: requestID, model: model,
            upstream: upstream, upstreamModel: upstreamModel, amount: Money(nanodollars: Int64(nanodollars)))
        self.id = id
        self.requestIDs = requestIDs
        self.requests = requests
        self.billingGroup = json["billing_group"]?.string
        self.pool = json["pool"]?.string
        self.hold = json["hold"]?.string
        self.undecidedPools = json["undecided_pools"]?.array?.compactMap(\.string) ?? []
        (self.input, self.output, self.cacheRead) = (input, output, cacheRead)
        (self.cacheWrite5m, self.cacheWrite1h, self.webSearches) = (cacheWrite5m, cacheWrite1h, webSearches)
        self.estimates = estimates
    }
}

/// A request's reservation in exact mode.
package struct SpendHold: Sendable, Equatable {
    /// A UUID.
    package let id: String
    package let requestID: String
    package let principal: String
    /// The group whose pool pays.
    package let pool: String?
    /// The most that the request can cost.
    package let amount: Money
    /// When it ends by itself, should its replica be gone.
    package let expiresAt: Timestamp

    package init(
        id: String, requestID: String, principal: String, pool: String?, amount: Money, expiresAt: Timestamp,
    ) {
        self.id = id
        self.requestID = requestID
        self.principal = principal
        self.pool = pool
        self.amount = amount
        self.expiresAt = expiresAt
    }
}

/// A developer as the last request's token named him.
package struct PrincipalSighting: Sendable, Hashable {
    package var principal: String
    package var email: String?
    package var name: String?
    package var groups: [String]
    package var at: Timestamp

    package init(_ principal: Principal, at: Timestamp) {
        self.principal = principal.subject
        self.email = principal.email
        self.name = principal.name
        self.groups = principal.groups ?? []
        self.at = at
    }
}

/// What a limit is for.
package enum SpendScope: Sendable, Hashable {
    case organization
    case group(String)
    case user(String)

    /// `scope_type` in the table and on the wire.
    package var type: String {
        switch self {
        case .organization: "organization"
        case .group: "rbac_group"
        case .user: "user"
        }
    }

    /// `scope_id` in the table; empty for the organization.
    package var id: String {
        switch self {
        case .organization: ""
        case .group(let name): name
        case .user(let subject): subject
        }
    }

    package init?(type: String, id: String) {
        switch type {
        case "organization": self = .organization
        case "rbac_group": self = .group(id)
        case "user": self = .user(id)
        default: return nil
        }
    }
}

/// One row of `spend_limits`.
package struct SpendLimit: Sendable, Equatable {
    /// One budget that a group's members share, next to each member's own limit. Always monthly.
    package struct Pool: Sendable, Equatable {
        /// In cents.
        package var amount: Int64
        package var isPaused: Bool

        package init(amount: Int64, isPaused: Bool) {
            self.amount = amount
            self.isPaused = isPaused
        }
    }

    package var id: String
    package var scope: SpendScope
    package var period: SpendPeriod
    /// In cents; `nil` is unlimited.
    package var amount: Int64?
    package var pool: Pool?
    package var createdAt: Timestamp
    package var updatedAt: Timestamp
    /// What the pool has paid this month; `nil` where it was not asked for.
    package var poolSpend: Money?

    package init(
        id: String, scope: SpendScope, period: SpendPeriod, amount: Int64?, pool: Pool? = nil,
        createdAt: Timestamp, updatedAt: Timestamp,
    ) {
        self.id = id
        self.scope = scope
        self.period = period
        self.amount = amount
        self.pool = pool
        self.createdAt = createdAt
        self.updatedAt = updatedAt
    }
}

/// Counters as they stand after a booking.
package struct SpendTotals: Sendable {
    /// By principal, then by period key.
    package var spend: [String: [String: Money]] = [:]
    /// By group, then by month.
    package var pools: [String: [String: Money]] = [:]

    package init() {}

    package var isEmpty: Bool { self.spend.isEmpty && self.pools.isEmpty }

    /// Counters only grow, so that of two readings the larger one is the later one.
    package mutating func merge(_ other: SpendTotals) {
        self.spend.merge(other.spend) { $0.merging($1) { max($0, $1) } }
        self.pools.merge(other.pools) { $0.merging($1) { max($0, $1) } }
    }
}

/// Everything that decides whether some callers may spend, read in one go.
package struct SpendState: Sendable {
    /// A higher limit for a while.
    package struct Raise: Sendable, Equatable {
        /// In cents.
        package let amount: Int64
        package let endsAt: Timestamp

        package init(amount: Int64, endsAt: Timestamp) {
            self.amount = amount
            self.endsAt = endsAt
        }
    }

    package var limits: [SpendLimit] = []
    /// By principal, then by period key.
    package var spend: [String: [String: Money]] = [:]
    /// This month's, by group.
    package var pools: [String: Money] = [:]
    /// What running requests may cost at most, in exact mode: by principal.
    package var held: [String: Money] = [:]
    /// The same, by group whose pool pays.
    package var heldOfPools: [String: Money] = [:]
    /// By principal.
    package var raises: [String: [SpendPeriod: Raise]] = [:]

    package init() {}

    /// Brings in what is known to have been booked by now.
    package mutating func merge(_ totals: SpendTotals, now: Timestamp) {
        for (principal, sums) in totals.spend {
            self.spend[principal, default: [:]].merge(sums) { max($0, $1) }
        }
        let month = SpendPeriod.monthly.key(at: now)
        for (group, sums) in totals.pools {
            if let sum = sums[month] { self.pools[group] = max(self.pools[group] ?? .zero, sum) }
        }
    }

    package func spend(of principal: String, _ period: SpendPeriod, at time: Timestamp) -> Money {
        self.spend[principal]?[period.key(at: time)] ?? .zero
    }
}

/// One row of `admin_audit`.
package struct AdminAuditRow: Sendable, Equatable {
    package let id: Int64
    package let at: Timestamp
    package let actor: String
    package let action: String
    package let target: String
    package let before: JSONValue?
    package let after: JSONValue?
    package let reason: String?
}

/// What a change of a limit leaves behind.
package struct LimitChange: Sendable {
    package let before: SpendLimit?
    package let after: SpendLimit?
}

package struct LimitListing: Sendable {
    package let limits: [SpendLimit]
    package let hasMore: Bool
}

/// Who a principal is, as far as the last requests told.
package struct PrincipalIdentity: Sendable, Equatable {
    package var email: String?
    package var name: String?
    package var groups: [String] = []

    package init(email: String? = nil, name: String? = nil, groups: [String] = []) {
        self.email = email
        self.name = name
        self.groups = groups
    }
}

/// How long things are kept.
package struct SpendRetention: Sendable {
    package let spendMonths: Int
    package let auditDays: Int
    package let identityDays: Int

    package init(spendMonths: Int, auditDays: Int, identityDays: Int) {
        self.spendMonths = spendMonths
        self.auditDays = auditDays
        self.identityDays = identityDays
    }
}
