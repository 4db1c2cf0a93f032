// SPDX-License-Identifier: Apache-2.0

internal import Foundation
internal import Synchronization

/// Waits until a condition holds; false when it does not within `limit`.
package func eventually(within limit: Duration = .seconds(30), _ condition: () async throws -> Bool) async rethrows
    -> Bool
{
    let deadline = ContinuousClock.now + limit
    while ContinuousClock.now < deadline {
        if try await condition() { return true }
        try? await Task.sleep(for: .milliseconds(10))
    }
    return false
}

/// Runs something that blocks on a thread of its own: the tasks of a test share few threads, and servers run on them too.
package func offPool<Value: Sendable>(_ body: @escaping @Sendable () throws -> Value) async throws -> Value {
    try await withCheckedThrowingContinuation { continuation in
        Thread.detachNewThread { continuation.resume(with: Result { try body() }) }
    }
}

/// Counts calls from any thread.
package final class Counter: Sendable {
    private let count = Atomic(0)

    package init() {}

    package var value: Int { self.count.load(ordering: .relaxed) }

    /// - Returns: How many calls there were before.
    package func next() -> Int { self.count.add(1, ordering: .relaxed).oldValue }
}
