// SPDX-License-Identifier: Apache-2.0

package import GatewayCore
package import GatewayProviders
internal import Synchronization

/// A fetched credential and how long it is good.
package struct FetchedCredential: Sendable {
    package let value: ResolvedCredential
    /// `nil` when it does not expire.
    package let expiresAt: Timestamp?
    /// Which link of a chain it came from, for people.
    package let source: String

    package init(_ value: ResolvedCredential, expiresAt: Timestamp?, source: String) {
        self.value = value
        self.expiresAt = expiresAt
        self.source = source
    }
}

/// Why there is no credential. The texts hold no secret.
package struct CredentialFailure: Error, Sendable, CustomStringConvertible {
    package let description: String

    package init(_ description: String) {
        self.description = description
    }
}

/// Keeps one credential fresh: renews it ahead of its end, by one flight at a time; while renewals fail, the credential
/// serves until it truly expires.
package final class RefreshingCredential: UpstreamCredential {
    /// How long before its end a credential is renewed, and at most a fifth of its life.
    private static let margin = 300.0
    /// How long to wait after a failed renewal before the next one, while the credential is still good.
    private static let pause = 10.0

    private struct State {
        var current: FetchedCredential?
        var renewAt: Timestamp?
        var flight: Task<FetchedCredential, any Error>?
    }

    private let fetch: @Sendable () async throws -> FetchedCredential
    private let state = Mutex(State())

    package init(_ fetch: @escaping @Sendable () async throws -> FetchedCredential) {
        self.fetch = fetch
    }

    package func ready(for principal: Principal, now: Timestamp) -> ResolvedCredential? {
        let (value, isDue) = self.state.withLock { state -> (ResolvedCredential?, Bool) in
            guard let current = state.current, Self.isGood(current, now) else { return (nil, false) }
            let isDue = state.flight == nil && (state.renewAt.map { $0 <= now } ?? false)
            return (current.value, isDue)
        }
        if isDue {
            let flight = self.begin()
            Task { _ = try? await flight.value }
        }
        return value
    }

    package func resolve(for principal: Principal) async throws -> ResolvedCredential {
        try await self.fetched().value
    }

    package func source(for principal: Principal) async throws -> String {
        try await self.fetched().source
    }

    private func fetched() async throws -> FetchedCredential {
        let current = self.state.withLock { $0.current }
        if let current, Self.isGood(current, .now) { return current }
        return try await self.begin().value
    }

    package func invalidate(_ credential: ResolvedCredential) {
        self.state.withLock { state in
            if state.current?.value == credential { state.current = nil }
        }
    }

    private static func isGood(_ credential: FetchedCredential, _ now: Timestamp) -> Bool {
        credential.expiresAt.map { $0 > now } ?? true
    }

    private func begin() -> Task<FetchedCredential, any Error> {
        self.state.withLock { state in
            if let flight = state.flight { return flight }
            let flight = Task { try await self.run() }
            state.flight = flight
            return flight
        }
    }

    private func run() async throws -> FetchedCredential {
        do {
            let fetched = try await self.fetch()
            let now = Timestamp.now
            self.state.withLock { state in
                state.flight = nil
                state.current = fetched
                state.renewAt = fetched.expiresAt.map { end in
                    let life = Double(end.milliseconds - now.milliseconds) / 1000
                    return end.advanced(bySeconds: -min(Self.margin, life / 5))
                }
            }
            return fetched
        } catch {
            self.state.withLock { state in
                state.flight = nil
                state.renewAt = Timestamp.now.advanced(bySeconds: Self.pause)
            }
            throw error
        }
    }
}
