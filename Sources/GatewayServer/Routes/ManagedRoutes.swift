// SPDX-License-Identifier: Apache-2.0

internal import GatewayCore
internal import GatewayPolicy
internal import GatewayRelay
internal import Logging
internal import NIOCore
internal import NIOHTTP1

/// `GET /managed/settings`: gates every start of every client, and so depends on nothing but the bearer and memory.
struct ManagedRoutes: Sendable {
    let audit: any AuditSink
    let log: Logger

    func mount(on routes: RouteTable) {
        routes.get("/managed/settings", .bearer) { context in
            guard let caller = context.caller else { return .error(.invalidToken, requestID: context.requestID) }
            return self.settings(caller, context)
        }
    }

    private func settings(_ caller: Caller, _ context: RouteContext) -> PlainResponse {
        let common: HTTPHeaders = ["vary": "User-Agent", "x-cc-gateway-version": GatewayVersion.contract]
        func missing(_ text: String) -> PlainResponse {
            var response = PlainResponse.text(.notFound, text)
            response.headers.add(contentsOf: common)
            response.headers.add(name: "cache-control", value: "no-store")
            response.headers.add(name: "pragma", value: "no-cache")
            return response
        }
        let policy: EffectivePolicy
        switch caller.outcome {
        case .policy(let found): policy = found
        case .notConfigured: return missing("not configured")
        case .unmatched:
            self.log.warning(
                "no managed policy matched",
                metadata: [
                    "request_id": "\(context.requestID)", "sub": "\(caller.principal.subject)",
                    "groups": "\((caller.principal.groups ?? []).joined(separator: ","))",
                ])
            return missing("no policy matched")
        }
        let userAgent = context.request.headers.first(name: "user-agent")
        if DesktopClient.isDesktop(userAgent: userAgent), !policy.reachesDesktop {
            return missing("not served to Claude Desktop sessions")
        }
        let condition = context.request.headers["if-none-match"].joined(separator: ", ").trimmingSpaces
        if condition == "*", policy.isRequired {
            // To the client these two headers together say: there are settings, and they must not be missing.
            var headers = common
            headers.add(name: "cache-control", value: "no-store")
            return PlainResponse(status: .notModified, headers: headers, body: .bytes(ByteBuffer()))
        }
        var headers = common
        headers.add(name: "etag", value: policy.entityTag)
        if EntityTag.isListed(policy.entityTag, in: condition) {
            return PlainResponse(status: .notModified, headers: headers, body: .bytes(ByteBuffer()))
        }
        self.audit.record(
            AuditEvent(
                "managed.serve",
                [
                    "request_id": context.auditID, "sub": .string(caller.principal.subject),
                    "email": caller.principal.email.map(JSONValue.string),
                    "policy_index": policy.index.map { .integer($0) } ?? .null, "checksum": .string(policy.checksum),
                ]))
        headers.add(name: "content-type", value: "application/json;charset=utf-8")
        return PlainResponse(status: .ok, headers: headers, body: .bytes(ByteBuffer(bytes: policy.body)))
    }
}
