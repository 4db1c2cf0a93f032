// SPDX-License-Identifier: Apache-2.0

internal import GatewayCore
internal import GatewayMetering
internal import GatewayRelay
internal import NIOHTTP1
internal import Synchronization

/// Who may use the admin API: keys in `x-api-key`, and the bearers of developers in an admin group. A key decides where
/// both are sent.
final class AdminAccess: Sendable {
    enum Right: Sendable {
        case read
        case write
    }

    struct Administrator: Sendable {
        /// As changes are recorded: `admin-key:<id>` or `oidc:<sub>`.
        let actor: String
        let right: Right
    }

    enum Denial: String, Error {
        case noCredentials = "no_credentials"
        case invalidKey = "invalid_key"
        case bearerRejected = "bearer_rejected"
        /// Too many wrong keys: this one was not even looked at.
        case throttled
        /// A read key on something that changes.
        case readOnly = "read_only"
    }

    /// Wrong keys from one address: this many at once, then one every two seconds.
    private static let burst = 30.0
    private static let refillPerSecond = 0.5

    private struct Bucket {
        var left: Double
        var at: Timestamp
    }

    /// By digest, so that a comparison's time tells nothing about a key.
    private let keys: [String: Administrator]
    private let groups: [String]
    private let buckets = Mutex<[String: Bucket]>([:])
    /// Keys that have been right before are never held up by somebody's guesses from the same address.
    private let proven = Mutex<Set<String>>([])

    init(_ settings: AdminSettings) {
        var keys: [String: Administrator] = [:]
        func add(_ list: [AdminSettings.Key], _ right: Right) {
            for key in list {
                keys[Digest.hexadecimal(key.secret.reveal().trimmingSpaces)] = Administrator(
                    actor: "admin-key:\(key.id)", right: right)
            }
        }
        add(settings.readKeys, .read)
        add(settings.writeKeys, .write)
        self.keys = keys
        self.groups = settings.adminGroups
    }

    func administrator(_ request: PlainRequest, caller: Caller?) -> Result<Administrator, Denial> {
        let key = request.headers["x-api-key"].joined(separator: ", ").trimmingSpaces
        if !key.isEmpty {
            let digest = Digest.hexadecimal(key)
            if self.proven.withLock({ $0.contains(digest) }), let known = self.keys[digest] { return .success(known) }
            let address = request.client.description
            guard self.hasGuess(address) else { return .failure(.throttled) }
            guard let known = self.keys[digest] else {
                self.takeGuess(address)
                return .failure(.invalidKey)
            }
            self.proven.withLock { _ = $0.insert(digest) }
            return .success(known)
        }
        guard request.headers.contains(name: "authorization") else { return .failure(.noCredentials) }
        guard let caller, caller.principal.isMember(ofAny: self.groups) else { return .failure(.bearerRejected) }
        return .success(Administrator(actor: "oidc:\(caller.principal.subject)", right: .write))
    }

    private func hasGuess(_ address: String) -> Bool {
        self.buckets.withLock { buckets in
            guard let bucket = buckets[address] else { return true }
            return Self.refilled(bucket) >= 1
        }
    }

    private func takeGuess(_ address: String) {
        self.buckets.withLock { buckets in
            if buckets.count > 10_000 { buckets = buckets.filter { Self.refilled($0.value) < Self.burst } }
            let left = buckets[address].map(Self.refilled) ?? Self.burst
            buckets[address] = Bucket(left: left - 1, at: .now)
        }
    }

    private static func refilled(_ bucket: Bucket) -> Double {
        let seconds = Double(max(0, Timestamp.now.milliseconds - bucket.at.milliseconds)) / 1000
        return min(self.burst, bucket.left + seconds * self.refillPerSecond)
    }
}
