// SPDX-License-Identifier: Apache-2.0

internal import Synchronization

/// Gives up waiting; what was waited for ends by itself, unheard.
package enum Bounded {
    package struct TimedOut: Error, CustomStringConvertible {
        package var description: String { "no answer in time" }
    }

    package static func run<Value: Sendable>(
        within limit: Duration, _ body: @escaping @Sendable () async throws -> Value,
    ) async throws -> Value {
        try await withCheckedThrowingContinuation { continuation in
            let end = FirstCall<Result<Value, any Error>> { continuation.resume(with: $0) }
            let timer = Task {
                try await Task.sleep(for: limit)
                end.run(.failure(TimedOut()))
            }
            Task {
                let result: Result<Value, any Error>
                do {
                    result = .success(try await body())
                } catch {
                    result = .failure(error)
                }
                timer.cancel()
                end.run(result)
            }
        }
    }
}

/// Whichever of several causes comes first; the others do nothing.
final class FirstCall<Value: Sendable>: Sendable {
    private let body: Mutex<(@Sendable (Value) -> Void)?>

    init(_ body: @escaping @Sendable (Value) -> Void) {
        self.body = Mutex(body)
    }

    func run(_ value: Value) {
        let body = self.body.withLock { slot in
            defer { slot = nil }
            return slot
        }
        body?(value)
    }
}
