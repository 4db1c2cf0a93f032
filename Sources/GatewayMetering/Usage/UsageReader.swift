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

    /// What a member says of a count.
    private enum Count {
        case missing
        case null
        case known(Int)
        case unusable

        /// A fraction is rounded up; nothing negative, infinite or above the maximum is a count.
        init(_ value: JSONValue?, maximum: Int) {
            switch value {
            case nil: self = .missing
            case .null?: self = .null
            case let value?:
                guard let number = value.number, number >= 0, number <= Double(maximum) else {
                    self = .unusable
                    return
                }
                self = .known(Int(number.rounded(.up)))
            }
        }

        /// The same of a value's text.
        init(_ text: UnsafeRawBufferPointer, maximum: Int) {
            var number = 0
            for byte in text {
                // Whatever is no plain number is read as a whole.
                guard (0x30...0x39).contains(byte), text.count < 16 else {
                    self = (try? JSONValue(parsing: Array(text))).map { Count($0, maximum: maximum) } ?? .unusable
                    return
                }
                number = number &* 10 &+ Int(byte &- 0x30)
            }
            self = number <= maximum ? .known(number) : .unusable
        }
    }

    /// The members of a `usage` object that count.
    private struct Members {
        var input = Count.missing
        var output = Count.missing
        var cacheRead = Count.missing
        var cacheWrite = Count.missing
        var cacheWrite5m = Count.missing
        var cacheWrite1h = Count.missing
        var webSearches = Count.missing
        var isFast = false

        init(_ object: JSONObject) {
            func tokens(_ value: JSONValue?) -> Count { Count(value, maximum: UsageReader.maximumTokens) }
            self.input = tokens(object["input_tokens"])
            self.output = tokens(object["output_tokens"])
            self.cacheRead = tokens(object["cache_read_input_tokens"])
            self.cacheWrite = tokens(object["cache_creation_input_tokens"])
            let split = object["cache_creation"]?.object
            self.cacheWrite5m = tokens(split?["ephemeral_5m_input_tokens"])
            self.cacheWrite1h = tokens(split?["ephemeral_1h_input_tokens"])
            self.webSearches = Count(
                object["server_tool_use"]?["web_search_requests"], maximum: UsageReader.maximumWebSearches)
            self.isFast = object["speed"] == "fast"
        }

        /// Reads a text in place; `nil` when it is none of an object, or has to be parsed as a whole.
        init?(_ text: UnsafeRawBufferPointer) {
            var (split, tools): (UnsafeRawBufferPointer?, UnsafeRawBufferPointer?) = (nil, nil)
            var speed: UnsafeRawBufferPointer?
            func tokens(_ text: UnsafeRawBufferPointer) -> Count { Count(text, maximum: UsageReader.maximumTokens) }
            let end = JSONMembers.visit(text, room: 32) { name, value in
                switch name.count {
                case 5 where name.equals("speed"): speed = value
                case 12 where name.equals("input_tokens"): self.input = tokens(value)
                case 13 where name.equals("output_tokens"): self.output = tokens(value)
                case 14 where name.equals("cache_creation"): split = value
                case 15 where name.equals("server_tool_use"): tools = value
                case 23 where name.equals("cache_read_input_tokens"): self.cacheRead = tokens(value)
                case 27 where name.equals("cache_creation_input_tokens"): self.cacheWrite = tokens(value)
                default: break
                }
            }
            guard end == text.count else { return nil }
            if let speed { self.isFast = speed.equals("\"fast\"") || (try? JSONValue(parsing: Array(speed))) == "fast" }
            if let split, split.first == UInt8(ascii: "{") {
                let end = JSONMembers.visit(split) { name, value in
                    if name.equals("ephemeral_5m_input_tokens") { self.cacheWrite5m = tokens(value) }
                    if name.equals("ephemeral_1h_input_tokens") { self.cacheWrite1h = tokens(value) }
                }
                guard end != nil else { return nil }
            }
            if let tools, tools.first == UInt8(ascii: "{") {
                let end = JSONMembers.visit(tools) { name, value in
                    if name.equals("web_search_requests") {
                        self.webSearches = Count(value, maximum: UsageReader.maximumWebSearches)
                    }
                }
                guard end != nil else { return nil }
            }
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
        if case .known(let count) = members.webSearches { partial.webSearches = max(partial.webSearches, count) }
        if place != .delta { partial.isFast = members.isFast }
        return true
    }

    private struct Counts {
        let nullKeeps: Bool
        var areUsable = true

        init(nullKeeps: Bool) {
            self.nullKeeps = nullKeeps
        }

        mutating func read(_ count: Count) -> Int? {
            switch count {
            case .missing: return nil
            case .known(let count): return count
            case .null where self.nullKeeps: return nil
            case .null, .unusable:
                self.areUsable = false
                return nil
            }
        }
    }
}
