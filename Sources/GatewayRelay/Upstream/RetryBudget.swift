// SPDX-License-Identifier: Apache-2.0

package import GatewayCore
internal import Synchronization

/// Bounds how many attempts at further upstreams are made in relation to requests, so that a failure of everything does
/// not multiply the load. Shared by all event loops.
package final class RetryBudget: Sendable {
    package struct Settings: Sendable, Equatable {
        /// Attempts that requests earn: so many for each hundred.
        package var percent: Double
        /// Attempts a second that are always allowed.
        package var minimumPerSecond: Double

        package init(percent: Double, minimumPerSecond: Double) {
            self.percent = percent
            self.minimumPerSecond = minimumPerSecond
        }
    }

    /// What is not used is kept for so many seconds' worth.
    private static let memory = 10.0
    /// And so many attempts beyond that, however rare requests are.
    private static let reserve = 10.0

    /// An attempt, in the unit of the balance: sums of shares stay exact.
    private static let attempt = 1_000_000.0

    private struct State {
        var balance: Int64
        var at: Timestamp
    }

    private let settings: Settings
    private let state: Mutex<State>

    package init(_ settings: Settings, now: Timestamp) {
        self.settings = settings
        self.state = Mutex(State(balance: Self.units(Self.reserve + settings.minimumPerSecond), at: now))
    }

    package func began(now: Timestamp) {
        self.change(now) { $0 += Self.units(self.settings.percent / 100) }
    }

    /// Whether one more attempt may be made; it is then taken from the budget.
    package func take(now: Timestamp) -> Bool {
        self.change(now) { balance in
            guard balance >= Self.units(1) else { return false }
            balance -= Self.units(1)
            return true
        }
    }

    private static func units(_ attempts: Double) -> Int64 {
        Int64((attempts * self.attempt).rounded())
    }

    private func change<Value>(_ now: Timestamp, _ body: (inout Int64) -> Value) -> Value {
        self.state.withLock { state in
            let elapsed = max(0, Double(now.milliseconds - state.at.milliseconds) / 1000)
            state.at = max(state.at, now)
            let most = Self.units(Self.reserve + Self.memory * max(1, self.settings.minimumPerSecond))
            let earned = Self.units(min(elapsed, 86_400) * self.settings.minimumPerSecond)
            state.balance = min(state.balance + earned, most)
            return body(&state.balance)
        }
    }
}
