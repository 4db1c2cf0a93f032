// SPDX-License-Identifier: Apache-2.0

internal import GatewayCore
internal import GatewayStore

/// The body of `POST /v1/organizations/spend_limits`. All that is wrong with it is told at once.
struct SpendLimitBody: Sendable {
    /// What is asked of a pool; `nil` members keep what is stored.
    struct Pool: Sendable {
        enum Amount: Sendable, Equatable {
            case keep
            case none
            case cents(Int64)
        }

        var amount = Amount.keep
        var paused: Bool?
    }

    var scope = SpendScope.organization
    var amount: Int64?
    var period = SpendPeriod.monthly
    var pool: Pool?
    var reason: String?

    private static let idLimit = 8192
    private static let reasonLimit = 1000

    init(_ bytes: [UInt8]) throws(AdminError) {
        guard !bytes.isEmpty, let json = try? JSONValue(parsing: bytes, maximumDepth: 32) else {
            throw .invalid("the body is not valid JSON")
        }
        guard case .object = json else {
            throw .invalid("the body must be a JSON object and is \(Self.kind(json))")
        }
        var faults: [String] = []
        self.readScope(json["scope"], &faults)
        self.readAmount(json["amount"], &faults)
        self.readPeriod(json["period"], &faults)
        if let currency = json["currency"], currency != "USD" {
            faults.append("currency: must be \"USD\", the only one that there is")
        }
        self.readPool(json["pooled_budget"], &faults)
        self.readReason(json["reason"], &faults)
        if !faults.isEmpty { throw .invalid(faults.joined(separator: "; ")) }
    }

    private static func kind(_ value: JSONValue) -> String {
        switch value {
        case .null: "null"
        case .bool: "a boolean"
        case .number: "a number"
        case .string: "a string"
        case .array: "an array"
        case .object: "an object"
        }
    }

    private mutating func readScope(_ value: JSONValue?, _ faults: inout [String]) {
        guard let value else {
            faults.append("scope: is required")
            return
        }
        guard case .object = value else {
            faults.append("scope: must be an object and is \(Self.kind(value))")
            return
        }
        let type = value["type"]?.string
        let key: String
        switch type {
        case "organization":
            self.scope = .organization
            return
        case "user": key = "user_id"
        case "rbac_group": key = "rbac_group_id"
        default:
            faults.append("scope.type: must be one of 'user', 'rbac_group', 'organization'")
            return
        }
        guard let id = value[key] else {
            faults.append("scope.\(key): is required")
            return
        }
        guard let text = id.string else {
            faults.append("scope.\(key): must be a string and is \(Self.kind(id))")
            return
        }
        if text.isEmpty {
            faults.append("scope.\(key): must have at least 1 character")
        } else if text.utf8.count > Self.idLimit {
            faults.append("scope.\(key): must have at most \(Self.idLimit) bytes")
        } else if text.utf8.contains(0) {
            faults.append("scope.\(key): must not hold U+0000")
        }
        self.scope = key == "user_id" ? .user(text) : .group(text)
    }

    /// Whole cents in up to 18 digits.
    static func cents(_ text: String) -> Int64? {
        guard (1...18).contains(text.utf8.count), text.utf8.allSatisfy({ (0x30...0x39).contains($0) }) else {
            return nil
        }
        return Int64(text)
    }

    private mutating func readAmount(_ value: JSONValue?, _ faults: inout [String]) {
        switch value {
        case nil: faults.append("amount: is required; null is unlimited")
        case .null?: self.amount = nil
        case .string(let text)?:
            self.amount = Self.cents(text)
            if self.amount == nil { faults.append("amount: must be a whole number of cents as text, such as \"5000\"") }
        case let other?: faults.append("amount: must be a string of cents or null and is \(Self.kind(other))")
        }
    }

    private mutating func readPeriod(_ value: JSONValue?, _ faults: inout [String]) {
        guard let value else { return }
        guard let period = value.string.flatMap(SpendPeriod.init(rawValue:)) else {
            faults.append("period: must be one of 'daily', 'weekly', 'monthly'")
            return
        }
        self.period = period
    }

    private mutating func readPool(_ value: JSONValue?, _ faults: inout [String]) {
        guard let value, value != .null else { return }
        guard case .object = value else {
            faults.append("pooled_budget: must be an object and is \(Self.kind(value))")
            return
        }
        var pool = Pool()
        switch value["amount"] {
        case nil: break
        case .null?: pool.amount = .none
        case .string(let text)?:
            if let cents = Self.cents(text) {
                pool.amount = .cents(cents)
            } else {
                faults.append("pooled_budget.amount: must be a whole number of cents as text, such as \"5000\"")
            }
        case let other?:
            faults.append("pooled_budget.amount: must be a string of cents or null and is \(Self.kind(other))")
        }
        switch value["paused"] {
        case nil, .null?: break
        case .bool(let isPaused)?: pool.paused = isPaused
        case let other?: faults.append("pooled_budget.paused: must be true or false and is \(Self.kind(other))")
        }
        if pool.amount == .keep, pool.paused == nil { return }
        self.pool = pool
    }

    private mutating func readReason(_ value: JSONValue?, _ faults: inout [String]) {
        guard let text = value?.string, !text.isEmpty else { return }
        if text.count > Self.reasonLimit {
            faults.append("reason: must have at most \(Self.reasonLimit) characters")
        } else if text.utf8.contains(0) {
            faults.append("reason: must not hold U+0000")
        }
        self.reason = text
    }

    /// The limit as it is to be stored, from the one that is.
    func applied(to stored: SpendLimit?, now: Timestamp) throws(AdminError) -> SpendLimit {
        var limit = SpendLimit(
            id: stored?.id ?? "spl_" + Hexadecimal.encode(RandomToken.bytes(16)), scope: self.scope,
            period: self.period, amount: self.amount, pool: stored?.pool, createdAt: stored?.createdAt ?? now,
            // Two changes in one millisecond must still be told apart.
            updatedAt: stored.map { max(now, Timestamp(milliseconds: $0.updatedAt.milliseconds + 1)) } ?? now)
        if let pool { limit.pool = try self.changed(limit.pool, pool) }
        if limit.pool?.isPaused == false, limit.amount == nil {
            throw .invalid(
                "amount: a pooled budget that is not paused needs amount, each member's own limit, on the same limit; it may equal pooled_budget.amount"
            )
        }
        return limit
    }

    private func changed(_ stored: SpendLimit.Pool?, _ wanted: Pool) throws(AdminError) -> SpendLimit.Pool? {
        let setsAmount = if case .cents = wanted.amount { true } else { false }
        if setsAmount || stored == nil && wanted.amount == .keep && wanted.paused == false {
            guard case .group = self.scope else {
                throw .invalid("pooled_budget: can be set on a group's limit only")
            }
            guard self.period == .monthly else {
                throw .invalid("pooled_budget: is monthly only; set it on the group's monthly limit")
            }
        }
        let isPaused = wanted.paused ?? stored?.isPaused ?? false
        switch wanted.amount {
        case .cents(let amount): return SpendLimit.Pool(amount: amount, isPaused: isPaused)
        case .keep:
            if stored == nil, wanted.paused == false {
                throw .invalid("pooled_budget.amount: is required for a pool that is not paused")
            }
            return stored.map { SpendLimit.Pool(amount: $0.amount, isPaused: isPaused) }
        case .none:
            if stored != nil, !isPaused {
                throw .invalid(
                    "pooled_budget.amount: a pool that is not paused needs an amount; set it, or set pooled_budget.paused to true"
                )
            }
            return nil
        }
    }
}
