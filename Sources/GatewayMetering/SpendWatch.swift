// SPDX-License-Identifier: Apache-2.0

internal import GatewayCore
internal import GatewayStore
internal import Synchronization

/// Whose counters have changed since somebody last looked.
package final class SpendWatch: Sendable {
    package struct Changes: Sendable {
        package fileprivate(set) var principals: Set<String> = []
        /// Whose pools have paid.
        package fileprivate(set) var groups: Set<String> = []
    }

    private struct State {
        var changes = Changes()
        /// What nobody is going to look at is not gathered.
        var isWatched = true
    }

    private let state = Mutex(State())

    package init() {}

    /// Whether somebody looks from now on.
    package func setWatched(_ isWatched: Bool) {
        self.state.withLock { state in
            state.isWatched = isWatched
            if !isWatched { state.changes = Changes() }
        }
    }

    func note(_ totals: SpendTotals) {
        self.state.withLock { state in
            guard state.isWatched else { return }
            state.changes.principals.formUnion(totals.spend.keys)
            state.changes.groups.formUnion(totals.pools.keys)
        }
    }

    package func take() -> Changes {
        self.state.withLock { state in
            defer { state.changes = Changes() }
            return state.changes
        }
    }

    /// They are to be looked at again.
    package func putBack(_ changes: Changes) {
        self.state.withLock { state in
            guard state.isWatched else { return }
            state.changes.principals.formUnion(changes.principals)
            state.changes.groups.formUnion(changes.groups)
        }
    }
}
