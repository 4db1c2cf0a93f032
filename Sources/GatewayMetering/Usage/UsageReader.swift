// SPDX-License-Identifier: Apache-2.0

package import GatewayCore

/// Reads the `usage` objects of an answer, and trusts none of their numbers.
///
/// Source: <https://platform.claude.com/docs/en/api/messages>, `usage`.
package enum UsageReader {
    /// Where a `usage` object stands.
    package enum Place: Sendable {
        /// At the top level of a JSON answer. What is missing is zero.
        case answer
        /// In a stream's `message_start`: as `answer`, but its `output_tokens` are not looked at.
        case start
        /// In a stream's `message_delta`: what is missing or null keeps its value, the output and the web searches never
        /// become less, `speed` is not looked at.
        case delta
    }

    /// What has been read so far; `nil` where nothing was said.
    package struct Partial: Sendable, Equatable {
        package var input: Int?
        package var output: Int?
        package var cacheRead: Int?
        /// All tokens written to the cache.
        package var cacheWrite: Int?
        /// The part of them written for five minutes, as far as the answer splits them.
        package var cacheWrite5m: Int?
        /// The part of them written for an hour.
        package var cacheWrite1h: Int?
        package var webSearches = 0
        package var isFast = false

        package init() {}

        /// With zero for what was not said. Cache writes that the split does not cover are for five minutes; where it
        /// exceeds the total, the total wins and the hour is filled first; without a total the split counts.
        package var usage: TokenUsage {
            var usage = TokenUsage(input: self.input ?? 0, output: self.output ?? 0)
            usage.cacheRead = self.cacheRead ?? 0
            usage.cacheWrite5m = self.cacheWrite5m ?? 0
            usage.cacheWrite1h = self.cacheWrite1h ?? 0
            if let total = self.cacheWrite, total > 0 {
                usage.cacheWrite1h = min(usage.cacheWrite1h, total)
                usage.cacheWrite5m = total - usage.cacheWrite1h
            }
            usage.webSearches = self.webSearches
            usage.isFast = self.isFast
            return usage
        }
    }

    /// More tokens than that in one count are no usage.
    package static let maximumTokens = 100_000_000
    package static let maximumWebSearches = 10_000

    /// Takes over what a `usage` object says.
    ///
    /// A token count that is null (except in `delta`), no number, negative, infinite or too large makes the object
    /// unusable as a whole. A fraction is rounded up. An unusable number of web searches counts as zero.
    ///
    /// - Returns: Whether it is usable; otherwise `partial` is unchanged.
    package static func apply(_ usage: JSONValue?, at place: Place, to partial: inout Partial) -> Bool {
        guard let usage, let object = usage.object else { return false }
        var counts = Counts(nullKeeps: place == .delta)
        let input = counts.read(object, "input_tokens")
        let output = place == .start ? nil : counts.read(object, "output_tokens")
        let cacheRead = counts.read(object, "cache_read_input_tokens")
        let cacheWrite = counts.read(object, "cache_creation_input_tokens")
        let split = object["cache_creation"]?.object ?? JSONObject()
        let cacheWrite5m = counts.read(split, "ephemeral_5m_input_tokens")
        let cacheWrite1h = counts.read(split, "ephemeral_1h_input_tokens")
        guard counts.areUsable else { return false }

        func replace(_ value: inout Int?, _ new: Int?) {
            if place != .delta { value = new ?? 0 } else if let new { value = new }
        }
        replace(&partial.input, input)
        replace(&partial.cacheRead, cacheRead)
        replace(&partial.cacheWrite, cacheWrite)
        replace(&partial.cacheWrite5m, cacheWrite5m)
        replace(&partial.cacheWrite1h, cacheWrite1h)
        switch place {
        case .answer: partial.output = output ?? 0
        case .start: break
        case .delta: if let output { partial.output = max(output, partial.output ?? 0) }
        }
        partial.webSearches = max(partial.webSearches, Self.webSearches(usage))
        if place != .delta { partial.isFast = usage["speed"] == "fast" }
        return true
    }

    private static func webSearches(_ usage: JSONValue) -> Int {
        Self.count(usage["server_tool_use"]?["web_search_requests"]?.number, maximum: Self.maximumWebSearches) ?? 0
    }

    /// - Returns: `nil` when it is no usable count.
    private static func count(_ value: Double?, maximum: Int) -> Int? {
        guard let value, value >= 0, value <= Double(maximum) else { return nil }
        return Int(value.rounded(.up))
    }

    private struct Counts {
        let nullKeeps: Bool
        var areUsable = true

        init(nullKeeps: Bool) {
            self.nullKeeps = nullKeeps
        }

        mutating func read(_ object: JSONObject, _ name: String) -> Int? {
            guard let value = object[name] else { return nil }
            if value == .null, self.nullKeeps { return nil }
            let count = UsageReader.count(value.number, maximum: UsageReader.maximumTokens)
            if count == nil { self.areUsable = false }
            return count
        }
    }
}
