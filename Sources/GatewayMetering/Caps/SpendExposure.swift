// SPDX-License-Identifier: Apache-2.0

package import GatewayCore
package import GatewayStore
internal import Synchronization

/// What this process's requests may still add to counters: the most that running ones can cost, and what ended ones did
/// cost until it is booked. Near a limit new requests wait for it to become known instead of all passing at once.
package final class SpendExposure: Sendable {
    /// Whose counter.
    private enum Name: Hashable {
        case principal(String)
        case pool(String)
    }

    /// One counter's. Taking and giving back need no lock, because every request does both.
    package final class Counter: Sendable {
        /// In nano-dollars.
        fileprivate let amount = Atomic<Int64>(0)
        fileprivate let requests = Atomic(0)
        private let hasWaiters = Atomic(false)
        private let waiters = Mutex<[@Sendable () -> Void]>([])

        /// - Returns: What it was before.
        fileprivate func add(_ amount: Money) -> Money {
            self.requests.add(1, ordering: .sequentiallyConsistent)
            // Wrapping twice is coming back: what was added is subtracted again.
            let sum = self.amount.wrappingAdd(amount.nanodollars, ordering: .sequentiallyConsistent)
            return Money(nanodollars: sum.oldValue)
        }

        /// Takes back what was only tried. Whoever saw it and waits must not wait for nothing; on others it has no bearing.
        fileprivate func undo(_ amount: Money) {
            self.amount.wrappingSubtract(amount.nanodollars, ordering: .sequentiallyConsistent)
            if self.requests.subtract(1, ordering: .sequentiallyConsistent).newValue <= 0 { self.wake() }
        }

        fileprivate func change(_ amount: Money, requests: Int) {
            self.amount.wrappingAdd(amount.nanodollars, ordering: .sequentiallyConsistent)
            if requests != 0 { self.requests.add(requests, ordering: .sequentiallyConsistent) }
            self.wake()
        }

        private func wake() {
            guard self.hasWaiters.load(ordering: .sequentiallyConsistent) else { return }
            let woken = self.waiters.withLock { waiters in
                self.hasWaiters.store(false, ordering: .sequentiallyConsistent)
                defer { waiters = [] }
                return waiters
            }
            for wake in woken { wake() }
        }

        /// Calls once when the exposure has changed.
        package func onChange(_ wake: @escaping @Sendable () -> Void) {
            self.waiters.withLock { waiters in
                waiters.append(wake)
                self.hasWaiters.store(true, ordering: .sequentiallyConsistent)
            }
            // It may have changed between the look at it and this.
            if self.requests.load(ordering: .sequentiallyConsistent) <= 0 { self.wake() }
        }
    }

    /// A running request's part.
    package struct Share: Sendable {
        fileprivate let counters: (principal: Counter, pool: Counter?)
        fileprivate let amount: Money
    }

    package enum Taking: Sendable {
        case taken(Share)
        /// This counter has too little left.
        case full(Counter)
    }

    private static let maximumCounters = 100_000

    private let counters = Mutex<[Name: Counter]>([:])

    package init() {}

    package func counter(ofPrincipal name: String) -> Counter { self.counter(.principal(name)) }

    private func counter(_ name: Name) -> Counter {
        self.counters.withLock { counters in
            if let counter = counters[name] { return counter }
            if counters.count >= Self.maximumCounters {
                Self.dropIdle(&counters)
            }
            let counter = Counter()
            counters[name] = counter
            return counter
        }
    }

    /// Those on which nothing runs, and which nobody holds to run something on them.
    private static func dropIdle(_ counters: inout [Name: Counter]) {
        for name in Array(counters.keys) {
            guard let counter = counters[name], counter.requests.load(ordering: .sequentiallyConsistent) <= 0 else {
                continue
            }
            counters[name] = nil
            var mine = consume counter
            if !isKnownUniquelyReferenced(&mine) { counters[name] = mine }
        }
    }

    /// Takes a share of what the developer and the paying pool have left. A counter on which nothing runs takes any one
    /// request.
    ///
    /// - Parameters:
    ///   - remaining: Of the tightest limit; `nil` without one. Asked once the share is counted, so that what is booked at
    ///     this moment is seen here or there.
    ///   - pool: Who pays, and what is left of that; asked again then.
    package func take(
        _ amount: Money, principal: Counter, remaining: @autoclosure () -> Money?,
        pool: @autoclosure () -> (group: String, remaining: Money?)?,
    ) -> Taking {
        func isFull(_ before: Money, _ remaining: Money?) -> Bool {
            remaining.map { before > .zero && before >= $0 } ?? false
        }
        if isFull(principal.add(amount), remaining()) {
            principal.undo(amount)
            return .full(principal)
        }
        guard let group = pool()?.group else {
            return .taken(Share(counters: (principal, nil), amount: amount))
        }
        let shared = self.counter(.pool(group))
        if isFull(shared.add(amount), pool().flatMap { $0.group == group ? $0.remaining : nil }) {
            shared.undo(amount)
            principal.undo(amount)
            return .full(shared)
        }
        return .taken(Share(counters: (principal, shared), amount: amount))
    }

    /// The request has ended and cost `amount`, which is yet to be booked.
    package func settle(_ share: Share, _ amount: Money) {
        share.counters.principal.change(amount - share.amount, requests: 0)
        share.counters.pool?.change(amount - share.amount, requests: 0)
    }

    /// Nothing more will come of it.
    package func release(_ share: Share) {
        share.counters.principal.change(.zero - share.amount, requests: -1)
        share.counters.pool?.change(.zero - share.amount, requests: -1)
    }

    /// What requests cost is in the store's counters or will not be.
    package func booked(_ entries: [SpendEntry]) {
        for entry in entries where entry.isExposed {
            let (amount, requests) = (Money.zero - entry.amount, -entry.requests)
            self.counter(.principal(entry.principal)).change(amount, requests: requests)
            if let pool = entry.pool { self.counter(.pool(pool)).change(amount, requests: requests) }
        }
    }
}
