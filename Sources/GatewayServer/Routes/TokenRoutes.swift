// SPDX-License-Identifier: Apache-2.0

internal import GatewayCore
internal import GatewayIdentity
internal import GatewayRelay
internal import GatewayStore
internal import Logging
internal import NIOCore
internal import NIOHTTP1

/// The token endpoint: device polls (RFC 8628 §3.4) and refreshes (RFC 6749 §6).
struct TokenRoutes: Sendable {
    let settings: GatewaySettings
    let grants: DeviceGrants
    let sessions: Sessions
    let sealer: Sealer
    let audit: any AuditSink
    let log: Logger

    private static let deviceGrant = "urn:ietf:params:oauth:grant-type:device_code"

    func mount(on routes: RouteTable) {
        routes.post("/oauth/token") { context in
            guard context.isForm || context.request.body.readableBytes == 0 else {
                return .oauthError(
                    .badRequest, "invalid_request", "Send the fields as application/x-www-form-urlencoded.")
            }
            let form = context.form
            switch form["grant_type"] {
            case Self.deviceGrant?: return try await self.poll(form["device_code"], context)
            case "refresh_token"?: return await self.refresh(form["refresh_token"], context)
            default: return .oauthError(.badRequest, "unsupported_grant_type")
            }
        }
    }

    private func poll(_ code: String?, _ context: RouteContext) async throws -> PlainResponse {
        guard let code, !code.isEmpty else { return .oauthError(.badRequest, "invalid_request") }
        let answer: DeviceGrant.PollAnswer?
        do {
            answer = try await self.grants.poll(deviceCode: code, now: .now)
        } catch let error as StoreError {
            // Any other answer than these two ends the sign-in for good in the client, so an outage is sat out.
            self.log.warning(
                "a poll could not reach the store",
                metadata: ["request_id": "\(context.requestID)", "reason": "\(error)"])
            return .oauthError(.badRequest, "authorization_pending")
        }
        switch answer {
        case nil: return .oauthError(.badRequest, "expired_token")
        case .pending?: return .oauthError(.badRequest, "authorization_pending")
        case .slowDown?: return .oauthError(.tooManyRequests, "slow_down")
        case .denied?: return .oauthError(.badRequest, "access_denied")
        case .approved(let sealed)?:
            let place = DeviceGrants.key(deviceCode: code)
            guard let json = self.sealer.open(sealed, for: .grant, at: place), let identity = SignedInIdentity(json)
            else {
                self.log.error(
                    "an approved sign-in could not be opened; do all replicas have the same session.jwt_secret?",
                    metadata: ["request_id": "\(context.requestID)"])
                return .oauthError(.badRequest, "expired_token")
            }
            let now = Timestamp.now
            return .oauth(.ok, self.sessions.issue(identity, now: now).body(now: now))
        }
    }

    private func refresh(_ token: String?, _ context: RouteContext) async -> PlainResponse {
        guard let token, !token.isEmpty else { return .oauthError(.badRequest, "invalid_request") }
        switch await self.sessions.refresh(token) {
        case .refreshed(let answer, let principal):
            if let principal {
                self.audit.record(
                    AuditEvent(
                        "session.refresh",
                        [
                            "request_id": context.auditID, "result": "success", "sub": .string(principal.subject),
                            "email": principal.email.map(JSONValue.string), "client_ip": context.clientIP,
                            "ttl_hours": .number(self.settings.session.lifetimeHours),
                        ]))
            }
            return .oauth(.ok, answer.body(now: .now))
        case .invalidGrant(let reason, let step):
            self.recordFailure(context, reason, step, answer: "invalid_grant")
            return .oauthError(.unauthorized, "invalid_grant")
        case .unavailable(let reason, let step):
            self.recordFailure(context, reason, step, answer: "temporarily_unavailable")
            return .oauthError(.serviceUnavailable, "temporarily_unavailable")
        }
    }

    private func recordFailure(_ context: RouteContext, _ reason: String, _ step: String, answer: String) {
        self.log.warning(
            "refresh failed",
            metadata: [
                "request_id": "\(context.requestID)", "reason": "\(reason)", "step": "\(step)", "answer": "\(answer)",
            ])
        self.audit.record(
            AuditEvent(
                "session.refresh",
                [
                    "request_id": context.auditID, "result": "fail", "client_ip": context.clientIP,
                    "err": .string(reason), "step": .string(step), "answer": .string(answer),
                ]))
    }
}
