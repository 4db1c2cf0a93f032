// SPDX-License-Identifier: Apache-2.0

internal import GatewayCore
internal import GatewayMetering
internal import GatewayRelay
internal import GatewayStore
internal import NIOCore
internal import NIOHTTP1

/// `/v1/organizations/spend_limit_increase_requests`: developers ask for a higher limit, administrators decide.
struct LimitRequestRoutes: Sendable {
    static let base = "/v1/organizations/spend_limit_increase_requests"
    private static let maximumPending = 5
    private static let maximumReason = 1000

    let store: any SpendStore
    let guardian: SpendGuard
    let settings: AdminSettings
    let audit: any AuditSink

    /// Who calls: an administrator, a developer, or one who is both.
    struct Visitor: Sendable {
        /// Sees everybody's requests; others see their own.
        let administrator: AdminAccess.Administrator?
        /// Signed in with an account, and no key.
        let developer: Principal?
    }

    func methods(of path: String) -> [String]? {
        let parts = Self.parts(path)
        switch parts.count {
        case 0: return ["GET", "HEAD", "POST"]
        case 1: return ["GET", "HEAD", "DELETE"]
        case 2 where parts[1] == "approve" || parts[1] == "deny": return ["POST"]
        default: return nil
        }
    }

    private static func parts(_ path: String) -> [String] {
        path.dropFirst(self.base.count).split(separator: "/").map(String.init)
    }

    func answer(_ request: PlainRequest, _ visitor: Visitor) async throws -> PlainResponse {
        let parts = Self.parts(request.path)
        let body = Array(request.body.readableBytesView)
        switch (request.method, parts.count) {
        case (.POST, 0): return try await self.ask(body, visitor)
        case (.POST, 2): return try await self.decide(parts[0], isApproval: parts[1] == "approve", body, visitor)
        case (.DELETE, _): return try await self.withdraw(parts[0], visitor)
        case (_, 0): return try await self.list(QueryParameters(request.query), visitor)
        default: return .json(.ok, try await self.json(self.find(parts[0], visitor)))
        }
    }

    // MARK: Asking

    private func ask(_ bytes: [UInt8], _ visitor: Visitor) async throws -> PlainResponse {
        guard let developer = visitor.developer else {
            throw AdminError.invalid("a key belongs to nobody: ask as the developer, with the bearer of a sign-in")
        }
        let body = try Fields(bytes)
        let amount = try body.cents("amount")
        guard let amount else {
            throw AdminError.invalid("amount: is required: the limit wished for, in cents as text")
        }
        let period = try body.period()
        guard let reason = try body.text("reason", maximum: Self.maximumReason) else {
            throw AdminError.invalid("reason: is required, so that somebody can decide")
        }
        let now = Timestamp.now
        let caller = SpendCaller(developer)
        let state = try await self.store.spendState(
            principals: [caller.principal], groups: caller.groups, now: now)
        let cap = state.caps(of: caller, self.settings.groupLimitMode, at: now).first { $0.period == period }
        guard let present = cap?.amount else {
            throw AdminError.invalid("period: there is no \(period.rawValue) limit on you that could be raised")
        }
        guard amount > present else {
            throw AdminError.invalid("amount: must be more than the present limit of \(present) cents")
        }
        let request = LimitIncreaseRequest(
            id: "slr_" + Hexadecimal.encode(RandomToken.bytes(12)), principal: caller.principal, period: period,
            requested: amount, present: present, reason: reason, createdAt: now)
        guard try await self.store.insertRequest(request, maximumPending: Self.maximumPending) else {
            throw AdminError.invalid(
                "you have \(Self.maximumPending) requests that wait for an answer; withdraw one, or wait")
        }
        self.audit.record(
            AuditEvent(
                "spend.request",
                [
                    "sub": .string(caller.principal), "target": .string(request.id),
                    "period": .string(period.rawValue), "amount": .string(String(amount)),
                ]))
        return .json(.ok, try await self.json(request))
    }

