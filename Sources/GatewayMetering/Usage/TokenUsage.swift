// SPDX-License-Identifier: Apache-2.0

/// What one answer used, in tokens; web searches in requests.
///
/// Source: <https://platform.claude.com/docs/en/api/messages>, `usage`.
package struct TokenUsage: Sendable, Equatable {
    package var input = 0
    package var output = 0
    /// Written to the cache for five minutes.
    package var cacheWrite5m = 0
    /// Written to the cache for an hour.
    package var cacheWrite1h = 0
    package var cacheRead = 0
    package var webSearches = 0
    /// Whether the answer was produced in fast mode, as it says itself.
    package var isFast = false

    package init() {}

    package init(input: Int, output: Int = 0) {
        self.input = input
        self.output = output
    }

    /// All tokens that went into the model.
    package var prompt: Int { self.input + self.cacheRead + self.cacheWrite5m + self.cacheWrite1h }
}
