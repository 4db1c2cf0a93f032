// SPDX-License-Identifier: Apache-2.0

internal import GatewayCore
internal import GatewayIdentity
internal import GatewayMetering
internal import GatewayRelay
internal import GatewayStore
internal import Logging
internal import NIOHTTP1

/// The admin API: who calls is settled before the path and the body are looked at.
final class AdminRoutes: RouteFamily {
    /// What is served at and below one path.
    enum Subject: Sendable {
        case limits(SpendLimitRoutes)
        case report(ReportRoutes)
        case requests(LimitRequestRoutes)
        case alerts(SpendAlertRoutes)
        case sessions(SessionAdminRoutes)
    }

    /// Who calls, and how much of it all is his to see.
    private enum Visitor {
        case administrator(AdminAccess.Administrator)
        /// A developer, for his own sake.
        case developer(Principal)
    }

    let prefix: String
    private let subject: Subject
    private let access: AdminAccess
    private let audit: any AuditSink
    private let log: Logger

    init(_ subject: Subject, access: AdminAccess, audit: any AuditSink, log: Logger) {
        switch subject {
        case .limits: self.prefix = SpendLimitRoutes.base
        case .report(let report): self.prefix = report.kind.rawValue
        case .requests: self.prefix = LimitRequestRoutes.base
        case .alerts: self.prefix = SpendAlertRoutes.base
        case .sessions: self.prefix = SessionAdminRoutes.base
        }
        self.subject = subject
        self.access = access
        self.audit = audit
        self.log = log
    }

    /// Every family of the admin API.
    static func all(
        settings: AdminSettings, store: any GatewayStore, revocations: Revocations, guardian: SpendGuard,
        sender: AlertSender, audit: any AuditSink, log: Logger,
    ) -> [AdminRoutes] {
        let access = AdminAccess(settings)
        let limits = SpendLimitRoutes(store: store, guardian: guardian, settings: settings, audit: audit)
        let subjects =
            [
                Subject.limits(limits),
                .requests(LimitRequestRoutes(store: store, guardian: guardian, settings: settings, audit: audit)),
                .alerts(SpendAlertRoutes(settings: settings.alerts, sender: sender)),
                .sessions(SessionAdminRoutes(store: store, revocations: revocations, audit: audit)),
            ]
            + ReportRoutes.Kind.allCases.map { Subject.report(ReportRoutes(kind: $0, store: store)) }
        return subjects.map { AdminRoutes($0, access: access, audit: audit, log: log) }
    }

    func refusal(of request: PlainRequest, caller: Caller?) -> PlainResponse? {
        let id = AdminRequestID()
        do throws(AdminError) {
            _ = try self.admit(request, caller: caller)
            return nil
        } catch {
            return self.logged(.admin(error, id), request, id)
        }
    }

    private func admit(_ request: PlainRequest, caller: Caller?) throws(AdminError) -> Visitor {
        let visitor = try self.visitor(request, caller: caller)
        guard let methods = self.methods(of: request.path) else { throw .notFound(self.nothing) }
        guard methods.contains(request.method.rawValue) else { throw .wrongMethod(methods) }
        if case .administrator(let administrator) = visitor, administrator.right == .read, request.method != .GET,
            request.method != .HEAD
        {
            self.deny(.readOnly, request)
            throw .forbidden("requires write:spend_limits")
        }
        return visitor
    }

    private func methods(of path: String) -> [String]? {
        switch self.subject {
        case .limits(let limits): limits.methods(of: path)
        case .report: path == self.prefix ? ["GET", "HEAD"] : nil
        case .requests(let requests): requests.methods(of: path)
        case .alerts(let alerts): alerts.methods(of: path)
        case .sessions(let sessions): sessions.methods(of: path)
        }
    }

    private var nothing: String {
        switch self.subject {
        case .limits: "spend limit not found"
        case .report: "there is no such report"
        case .requests: "there is no such request"
        case .sessions: "there is nothing here; GET \(SessionAdminRoutes.base)"
        case .alerts: "there is nothing here; POST to \(SpendAlertRoutes.base)/test"
        }
    }

