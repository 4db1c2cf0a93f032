// SPDX-License-Identifier: Apache-2.0

package import GatewayCore

/// Everything that replicas share. The process itself keeps no truth.
package protocol GatewayStore: KeyValueStore, SessionStore, RevocationStore, RateStore, SpendStore {
    /// Brings the schema up to this build's version. Safe to run from several replicas at once.
    func migrate(log: @escaping @Sendable (String) -> Void) async throws
    /// Asks the store for a sign of life, within a bound of a few seconds.
    func ping() async throws
    /// Removes what has expired before `now`.
    func sweep(now: Timestamp) async throws
    func close() async
    /// How busy it is; `nil` where there is nothing to wait for.
    var load: StoreLoad? { get }
}

extension GatewayStore {
    package var load: StoreLoad? { nil }
}

/// What a pool of connections is doing.
package struct StoreLoad: Sendable, Equatable {
    package let connections: Int
    package let busy: Int
    /// Jobs that wait for a connection.
    package let waiting: Int
    /// Whether the server has not answered the last attempt to connect.
    package let isDown: Bool
}

/// Short-lived entries with an expiry: device grants and counters. The table is `kv(key, value, expires_at)`.
package protocol KeyValueStore: Sendable {
    /// The value, unless there is none or it has expired.
    func value(forKey key: String, now: Timestamp) async throws -> String?
    /// Adds an entry. False when an unexpired one is already there.
    func insert(_ value: String, forKey key: String, expiresAt: Timestamp, now: Timestamp) async throws -> Bool
    /// Replaces a value only where it still is `expected`; the expiry stays. Of several replicas one succeeds.
    func replace(_ expected: String, with value: String, forKey key: String, now: Timestamp) async throws -> Bool
    /// Removes an entry only where it still is `expected`. Of several replicas one succeeds.
    func remove(_ expected: String, forKey key: String, now: Timestamp) async throws -> Bool
    /// Adds one to a counter that starts anew when its window has passed, and returns the new count.
    func increment(_ key: String, window: Duration, now: Timestamp) async throws -> Int
}

/// A signed-in device: what makes refresh tokens rotate exactly once although several processes use one at a time.
package struct SessionRow: Sendable, Equatable {
    package var id: String
    package var subject: String
    package var email: String?
    package var createdAt: Timestamp
    package var refreshedAt: Timestamp
    /// Counts refreshes. A refresh token carries the generation it belongs to.
    package var generation: Int
    /// Until when one replica is refreshing this session.
    package var leaseUntil: Timestamp?
    /// The sealed answer of the last refresh, for repeats of the token that it replaced.
    package var answer: String?

    package init(id: String, subject: String, email: String?, at now: Timestamp) {
        self.id = id
        self.subject = subject
        self.email = email
        self.createdAt = now
        self.refreshedAt = now
        self.generation = 0
    }
}

/// Sessions. The table is `sessions`.
package protocol SessionStore: Sendable {
    func insertSession(_ session: SessionRow) async throws
    func session(id: String) async throws -> SessionRow?
    /// Takes the lease on a session whose generation is at most `generation`, if nobody holds it.
    func leaseSession(id: String, generation: Int, until: Timestamp, now: Timestamp) async throws -> SessionLease?
    /// Makes `generation` the session's, with the answer that repeats are given, and ends any lease. False when the
    /// session already is at that generation or a later one, or is gone: of several refreshes the first one counts.
    func completeRefresh(id: String, generation: Int, email: String?, answer: String, now: Timestamp) async throws
        -> Bool
    /// Ends a lease without a result. Nothing happens when it has lapsed and another holds the session.
    func releaseSession(_ lease: SessionLease) async throws
    /// Removes the session, unless the lease has lapsed and another holds it or has refreshed it. False then.
    func removeSession(_ lease: SessionLease) async throws -> Bool
    func removeSession(id: String) async throws
}

/// The right to refresh a session for a while. Its end tells it from another's lease on the same session.
package struct SessionLease: Sendable, Equatable {
    package let id: String
    package let until: Timestamp

    package init(id: String, until: Timestamp) {
        self.id = id
        self.until = until
    }
}

/// How long a session that nobody refreshes is kept.
package enum SessionRetention {
    package static let days = 90
}
