// SPDX-License-Identifier: Apache-2.0

/// Waits until a condition holds; false when it does not within `limit`.
package func eventually(within limit: Duration = .seconds(10), _ condition: () async throws -> Bool) async rethrows
    -> Bool
{
    let deadline = ContinuousClock.now + limit
    while ContinuousClock.now < deadline {
        if try await condition() { return true }
        try? await Task.sleep(for: .milliseconds(10))
    }
    return false
}
