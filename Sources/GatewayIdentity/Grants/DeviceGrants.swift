// SPDX-License-Identifier: Apache-2.0

package import GatewayCore
package import GatewayStore

/// Device grants in the store, where every replica finds them. Each change is one conditional statement, so that of
/// several at once exactly one takes effect.
package struct DeviceGrants: Sendable {
    /// What a device is told.
    package struct Codes: Sendable {
        package let deviceCode: String
        package let userCode: String
    }

    private static let attempts = 8

    private let store: any KeyValueStore

    package init(store: any KeyValueStore) {
        self.store = store
    }

    /// Where a grant is kept.
    package static func key(deviceCode: String) -> String { "device:" + Digest.hexadecimal(deviceCode) }
    private static func key(userCode: String) -> String { "user_code:" + userCode }

    package func begin(from address: String, now: Timestamp) async throws -> Codes {
        while true {
            let codes = Codes(deviceCode: RandomToken.make(), userCode: DeviceCodes.makeUserCode())
            let grant = DeviceGrant(userCode: codes.userCode, requestedFrom: address, requestedAt: now)
            let key = Self.key(deviceCode: codes.deviceCode)
            // The user code is short enough to be drawn twice.
            guard
                try await self.store.insert(
                    key, forKey: Self.key(userCode: codes.userCode), expiresAt: grant.expiresAt, now: now)
            else { continue }
            _ = try await self.store.insert(grant.text, forKey: key, expiresAt: grant.expiresAt, now: now)
            return codes
        }
    }

    /// The key of the open grant that a user code stands for.
    package func find(userCode: String, now: Timestamp) async throws -> String? {
        guard let key = try await self.store.value(forKey: Self.key(userCode: userCode), now: now),
            let grant = try await self.grant(key, now)?.grant, grant.state == .pending
        else { return nil }
        return key
    }

    /// Moves a pending grant to another state.
    ///
    /// - Returns: The grant as it was, or `nil` when it is no longer pending.
    package func decide(_ key: String, _ state: DeviceGrant.State, now: Timestamp) async throws -> DeviceGrant? {
        for _ in 0..<Self.attempts {
            guard let (grant, text) = try await self.grant(key, now), grant.state == .pending else { return nil }
            var decided = grant
            decided.state = state
            if try await self.store.replace(text, with: decided.text, forKey: key, now: now) { return grant }
        }
        return nil
    }

    /// Answers a poll. An approved or denied grant is consumed by the answer: it is given once.
    ///
    /// - Returns: `nil` for a code that is unknown, expired or consumed.
    package func poll(deviceCode: String, now: Timestamp) async throws -> DeviceGrant.PollAnswer? {
        let key = Self.key(deviceCode: deviceCode)
        for _ in 0..<Self.attempts {
            guard let (grant, text) = try await self.grant(key, now) else { return nil }
            var polled = grant
            let answer = polled.poll(at: now)
            switch answer {
            case .slowDown: return answer
            case .pending:
                if try await self.store.replace(text, with: polled.text, forKey: key, now: now) { return answer }
            case .denied, .approved:
                if try await self.store.remove(text, forKey: key, now: now) { return answer }
            }
        }
        return .slowDown
    }

    private func grant(_ key: String, _ now: Timestamp) async throws -> (grant: DeviceGrant, text: String)? {
        guard let text = try await self.store.value(forKey: key, now: now), let grant = DeviceGrant(text: text) else {
            return nil
        }
        return (grant, text)
    }
}
