// SPDX-License-Identifier: Apache-2.0

package import GatewayCore
package import GatewayStore
package import Logging

/// Issues bearers and refresh tokens, and refreshes them through the identity provider.
///
/// A refresh token is opaque and the gateway's own: sealed under the session secret, it holds the session's id and
/// generation and the provider's refresh token. Several processes of one developer use the same one at the same
/// instant, so within 30 s of its use a replaced token is answered again with what replaced it; the provider hears of
/// one refresh only, whichever replicas the requests reach.
package actor Sessions {
    package enum RefreshOutcome: Sendable {
        case refreshed(TokenAnswer, Principal?)
        /// The session is over; the client must sign in again.
        case invalidGrant(reason: String, step: String)
        /// Nobody knows; the client should try again.
        case unavailable(reason: String, step: String)
    }

    /// How long a replaced refresh token goes on being answered.
    package static let repeatGrace = 30.0
    /// How long one replica may take for a refresh before another may try: longer than the provider's requests take.
    private static let lease = 12.0
    private static let leasePoll = Duration.milliseconds(60)
    private static let leaseWait = Duration.seconds(9)

    private let tokens: SessionTokens
    private let sealer: Sealer
    private let store: any SessionStore
    private let provider: OIDCProvider
    private let revocations: Revocations
    private let log: Logger
    /// Refreshes under way in this process, by the refresh token's digest.
    private var flights: [String: Task<RefreshOutcome, Never>] = [:]

    package init(
        tokens: SessionTokens, sealer: Sealer, store: any SessionStore, provider: OIDCProvider,
        revocations: Revocations, log: Logger,
    ) {
        self.revocations = revocations
        self.tokens = tokens
        self.sealer = sealer
        self.store = store
        self.provider = provider
        self.log = log
    }

    /// The first tokens of a session.
    package nonisolated func issue(_ identity: SignedInIdentity, now: Timestamp) -> TokenAnswer {
        self.answer(
            identity.principal, sessionID: identity.sessionID, generation: 0, providerToken: identity.refreshToken,
            now: now)
    }

    private nonisolated func answer(
        _ principal: Principal, sessionID: String, generation: Int, providerToken: Secret?, now: Timestamp,
    ) -> TokenAnswer {
        let refresh = providerToken.map { token in
            self.sealer.seal(
                [
                    "session": .string(sessionID), "generation": .integer(generation),
                    "sub": .string(principal.subject), "token": .string(token.reveal()),
                    "iat": .integer(now.seconds),
                ], for: .refreshToken)
        }
        return TokenAnswer(
            accessToken: self.tokens.mint(for: principal, session: sessionID, now: now), refreshToken: refresh,
            expiresAt: now.seconds + self.tokens.lifetimeSeconds)
    }

    /// A refresh token, opened.
    private struct Opened: Sendable {
        let sessionID: String
        let generation: Int
        let subject: String
        let providerToken: Secret
        /// In seconds.
        let issuedAt: Int64
    }

    private nonisolated func open(_ token: String) -> Opened? {
        guard let json = self.sealer.open(token, for: .refreshToken), let session = json["session"]?.string,
            let generation = json["generation"]?.integer, let subject = json["sub"]?.string,
            let providerToken = json["token"]?.string
        else { return nil }
        return Opened(
            sessionID: session, generation: generation, subject: subject, providerToken: Secret(providerToken),
            issuedAt: json["iat"]?.integer.map { Int64($0) } ?? 0)
    }

    /// The session and the subject that a refresh token of ours is for.
    package nonisolated func session(ofRefreshToken token: String) -> (id: String, subject: String)? {
        self.open(token).map { ($0.sessionID, $0.subject) }
    }

    package func refresh(_ token: String) async -> RefreshOutcome {
        guard let opened = self.open(token) else {
            return .invalidGrant(reason: "the refresh token is not one of this gateway's", step: "token")
        }
        // Asked of memory, so that it counts while the store is away too.
        guard
            !self.revocations.revokes(
                session: opened.sessionID, subject: opened.subject, groups: [], issuedAt: opened.issuedAt)
        else { return .invalidGrant(reason: "the session has been revoked", step: "session") }
        let key = Digest.hexadecimal(token)
        if let flight = self.flights[key] { return await flight.value }
        let flight = Task { await self.refresh(opened) }
        self.flights[key] = flight
        let outcome = await flight.value
        self.flights[key] = nil
        return outcome
    }

    private func refresh(_ opened: Opened) async -> RefreshOutcome {
        var lease: SessionLease?
        do {
            switch try await self.acquire(opened) {
            case .settled(let outcome): return outcome
            case .leased(let taken): lease = taken
            }
        } catch {
            // Signed-in developers keep working through a store outage; only the guarantee about repeats is lost.
            self.log.warning("refreshing without the store", metadata: ["reason": "\(error)"])
        }
        return await self.refreshThroughProvider(opened, lease)
    }

    private enum Acquired {
        /// Another request has already brought the answer about.
        case settled(RefreshOutcome)
        case leased(SessionLease)
    }

    /// Takes the session's lease, or waits for the answer of who has it.
    private func acquire(_ opened: Opened) async throws -> Acquired {
        let deadline = ContinuousClock.now + Self.leaseWait
        while true {
            let now = Timestamp.now
            let until = now.advanced(bySeconds: Self.lease)
            if let lease = try await self.store.leaseSession(
                id: opened.sessionID, generation: opened.generation, until: until, now: now)
            {
                return .leased(lease)
            }
            if let outcome = try await self.settled(opened) { return .settled(outcome) }
            guard ContinuousClock.now < deadline else {
                return .settled(
                    .unavailable(reason: "another refresh of this session is still under way", step: "session"))
            }
            try? await Task.sleep(for: Self.leasePoll)
        }
    }

    /// What the store already knows about the token; `nil` while the session still is at the token's generation.
    private func settled(_ opened: Opened) async throws -> RefreshOutcome? {
        guard let row = try await self.store.session(id: opened.sessionID) else {
            return .invalidGrant(reason: "the session has ended", step: "session")
        }
        return row.generation > opened.generation ? self.repeated(row, opened, .now) : nil
    }

    private func repeated(_ row: SessionRow, _ opened: Opened, _ now: Timestamp) -> RefreshOutcome {
        let age = Double(now.milliseconds - row.refreshedAt.milliseconds) / 1000
        guard row.generation == opened.generation + 1, age <= Self.repeatGrace, let sealed = row.answer,
            let answer = self.sealer.open(
                sealed, for: .refreshAnswer, at: Self.place(opened.sessionID, opened.generation + 1)
            ).flatMap(TokenAnswer.init)
        else {
            return .invalidGrant(reason: "the refresh token was replaced more than 30 s ago", step: "session")
        }
        return .refreshed(answer, nil)
    }

    private func refreshThroughProvider(_ opened: Opened, _ lease: SessionLease?) async -> RefreshOutcome {
        let grant: OIDCProvider.Grant
        do {
            grant = try await self.provider.refresh(opened.providerToken, subject: opened.subject)
        } catch let failure as SignInFailure {
            switch failure {
            case .unavailable(let reason):
                return await self.released(lease, .unavailable(reason: reason, step: "token_endpoint"))
            case .invalidGrant(let reason):
                return await self.ended(opened, lease, .invalidGrant(reason: reason, step: "token_endpoint"))
            case .rejected(let reason):
                return await self.ended(opened, lease, .invalidGrant(reason: reason, step: "claims"))
            }
        } catch {
            return await self.released(lease, .unavailable(reason: "\(error)", step: "token_endpoint"))
        }
        let now = Timestamp.now
        // Which groups the developer is in is known only now.
        if self.revocations.revokes(
            session: nil, subject: opened.subject, groups: grant.principal.groups ?? [], issuedAt: opened.issuedAt)
        {
            if let lease { _ = try? await self.store.removeSession(lease) }
            return .invalidGrant(reason: "the session has been revoked", step: "session")
        }
        let answer = self.answer(
            grant.principal, sessionID: opened.sessionID, generation: opened.generation + 1,
            providerToken: grant.refreshToken, now: now)
        do {
            let isFirst = try await self.store.completeRefresh(
                id: opened.sessionID, generation: opened.generation + 1, email: grant.principal.email,
                answer: self.sealer.seal(
                    answer.json, for: .refreshAnswer, at: Self.place(opened.sessionID, opened.generation + 1)),
                now: now)
            // Another replica was faster after this one's lease had lapsed, or the session was ended meanwhile.
            if !isFirst, let outcome = try await self.settled(opened) { return outcome }
        } catch {
            self.log.warning("a refresh could not be recorded in the store", metadata: ["reason": "\(error)"])
        }
        return .refreshed(answer, grant.principal)
    }

    /// Where a refresh's answer is kept: it is nobody else's.
    private static func place(_ session: String, _ generation: Int) -> String { "\(session) \(generation)" }

    private func released(_ lease: SessionLease?, _ outcome: RefreshOutcome) async -> RefreshOutcome {
        if let lease { try? await self.store.releaseSession(lease) }
        return outcome
    }

    /// The provider refuses the token. That ends the session only where this request alone was refreshing it: otherwise
    /// the provider may have refused what another replica had just used up.
    private func ended(_ opened: Opened, _ lease: SessionLease?, _ outcome: RefreshOutcome) async -> RefreshOutcome {
        do {
            if let lease, try await self.store.removeSession(lease) { return outcome }
            return try await self.settled(opened) ?? outcome
        } catch {
            return .unavailable(
                reason: "the provider refuses the token and the store is not answering", step: "session")
        }
    }
}
