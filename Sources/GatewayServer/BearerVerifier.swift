// SPDX-License-Identifier: Apache-2.0

internal import GatewayCore
internal import GatewayIdentity
internal import GatewayRelay

/// Puts the identity module's tokens before the relay.
struct BearerVerifier: BearerVerifying {
    let tokens: SessionTokens
    let revocations: Revocations

    var epoch: Int { self.revocations.epoch }

    func verify(_ token: String, now: Timestamp) -> VerifiedBearer? {
        guard let bearer = self.tokens.verify(token, now: now),
            !self.revocations.revokes(
                session: bearer.sessionID, subject: bearer.principal.subject, groups: bearer.principal.groups ?? [],
                issuedAt: bearer.issuedAt)
        else { return nil }
        return VerifiedBearer(principal: bearer.principal, expiresAt: bearer.expiresAt)
    }
}
