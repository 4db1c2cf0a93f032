// SPDX-License-Identifier: Apache-2.0

package import GatewayCore
package import GatewayStore
package import Logging
internal import Synchronization

/// The revocations that this replica knows. They are asked for every two seconds, so that one made at any replica counts
/// at all of them within five; while the store is away, what is known goes on counting.
package final class Revocations: Sendable {
    private static let interval = Duration.seconds(2)
    /// Replicas' clocks may differ by so much.
    private static let overlap = 120.0

    private struct State {
        var times: [Revocation.Kind: [String: Int64]] = [:]
        var newest = Timestamp(milliseconds: 0)
    }

    private let store: any RevocationStore
    private let log: Logger
    private let state = Mutex(State())
    /// Whether there is any: the usual answer needs no lock.
    private let hasAny = Atomic(false)
    private let version = Atomic(0)

    package init(store: any RevocationStore, log: Logger) {
        self.store = store
        self.log = log
    }

    /// Changes whenever something that was good may be so no longer.
    package var epoch: Int { self.version.load(ordering: .relaxed) }

    /// Whether what was issued at that time counts no longer.
    ///
    /// - Parameter issuedAt: To the second: what was issued in the second of a revocation is taken as issued before it.
    package func revokes(session: String?, subject: String, groups: [String], issuedAt seconds: Int64) -> Bool {
        guard self.hasAny.load(ordering: .relaxed) else { return false }
        let start = seconds * 1000
        return self.state.withLock { state in
            func isRevoked(_ kind: Revocation.Kind, _ id: String) -> Bool {
                state.times[kind]?[id].map { start <= $0 } ?? false
            }
            if let session, isRevoked(.session, session) { return true }
            return isRevoked(.user, subject) || groups.contains { isRevoked(.group, $0) }
        }
    }

    /// Reads them all; a gateway does not start without.
    package func load() async throws {
        self.take(try await self.store.revocations(since: Timestamp(milliseconds: 0)))
    }

    /// Makes one.
    ///
    /// - Returns: How many sessions were removed with it.
    package func revoke(_ kind: Revocation.Kind, _ id: String, now: Timestamp) async throws -> Int {
        let revocation = Revocation(kind, id, at: now)
        let count = try await self.store.revoke(revocation)
        self.take([revocation])
        return count
    }

    /// Follows what other replicas do, until it is cancelled.
    package func follow() async {
        var isFailing = false
        while !Task.isCancelled {
            try? await Task.sleep(for: Self.interval)
            let since = self.state.withLock { $0.newest }.advanced(bySeconds: -Self.overlap)
            do {
                self.take(try await self.store.revocations(since: since))
                isFailing = false
            } catch {
                if !isFailing, !Task.isCancelled {
                    self.log.warning("revocations cannot be read", metadata: ["reason": "\(error)"])
                }
                isFailing = true
            }
        }
    }

    private func take(_ revocations: [Revocation]) {
        let isNews = self.state.withLock { state in
            var isNews = false
            for revocation in revocations {
                let at = revocation.at.milliseconds
                if state.times[revocation.kind]?[revocation.id] ?? -1 >= at { continue }
                state.times[revocation.kind, default: [:]][revocation.id] = at
                state.newest = max(state.newest, revocation.at)
                isNews = true
            }
            return isNews
        }
        guard isNews else { return }
        self.hasAny.store(true, ordering: .relaxed)
        self.version.add(1, ordering: .relaxed)
    }
}
