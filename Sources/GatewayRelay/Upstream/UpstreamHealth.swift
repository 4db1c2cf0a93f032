// SPDX-License-Identifier: Apache-2.0

package import GatewayCore
internal import Synchronization

/// Remembers which upstreams have lately failed, so that a dead one costs one request its timeout and not every request.
/// Shared by all event loops.
///
/// Silence always counts, for the whole upstream. Other failures count only where a circuit breaker is configured, for
/// the upstream's one model. While something rests it is tried last; when the rest is over, one request tries it again
/// (a half-open probe), and the others wait for another while.
package final class UpstreamHealth: Sendable {
    package struct Breaker: Sendable, Equatable {
        /// So many failures in a row open it.
        package var failures: Int
        /// How long it stays open before a probe.
        package var restSeconds: Double

        package init(failures: Int, restSeconds: Double) {
            self.failures = failures
            self.restSeconds = restSeconds
        }
    }

    private static let firstRest = 10.0
    private static let longestRest = 120.0
    /// How long a probe may take before another one is made.
    private static let probeSeconds = 10.0

    private struct Rest {
        var until: Timestamp?
        var length = firstRest
        var failures = 0

        /// Whether it is to be left alone. Hands out a probe when its time has come.
        mutating func holds(_ now: Timestamp) -> Bool {
            guard let until else { return false }
            if until > now { return true }
            self.until = now.advanced(bySeconds: probeSeconds)
            return false
        }
    }

    private struct Target: Hashable {
        let upstream: Int
        let model: String
    }

    private struct State {
        var silences: [Rest]
        var breakers: [Target: Rest] = [:]
    }

    private let breaker: Breaker?
    private let state: Mutex<State>
    /// Whether nothing has failed: the usual answer needs no lock.
    private let isCalm = Atomic(true)

    package init(count: Int, breaker: Breaker? = nil) {
        self.breaker = breaker
        self.state = Mutex(State(silences: Array(repeating: Rest(), count: count)))
    }

    /// Whether a model of an upstream is to be tried after the others. A probe is handed out once.
    package func rests(_ upstream: Int, model: String, now: Timestamp) -> Bool {
        if self.isCalm.load(ordering: .relaxed) { return false }
        return self.state.withLock { state in
            if state.silences[upstream].holds(now) { return true }
            return state.breakers[Target(upstream: upstream, model: model)]?.holds(now) ?? false
        }
    }

    package func wasSilent(_ upstream: Int, now: Timestamp) {
        self.isCalm.store(false, ordering: .relaxed)
        self.state.withLock { state in
            let rest = state.silences[upstream]
            state.silences[upstream].until = now.advanced(bySeconds: rest.length)
            state.silences[upstream].length = min(rest.length * 2, Self.longestRest)
        }
    }

    /// The upstream has said something, whatever it was.
    package func answered(_ upstream: Int) {
        self.forget { $0.silences[upstream] = Rest() }
    }

    /// An attempt at an upstream's model has failed in a way that says something about it.
    package func failed(_ upstream: Int, model: String, now: Timestamp) {
        guard let breaker else { return }
        self.isCalm.store(false, ordering: .relaxed)
        self.state.withLock { state in
            let target = Target(upstream: upstream, model: model)
            var rest = state.breakers[target] ?? Rest()
            rest.failures += 1
            if rest.failures >= breaker.failures { rest.until = now.advanced(bySeconds: breaker.restSeconds) }
            state.breakers[target] = rest
        }
    }

    /// An upstream's model has served a request.
    package func served(_ upstream: Int, model: String) {
        self.forget { $0.breakers[Target(upstream: upstream, model: model)] = nil }
    }

    /// For each upstream that has any: how many breakers are open, over models and over the upstream as a whole. For
    /// metrics.
    package func openBreakers() -> [Int: Int] {
        if self.isCalm.load(ordering: .relaxed) { return [:] }
        return self.state.withLock { state in
            let silent = state.silences.indices.filter { state.silences[$0].until != nil }
            let broken = state.breakers.filter { $0.value.until != nil }.keys.map(\.upstream)
            return (silent + broken).reduce(into: [:]) { $0[$1, default: 0] += 1 }
        }
    }

    private func forget(_ change: (inout State) -> Void) {
        if self.isCalm.load(ordering: .relaxed) { return }
        self.state.withLock { state in
            change(&state)
            if state.breakers.isEmpty, !state.silences.contains(where: { $0.until != nil }) {
                self.isCalm.store(true, ordering: .relaxed)
            }
        }
    }
}
