// SPDX-License-Identifier: Apache-2.0

package import GatewayCore
internal import Synchronization

/// Remembers which upstreams have lately been silent, so that a dead one costs one request its timeout and not every
/// request. Shared by all event loops.
///
/// Only silence counts: a refused connection costs nothing, and a status says something about the request as well. While
/// an upstream rests it is tried last; when the rest is over, one request tries it again (a half-open probe).
package final class UpstreamHealth: Sendable {
    private static let firstRest = 10.0
    private static let longestRest = 120.0

    private struct Entry {
        var restsUntil: Timestamp?
        var rest = firstRest
        var isProbed = false
    }

    private let entries: Mutex<[Entry]>
    /// Whether any upstream has ever been silent: the usual answer needs no lock.
    private let isCalm = Atomic(true)

    package init(count: Int) {
        self.entries = Mutex(Array(repeating: Entry(), count: count))
    }

    /// Whether an upstream is to be tried after the others. A probe is handed out once.
    package func rests(_ upstream: Int, now: Timestamp) -> Bool {
        if self.isCalm.load(ordering: .relaxed) { return false }
        return self.entries.withLock { entries in
            guard let until = entries[upstream].restsUntil else { return false }
            if until > now || entries[upstream].isProbed { return true }
            entries[upstream].isProbed = true
            return false
        }
    }

    package func wasSilent(_ upstream: Int, now: Timestamp) {
        self.isCalm.store(false, ordering: .relaxed)
        self.entries.withLock { entries in
            entries[upstream].restsUntil = now.advanced(bySeconds: entries[upstream].rest)
            entries[upstream].rest = min(entries[upstream].rest * 2, Self.longestRest)
            entries[upstream].isProbed = false
        }
    }

    package func answered(_ upstream: Int) {
        if self.isCalm.load(ordering: .relaxed) { return }
        self.entries.withLock { entries in
            entries[upstream] = Entry()
            if !entries.contains(where: { $0.restsUntil != nil }) { self.isCalm.store(true, ordering: .relaxed) }
        }
    }
}