    private func withdraw(_ id: String, _ visitor: Visitor) async throws -> PlainResponse {
        var request = try await self.find(id, visitor)
        guard let developer = visitor.developer, developer.subject == request.principal else {
            throw AdminError.forbidden("only the developer who asked can withdraw; deny it instead")
        }
        request.status = .withdrawn
        request.decidedAt = .now
        request.decidedBy = "oidc:\(developer.subject)"
        return try await self.end(request, actor: "oidc:\(developer.subject)")
    }

    // MARK: Deciding

    private func decide(_ id: String, isApproval: Bool, _ bytes: [UInt8], _ visitor: Visitor) async throws
        -> PlainResponse
    {
        guard let administrator = visitor.administrator else {
            throw AdminError.forbidden("only administrators decide: ask for a group in admin.admin_groups")
        }
        let body = try Fields(bytes.isEmpty ? Array("{}".utf8) : bytes)
        var request = try await self.find(id, visitor)
        let now = Timestamp.now
        request.decisionReason = try body.text("reason", maximum: Self.maximumReason)
        request.decidedAt = now
        request.decidedBy = administrator.actor
        guard isApproval else {
            request.status = .denied
            return try await self.end(request, actor: administrator.actor)
        }
        request.status = .approved
        let granted = try body.cents("amount") ?? request.requested
        request.granted = granted
        let isPermanent = try body.flag("permanent")
        let end = try body.time("expires_at")
        guard !isPermanent || end == nil else {
            throw AdminError.invalid("expires_at: has no meaning along with permanent; send one of them")
        }
        if let end, end <= now { throw AdminError.invalid("expires_at: must be in the future") }
        if !isPermanent { request.expiresAt = end ?? request.period.reset(after: now) }
        let answer = try await self.end(request, actor: administrator.actor)
        if isPermanent {
            let scope = SpendScope.user(request.principal)
            let period = request.period
            _ = try await self.store.upsertLimit(
                scope, period, actor: administrator.actor, reason: "request \(request.id)", now: now
            ) { stored in
                var limit =
                    stored
                    ?? SpendLimit(
                        id: "spl_" + Hexadecimal.encode(RandomToken.bytes(16)), scope: scope, period: period,
                        amount: granted, createdAt: now, updatedAt: now)
                limit.amount = granted
                limit.updatedAt = max(now, limit.updatedAt)
                return limit
            }
        }
        self.guardian.forget()
        return answer
    }

    private func end(_ request: LimitIncreaseRequest, actor: String) async throws -> PlainResponse {
        guard let after = try await self.store.decideRequest(request, actor: actor) else {
            throw AdminError(
                status: 409, type: "invalid_request_error", message: "the request is not pending any more")
        }
        self.audit.record(
            AuditEvent(
                "spend.request.\(after.status.rawValue)",
                [
                    "actor": .string(actor), "target": .string(after.id), "sub": .string(after.principal),
                    "period": .string(after.period.rawValue),
                    "amount": after.granted.map { .string(String($0)) },
                    "expires_at": after.expiresAt.map { .string($0.description) },
                ]))
        return .json(.ok, try await self.json(after))
    }

    // MARK: Reading

    private func find(_ id: String, _ visitor: Visitor) async throws -> LimitIncreaseRequest {
        guard !id.utf8.contains(0), let request = try await self.store.request(id: id),
            visitor.administrator != nil || request.principal == visitor.developer?.subject
        else { throw AdminError.notFound("there is no such request") }
        return request
    }

