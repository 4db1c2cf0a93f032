// SPDX-License-Identifier: Apache-2.0

package import GatewayCore
package import GatewayStore
internal import Synchronization

/// What this process's requests may still add to counters: the most that running ones can cost, and what ended ones did
/// cost until it is booked. Near a limit new requests wait for it to become known instead of all passing at once.
package final class SpendExposure: Sendable {
    /// Whose counter.
    package enum Counter: Hashable, Sendable {
        case principal(String)
        case pool(String)
    }

    private struct Share {
        let counters: [Counter]
        var amount: Money
    }

    private struct State {
        var sums: [Counter: (amount: Money, shares: Int)] = [:]
        var shares: [String: Share] = [:]
        var waiters: [Counter: [Int: @Sendable () -> Void]] = [:]
        var nextWaiter = 0
    }

    private let state = Mutex(State())

    package init() {}

    /// Takes a share of what some counters have left, or says which counter has too little. A counter on which nothing
    /// runs takes any one request.
    package func take(_ id: String, _ amount: Money, _ bounds: [(counter: Counter, remaining: Money)]) -> Counter? {
        self.state.withLock { state in
            for bound in bounds {
                if let sum = state.sums[bound.counter], sum.amount >= bound.remaining { return bound.counter }
            }
            let counters = bounds.map(\.counter)
            for counter in counters {
                state.sums[counter, default: (.zero, 0)].amount += amount
                state.sums[counter, default: (.zero, 0)].shares += 1
            }
            state.shares[id] = Share(counters: counters, amount: amount)
            return nil
        }
    }

    /// The request has ended and cost `amount`, which is yet to be booked.
    package func settle(_ id: String, _ amount: Money) {
        self.change(id) { _ in amount }
    }

    /// Nothing more will come of it.
    package func release(_ id: String) {
        self.change(id) { _ in nil }
    }

    package func booked(_ entries: [SpendEntry]) {
        for entry in entries { self.release(entry.id) }
    }

    private func change(_ id: String, _ change: (Share) -> Money?) {
        let woken = self.state.withLock { state -> [@Sendable () -> Void] in
            guard var share = state.shares[id] else { return [] }
            let amount = change(share)
            var woken: [@Sendable () -> Void] = []
            for counter in share.counters {
                guard var sum = state.sums[counter] else { continue }
                sum.amount = sum.amount - share.amount + (amount ?? .zero)
                if amount == nil { sum.shares -= 1 }
                state.sums[counter] = sum.shares == 0 ? nil : sum
                if let waiters = state.waiters.removeValue(forKey: counter) { woken += waiters.values }
            }
            if let amount {
                share.amount = amount
                state.shares[id] = share
            } else {
                state.shares[id] = nil
            }
            return woken
        }
        for wake in woken { wake() }
    }

    /// Calls once when the counter's exposure has changed.
    package func onChange(_ counter: Counter, _ wake: @escaping @Sendable () -> Void) {
        let isIdle = self.state.withLock { state -> Bool in
            guard state.sums[counter] != nil else { return true }
            state.nextWaiter += 1
            state.waiters[counter, default: [:]][state.nextWaiter] = wake
            return false
        }
        if isIdle { wake() }
    }
}
