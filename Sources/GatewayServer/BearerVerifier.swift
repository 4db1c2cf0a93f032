// SPDX-License-Identifier: Apache-2.0

internal import GatewayCore
internal import GatewayIdentity
internal import GatewayRelay

/// Puts the identity module's tokens before the relay.
struct BearerVerifier: BearerVerifying {
    let tokens: SessionTokens

    func verify(_ token: String, now: Timestamp) -> VerifiedBearer? {
        self.tokens.verify(token, now: now).map { VerifiedBearer(principal: $0.principal, expiresAt: $0.expiresAt) }
    }
}