    private func list(_ parameters: QueryParameters, _ visitor: Visitor) async throws -> PlainResponse {
        var query = LimitRequestQuery()
        query.limit = try parameters.limit(default: 20)
        let names = LimitIncreaseRequest.Status.allCases.map(\.rawValue) + ["expired"]
        let status = try parameters.choice("status", names)
        query.status = status.flatMap { $0 == "expired" ? .approved : .init(rawValue: $0) }
        query.afterID = parameters["after_id"]
        if visitor.administrator == nil { query.principal = visitor.developer?.subject ?? "" }
        guard query.afterID?.utf8.contains(0) != true, let page = try await self.store.requests(query) else {
            throw AdminError.invalid("after_id: no request with this id")
        }
        let shown = page.requests.filter { status == nil || Self.status($0) == status }
        let identities = try await self.store.identities(Array(Set(shown.map(\.principal))))
        return .json(
            .ok,
            [
                "data": .array(shown.map { Self.json($0, identities[$0.principal]) }),
                "has_more": .bool(page.hasMore), "first_id": (page.requests.first?.id).jsonOrNull,
                "last_id": (page.requests.last?.id).jsonOrNull,
            ])
    }

    private static func status(_ request: LimitIncreaseRequest) -> String {
        if request.status == .approved, let end = request.expiresAt, end <= .now { return "expired" }
        return request.status.rawValue
    }

    private func json(_ request: LimitIncreaseRequest) async throws -> JSONValue {
        Self.json(request, try await self.store.identities([request.principal])[request.principal])
    }

    private static func json(_ request: LimitIncreaseRequest, _ identity: PrincipalIdentity?) -> JSONValue {
        func amount(_ cents: Int64?) -> JSONValue { cents.map { .string(String($0)) } ?? .null }
        return [
            "type": "spend_limit_increase_request", "id": .string(request.id),
            "created_at": .string(request.createdAt.description), "status": .string(self.status(request)),
            "user_id": .string(request.principal), "email": (identity?.email).jsonOrNull,
            "period": .string(request.period.rawValue), "current_amount": amount(request.present),
            "requested_amount": amount(request.requested), "granted_amount": amount(request.granted),
            "currency": "USD", "reason": .string(request.reason),
            "decided_at": (request.decidedAt?.description).jsonOrNull, "decided_by": request.decidedBy.jsonOrNull,
            "decision_reason": request.decisionReason.jsonOrNull,
            "expires_at": (request.expiresAt?.description).jsonOrNull,
        ]
    }

    /// The members of a body.
    private struct Fields {
        private let json: JSONValue

        init(_ bytes: [UInt8]) throws(AdminError) {
            guard let json = try? JSONValue(parsing: bytes, maximumDepth: 32), case .object = json else {
                throw .invalid("the body must be a JSON object")
            }
            self.json = json
        }

        private func value(_ name: String) -> JSONValue? {
            self.json[name].flatMap { $0 == .null ? nil : $0 }
        }

        func cents(_ name: String) throws(AdminError) -> Int64? {
            guard let value = self.value(name) else { return nil }
            guard let text = value.string, let cents = SpendLimitBody.cents(text) else {
                throw .invalid("\(name): must be a whole number of cents as text, such as \"5000\"")
            }
            return cents
        }

        func period() throws(AdminError) -> SpendPeriod {
            guard let value = self.value("period") else { return .monthly }
            guard let period = value.string.flatMap(SpendPeriod.init(rawValue:)) else {
                throw .invalid("period: must be one of 'daily', 'weekly', 'monthly'")
            }
            return period
        }

        func text(_ name: String, maximum: Int) throws(AdminError) -> String? {
            guard let value = self.value(name) else { return nil }
            guard let text = value.string, text.count <= maximum, !text.utf8.contains(0) else {
                throw .invalid("\(name): must be a text of at most \(maximum) characters without U+0000")
            }
            return text.isEmpty ? nil : text
        }

        func flag(_ name: String) throws(AdminError) -> Bool {
            guard let value = self.value(name) else { return false }
            guard case .bool(let flag) = value else { throw .invalid("\(name): must be true or false") }
            return flag
        }

        func time(_ name: String) throws(AdminError) -> Timestamp? {
            guard let value = self.value(name) else { return nil }
            guard let time = value.string.flatMap({ Timestamp(rfc3339: $0) }) else {
                throw .invalid("\(name): must be a time of RFC 3339, such as 2026-12-01T00:00:00Z")
            }
            return time
        }
    }
}