    private func visitor(_ request: PlainRequest, caller: Caller?) throws(AdminError) -> Visitor {
        switch self.access.administrator(request, caller: caller) {
        case .success(let found): return .administrator(found)
        case .failure(.bearerRejected):
            // A report of one's own spend, and to ask for more, need no office.
            if let caller, self.isForDevelopers { return .developer(caller.principal) }
            self.deny(.bearerRejected, request)
            throw .unauthenticated
        case .failure(let denial):
            self.deny(denial, request)
            throw denial == .throttled ? .tooManyGuesses : .unauthenticated
        }
    }

    private var isForDevelopers: Bool {
        switch self.subject {
        case .report, .requests: true
        case .limits, .alerts, .sessions: false
        }
    }

    private func deny(_ denial: AdminAccess.Denial, _ request: PlainRequest) {
        self.audit.record(
            AuditEvent(
                "admin.denied",
                [
                    "reason": .string(denial.rawValue), "method": .string(request.method.rawValue),
                    "path": .string(request.path.printableASCII(limit: 256)),
                    "client_ip": .string(request.client.description),
                ]))
    }

    func answer(_ request: PlainRequest, caller: Caller?) async -> PlainResponse {
        let id = AdminRequestID()
        var response: PlainResponse
        do {
            response = try await self.answer(request, try self.admit(request, caller: caller), caller)
            if request.method == .GET || request.method == .HEAD {
                response.headers.add(name: "cache-control", value: "no-store")
            }
        } catch let error as AdminError {
            response = .admin(error, id)
        } catch let error as StoreError {
            response = .admin(self.translate(error, id), id)
        } catch {
            self.log.error("unhandled", metadata: ["request_id": "\(id.text)", "error": "\(error)"])
            response = .admin(AdminError(status: 500, type: "api_error", message: "internal server error"), id)
        }
        return self.logged(response, request, id)
    }

    private func answer(_ request: PlainRequest, _ visitor: Visitor, _ caller: Caller?) async throws -> PlainResponse {
        switch (self.subject, visitor) {
        case (.limits(let limits), .administrator(let administrator)):
            return try await limits.answer(request, administrator)
        case (.limits, .developer), (.alerts, .developer), (.sessions, .developer):
            throw AdminError.unauthenticated
        case (.sessions(let sessions), .administrator(let administrator)):
            return try await sessions.answer(request, administrator)
        case (.alerts(let alerts), .administrator(let administrator)): return try await alerts.answer(administrator)
        case (.requests(let requests), .administrator(let administrator)):
            // Who signs in and administrates can ask for himself as well.
            let isKey = request.headers.contains(name: "x-api-key")
            return try await requests.answer(
                request, .init(administrator: administrator, developer: isKey ? nil : caller?.principal))
        case (.requests(let requests), .developer(let principal)):
            return try await requests.answer(request, .init(administrator: nil, developer: principal))
        case (.report(let report), .administrator):
            return try await report.answer(QueryParameters(request.query), developer: nil)
        case (.report(let report), .developer(let principal)):
            return try await report.answer(QueryParameters(request.query), developer: principal.subject)
        }
    }

    private func translate(_ error: StoreError, _ id: AdminRequestID) -> AdminError {
        // 54000: an id is too long for an index; 22021: a text that is none.
        if case .refused(let state, _) = error, state == "54000" || state == "22021" {
            return .invalid("scope: the id is too long or holds characters that cannot be stored")
        }
        self.log.warning("admin: the store failed", metadata: ["request_id": "\(id.text)", "reason": "\(error)"])
        return .storeAway
    }

    private func logged(_ response: PlainResponse, _ request: PlainRequest, _ id: AdminRequestID) -> PlainResponse {
        var response = response
        response.headers.replaceOrAdd(name: "request-id", value: id.text)
        self.log.info(
            "admin \(request.method.rawValue) \(request.path.printableASCII(limit: 256)) -> \(response.status.code)",
            metadata: ["request_id": "\(id.text)"])
        return response
    }
}
