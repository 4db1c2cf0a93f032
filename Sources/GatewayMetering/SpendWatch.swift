// SPDX-License-Identifier: Apache-2.0

internal import GatewayCore
internal import GatewayStore
internal import Synchronization

/// Whose counters have changed since somebody last looked.
package final class SpendWatch: Sendable {
    private struct State {
        var principals: Set<String> = []
        var groups: Set<String> = []
    }

    private let state = Mutex(State())

    package init() {}

    func note(_ totals: SpendTotals) {
        guard !totals.isEmpty else { return }
        self.state.withLock { state in
            state.principals.formUnion(totals.spend.keys)
            state.groups.formUnion(totals.pools.keys)
        }
    }

    /// Looks at them again.
    package func add(_ principals: [String]) {
        self.state.withLock { $0.principals.formUnion(principals) }
    }

    package func take() -> (principals: [String], groups: [String]) {
        self.state.withLock { state in
            defer { state = State() }
            return (Array(state.principals), Array(state.groups))
        }
    }
}
