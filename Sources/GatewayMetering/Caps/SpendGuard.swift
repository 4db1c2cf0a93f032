// SPDX-License-Identifier: Apache-2.0

internal import GatewayCore
package import GatewayStore
package import Logging
internal import Synchronization

/// Asks the store whether developers may spend. Checks that come while one query is under way share the next one, so
/// that the database sees few queries whatever the load, and every check sees counters no older than itself.
package final class SpendGuard: Sendable {
    /// The longest that a request waits for its limits.
    private static let patience = Duration.seconds(2)
    private static let probeInterval = Duration.milliseconds(500)

    private struct Waiting {
        let caller: SpendCaller
        let done: @Sendable (SpendState?) -> Void
    }

    private struct State {
        var waiting: [Waiting] = []
        var isAsking = false
        /// The store did not answer the last query: checks fail at once until a probe has succeeded.
        var isDown = false
    }

    private let store: any SpendStore
    private let log: Logger
    private let state = Mutex(State())

    package init(store: any SpendStore, log: Logger) {
        self.store = store
        self.log = log
    }

    /// Reads what concerns a developer. `done` is called once, on any thread, with `nil` while the store does not answer.
    package func read(_ caller: SpendCaller, _ done: @escaping @Sendable (SpendState?) -> Void) {
        enum Step {
            case refuse
            case wait
            case ask
        }
        let step = self.state.withLock { state -> Step in
            if state.isDown { return .refuse }
            state.waiting.append(Waiting(caller: caller, done: done))
            if state.isAsking { return .wait }
            state.isAsking = true
            return .ask
        }
        switch step {
        case .refuse: done(nil)
        case .wait: break
        case .ask: Task { await self.ask() }
        }
    }

    package func read(_ caller: SpendCaller) async -> SpendState? {
        await withCheckedContinuation { continuation in
            self.read(caller) { continuation.resume(returning: $0) }
        }
    }

    private func ask() async {
        while true {
            let batch = self.state.withLock { state -> [Waiting] in
                let batch = state.waiting
                state.waiting = []
                if batch.isEmpty { state.isAsking = false }
                return batch
            }
            if batch.isEmpty { return }
            let principals = Set(batch.map(\.caller.principal))
            let groups = Set(batch.lazy.flatMap(\.caller.groups))
            do {
                let found = try await self.query(Array(principals), Array(groups))
                for waiting in batch { waiting.done(found) }
            } catch {
                self.fallDown("\(error)", batch)
                return
            }
        }
    }

    private func query(_ principals: [String], _ groups: [String]) async throws -> SpendState {
        let store = self.store
        return try await Bounded.run(within: Self.patience) {
            try await store.spendState(principals: principals, groups: groups, now: .now)
        }
    }

    private func fallDown(_ reason: String, _ batch: [Waiting]) {
        let late = self.state.withLock { state -> [Waiting] in
            state.isDown = true
            state.isAsking = false
            let late = state.waiting
            state.waiting = []
            return late
        }
        self.log.warning(
            "spend limits cannot be read; requests follow enforcement.fail_closed_on_error until they can",
            metadata: ["reason": "\(reason)"])
        for waiting in batch + late { waiting.done(nil) }
        Task { await self.probe() }
    }

    private func probe() async {
        while true {
            try? await Task.sleep(for: Self.probeInterval)
            guard (try? await self.query([], [])) != nil else { continue }
            self.state.withLock { $0.isDown = false }
            self.log.info("spend limits can be read again")
            return
        }
    }
}

/// Gives up waiting; what was waited for ends by itself, unheard.
package enum Bounded {
    package struct TimedOut: Error, CustomStringConvertible {
        package var description: String { "no answer in time" }
    }

    package static func run<Value: Sendable>(
        within limit: Duration, _ body: @escaping @Sendable () async throws -> Value,
    ) async throws -> Value {
        let once = Once<Value>()
        return try await withCheckedThrowingContinuation { continuation in
            once.begin(continuation)
            let timer = Task {
                try await Task.sleep(for: limit)
                once.end(.failure(TimedOut()))
            }
            Task {
                let result: Result<Value, any Error>
                do {
                    result = .success(try await body())
                } catch {
                    result = .failure(error)
                }
                timer.cancel()
                once.end(result)
            }
        }
    }

    private final class Once<Value: Sendable>: Sendable {
        private let continuation = Mutex<CheckedContinuation<Value, any Error>?>(nil)

        func begin(_ continuation: CheckedContinuation<Value, any Error>) {
            self.continuation.withLock { $0 = continuation }
        }

        func end(_ result: Result<Value, any Error>) {
            let continuation = self.continuation.withLock { slot in
                let value = slot
                slot = nil
                return value
            }
            continuation?.resume(with: result)
        }
    }
}
