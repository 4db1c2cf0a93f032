// SPDX-License-Identifier: Apache-2.0

internal import GatewayCore
internal import GatewayRelay
internal import GatewayStore
internal import HTTPTypes
internal import Hummingbird
internal import Logging
internal import NIOCore
internal import NIOHTTP1
internal import Synchronization

/// Dispatches what is not on the hot path: exact paths, their methods, and bearers where they are needed.
final class GatewayResponder: PlainResponder {
    /// What anybody may make the server hold: a form is far smaller.
    private static let openBodyLimit = 2 << 20

    private let entries: [String: RouteTable.Entry]
    private let responder: any HTTPResponder<RouteContext>
    private let families: [any RouteFamily]
    private let verifier: any BearerVerifying
    private let configuration: RelayConfiguration
    private let audit: any AuditSink
    private let log: Logger

    init(
        routes: RouteTable, verifier: any BearerVerifying, configuration: RelayConfiguration,
        audit: any AuditSink, log: Logger,
    ) {
        (self.entries, self.responder) = routes.build()
        self.families = routes.families
        self.verifier = verifier
        self.configuration = configuration
        self.audit = audit
        self.log = log
    }

    func immediateAnswer(to request: PlainRequest) -> PlainResponse? {
        if let family = self.families.first(where: { $0.has(request.path) }) {
            return family.refusal(of: request, caller: self.caller(of: request))
        }
        let entry = self.entries[request.path]
        if entry?.access != .open {
            // Strangers learn neither which paths exist nor what they take.
            if case .failure(let problem) = self.bearer(of: request) {
                self.audit.record(
                    .denied(problem.problem, requestID: request.requestID, path: request.path, client: request.client))
                return .error(.invalidToken, requestID: request.requestID)
            }
        }
        guard let entry else { return .text(.notFound, "not found") }
        guard entry.methods.contains(request.method.rawValue) else {
            var response = PlainResponse.text(.methodNotAllowed, "method not allowed")
            response.headers.add(name: "allow", value: entry.methods.joined(separator: ", "))
            return response
        }
        let length = request.headers.first(name: "content-length").flatMap { Int($0) } ?? 0
        if entry.access == .open, length > Self.openBodyLimit {
            let message = "a body of this endpoint has at most \(Self.openBodyLimit) bytes"
            return .error(
                ErrorEnvelope(status: 413, type: "request_too_large", message: message), requestID: request.requestID)
        }
        // Liveness asks nothing of anything, and is answered on the spot.
        return request.path == HealthRoutes.livenessPath ? HealthRoutes.alive : nil
    }

    func route(of path: String) -> String {
        if self.entries[path] != nil { return path }
        return self.families.first { $0.has(path) }.map { $0.prefix + "/*" } ?? "other"
    }

    private struct Refused: Error {
        let problem: BearerProblem
    }

    private func bearer(of request: PlainRequest) -> Result<VerifiedBearer, Refused> {
        let values = request.headers["authorization"]
        guard let value = values.first else { return .failure(Refused(problem: .missing)) }
        guard values.count == 1, value.hasPrefix("Bearer "),
            let bearer = self.verifier.verify(String(value.dropFirst("Bearer ".count)), now: .now)
        else { return .failure(Refused(problem: .invalid)) }
        return .success(bearer)
    }

    private func caller(of request: PlainRequest) -> Caller? {
        (try? self.bearer(of: request).get()).map(self.configuration.caller)
    }

    func respond(to request: PlainRequest) async -> PlainResponse {
        let caller = self.caller(of: request)
        if let family = self.families.first(where: { $0.has(request.path) }) {
            return await family.answer(request, caller: caller)
        }
        // A HEAD is a GET whose body stays behind (RFC 9110 §9.3.2); the connection leaves it out.
        let method: HTTPRequest.Method = request.method == .HEAD ? .get : .init(request.method.rawValue) ?? .get
        let slot = RouteContext.AnswerSlot()
        let context = RouteContext(
            source: RouteContext.Source(logger: self.log, request: request, caller: caller, answer: slot))
        let head = HTTPRequest(method: method, scheme: nil, authority: nil, path: request.path)
        do {
            _ = try await self.responder.respond(
                to: Request(head: head, body: RequestBody(buffer: ByteBuffer())), context: context)
        } catch {
            self.log.error("unhandled", metadata: ["request_id": "\(request.requestID)", "error": "\(error)"])
            return .error(.internalError, requestID: request.requestID)
        }
        return slot.value.withLock { $0 } ?? .text(.notFound, "not found")
    }
}
