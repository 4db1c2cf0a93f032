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

    /// The members of a `usage` object that count.
    private struct Members {
        var input: JSONValue?
        var output: JSONValue?
        var cacheRead: JSONValue?
        var cacheWrite: JSONValue?
        var cacheWrite5m: JSONValue?
        var cacheWrite1h: JSONValue?
        var webSearches: JSONValue?
        var speed: JSONValue?

        init(_ object: JSONObject) {
            self.input = object["input_tokens"]
            self.output = object["output_tokens"]
            self.cacheRead = object["cache_read_input_tokens"]
            self.cacheWrite = object["cache_creation_input_tokens"]
            let split = object["cache_creation"]?.object
            self.cacheWrite5m = split?["ephemeral_5m_input_tokens"]
            self.cacheWrite1h = split?["ephemeral_1h_input_tokens"]
            self.webSearches = object["server_tool_use"]?["web_search_requests"]
            self.speed = object["speed"]
        }

        private init() {}

        /// Reads a text in place; `nil` when it is none of an object, or has to be parsed as a whole.
        init?(_ text: UnsafeRawBufferPointer) {
            var (split, tools): (UnsafeRawBufferPointer?, UnsafeRawBufferPointer?) = (nil, nil)
            var members = Members()
            let end = JSONMembers.visit(text, room: 32) { name, value in
                switch name.count {
                case 5 where name.equals("speed"): members.speed = Self.value(value)
                case 12 where name.equals("input_tokens"): members.input = Self.value(value)
                case 13 where name.equals("output_tokens"): members.output = Self.value(value)
                case 14 where name.equals("cache_creation"): split = value
                case 15 where name.equals("server_tool_use"): tools = value
                case 23 where name.equals("cache_read_input_tokens"): members.cacheRead = Self.value(value)
                case 27 where name.equals("cache_creation_input_tokens"): members.cacheWrite = Self.value(value)
                default: break
                }
            }
            guard end == text.count else { return nil }
            if let split, split.first == UInt8(ascii: "{") {
                let end = JSONMembers.visit(split) { name, value in
                    if name.equals("ephemeral_5m_input_tokens") { members.cacheWrite5m = Self.value(value) }
                    if name.equals("ephemeral_1h_input_tokens") { members.cacheWrite1h = Self.value(value) }
                }
                guard end != nil else { return nil }
            }
            if let tools, tools.first == UInt8(ascii: "{") {
                let end = JSONMembers.visit(tools) { name, value in
                    if name.equals("web_search_requests") { members.webSearches = Self.value(value) }
                }
                guard end != nil else { return nil }
            }
            self = members
        }

        private static func value(_ text: UnsafeRawBufferPointer) -> JSONValue? {
            var number = 0
            for byte in text.prefix(16) {
                // Whatever is no plain number is read as a whole.
                guard (0x30...0x39).contains(byte), text.count < 16 else {
                    return try? JSONValue(parsing: Array(text))
                }
                number = number &* 10 &+ Int(byte &- 0x30)
            }
            return .integer(number)
        }
    }

    /// Takes over what a `usage` object says.
    ///
    /// A token count that is null (except in `delta`), no number, negative, infinite or too large makes the object
    /// unusable as a whole. A fraction is rounded up. An unusable number of web searches counts as zero.
    ///
    /// - Returns: Whether it is usable; otherwise `partial` is unchanged.
    package static func apply(_ usage: JSONValue?, at place: Place, to partial: inout Partial) -> Bool {
        guard let object = usage?.object else { return false }
        return self.apply(Members(object), at: place, to: &partial)
    }

    /// The same of the object's text.
    static func apply(_ text: [UInt8], at place: Place, to partial: inout Partial) -> Bool {
        if let members = text.withUnsafeBytes({ Members($0) }) { return self.apply(members, at: place, to: &partial) }
        return self.apply(try? JSONValue(parsing: text), at: place, to: &partial)
    }

    private static func apply(_ members: Members, at place: Place, to partial: inout Partial) -> Bool {
        var counts = Counts(nullKeeps: place == .delta)
        let input = counts.read(members.input)
        let output = place == .start ? nil : counts.read(members.output)
        let cacheRead = counts.read(members.cacheRead)
        let cacheWrite = counts.read(members.cacheWrite)
        let cacheWrite5m = counts.read(members.cacheWrite5m)
        let cacheWrite1h = counts.read(members.cacheWrite1h)
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
        partial.webSearches = max(
            partial.webSearches, Self.count(members.webSearches?.number, maximum: Self.maximumWebSearches) ?? 0)
        if place != .delta { partial.isFast = members.speed == "fast" }
        return true
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

        mutating func read(_ value: JSONValue?) -> Int? {
            guard let value else { return nil }
            if value == .null, self.nullKeeps { return nil }
            let count = UsageReader.count(value.number, maximum: UsageReader.maximumTokens)
            if count == nil { self.areUsable = false }
            return count
        }
    }
}
