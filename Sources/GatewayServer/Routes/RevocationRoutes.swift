// SPDX-License-Identifier: Apache-2.0

internal import GatewayCore
internal import GatewayIdentity
internal import GatewayRelay
internal import GatewayStore
internal import NIOHTTP1

/// Token revocation (RFC 7009): what a client sends when its developer signs out. The session ends with any of its
/// tokens, so that a bearer without its refresh token does not live on.
struct RevocationRoutes: Sendable {
    static let path = "/oauth/revoke"

    let tokens: SessionTokens
    let sessions: Sessions
    let revocations: Revocations
    let audit: any AuditSink

    func mount(on routes: RouteTable) {
        routes.post(Self.path) { context in
            guard context.isForm, let token = context.form["token"], !token.isEmpty else {
                return .oauthError(.badRequest, "invalid_request", "Send token as application/x-www-form-urlencoded.")
            }
            // A token that is not ours, or no longer good, is as revoked as it can be (§2.2).
            guard let session = self.session(of: token) else { return .oauth(.ok, [:]) }
            do {
                _ = try await self.revocations.revoke(.session, session.id, now: .now)
            } catch is StoreError {
                return .oauthError(.serviceUnavailable, "temporarily_unavailable")
            }
            self.audit.record(
                AuditEvent(
                    "session.revoke",
                    [
                        "request_id": context.auditID, "type": "session", "id": .string(session.id),
                        "sub": .string(session.subject), "by": "developer", "client_ip": context.clientIP,
                    ]))
            return .oauth(.ok, [:])
        }
    }

    private func session(of token: String) -> (id: String, subject: String)? {
        if let bearer = self.tokens.verify(token, now: .now) {
            return bearer.sessionID.map { ($0, bearer.principal.subject) }
        }
        return self.sessions.session(ofRefreshToken: token)
    }
}
