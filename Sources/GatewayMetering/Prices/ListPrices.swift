// SPDX-License-Identifier: Apache-2.0

package import GatewayCore

/// What one token costs, in whole picodollars: one US dollar for a million tokens is 1,000,000 of them.
package struct Rate: Sendable, Hashable, Comparable {
    package let picodollars: Int64

    package init(picodollars: Int64) {
        self.picodollars = picodollars
    }

    /// - Parameter dollars: US dollars for a million tokens, rounded to picodollars a token; below zero counts as zero.
    package init(dollarsPerMillion dollars: Double) {
        self.picodollars = Int64(clamping: dollars, times: 1_000_000)
    }

    package static func < (left: Rate, right: Rate) -> Bool {
        left.picodollars < right.picodollars
    }
}

/// What a model costs.
package struct Price: Sendable, Equatable {
    /// A number to multiply by, in whole billionths.
    package struct Factor: Sendable, Hashable, Comparable, ExpressibleByIntegerLiteral {
        package static let perUnit: Int64 = 1_000_000_000

        package let billionths: Int64

        package init(integerLiteral value: Int64) {
            let (billionths, overflows) = value.multipliedReportingOverflow(by: Self.perUnit)
            self.billionths = overflows ? .max : billionths
        }

        /// - Parameter value: Rounded to billionths; below zero counts as zero.
        package init(_ value: Double) {
            self.billionths = Int64(clamping: value, times: 1_000_000_000)
        }

        package static func < (left: Factor, right: Factor) -> Bool {
            left.billionths < right.billionths
        }
    }

    /// Higher rates for long prompts: from one token above the threshold, every rate times the factor.
    package struct LongPrompt: Sendable, Equatable {
        /// Tokens of the prompt, those from and to the cache included.
        package let threshold: Int
        package let factor: Int

        package init(threshold: Int, factor: Int) {
            self.threshold = threshold
            self.factor = factor
        }
    }

    package var input: Rate
    package var output: Rate
    /// Writing to the cache for five minutes.
    package var cacheWrite5m: Rate
    /// Writing to the cache for an hour.
    package var cacheWrite1h: Rate
    package var cacheRead: Rate
    /// Applied to every rate of an answer in fast mode; 1 when the model has no such mode.
    package var fastFactor: Factor
    package var longPrompt: LongPrompt?
    /// One web search. Neither fast mode nor a long prompt makes it dearer.
    package var webSearch: Money

    package init(
        input: Rate, output: Rate, cacheWrite5m: Rate, cacheWrite1h: Rate, cacheRead: Rate, fastFactor: Factor = 1,
        longPrompt: LongPrompt? = nil, webSearch: Money = Money(cents: 1)
    ) {
        self.input = input
        self.output = output
        self.cacheWrite5m = cacheWrite5m
        self.cacheWrite1h = cacheWrite1h
        self.cacheRead = cacheRead
        self.fastFactor = fastFactor
        self.longPrompt = longPrompt
        self.webSearch = webSearch
    }
}

/// The list prices as of 2026-11-23.
///
/// Source: <https://platform.claude.com/docs/en/about-claude/pricing>.
package enum ListPrices {
    private struct Row {
        /// What a model's name contains, in lower case.
        let fragment: [UInt8]
        let price: Price

        /// - Parameters: US dollars for a million tokens.
        init(
            _ fragment: String, _ input: Double, _ output: Double, _ cacheWrite5m: Double, _ cacheWrite1h: Double,
            _ cacheRead: Double, fast: Price.Factor = 1, longPrompt: Price.LongPrompt? = nil
        ) {
            self.fragment = Array(fragment.utf8)
            self.price = Price(
                input: Rate(dollarsPerMillion: input), output: Rate(dollarsPerMillion: output),
                cacheWrite5m: Rate(dollarsPerMillion: cacheWrite5m),
                cacheWrite1h: Rate(dollarsPerMillion: cacheWrite1h),
                cacheRead: Rate(dollarsPerMillion: cacheRead), fastFactor: fast, longPrompt: longPrompt)
        }
    }

    /// US dollars for a million tokens: input, output, cache write (5 minutes), cache write (1 hour), cache read.
    private static let table = [
        Row("claude-fable-5-2", 8, 40, 10, 16, 0.2, fast: 2),
        Row("claude-mythos-5-2", 8, 40, 10, 16, 0.2, fast: 2),
        Row("claude-fable-5-1", 10, 50, 12.5, 20, 0.25),
        Row("claude-mythos-5-1", 10, 50, 12.5, 20, 0.25),
        Row("claude-fable-5", 10, 50, 12.5, 20, 1),
        Row("claude-mythos-5", 10, 50, 12.5, 20, 1),
        Row("claude-opus-5-5", 4, 20, 5, 8, 0.2, fast: 2),
        Row("claude-opus-5", 5, 25, 6.25, 10, 0.5, fast: 2),
        Row("claude-opus-4-8", 5, 25, 6.25, 10, 0.5, fast: 2),
        Row("claude-opus-4-7", 5, 25, 6.25, 10, 0.5, fast: 6),
        Row("claude-opus-4-6", 5, 25, 6.25, 10, 0.5, fast: 6),
        Row("claude-opus-4-5", 5, 25, 6.25, 10, 0.5),
        Row("claude-opus-4-1", 15, 75, 18.75, 30, 1.5),
        Row("claude-opus-4-0", 15, 75, 18.75, 30, 1.5),
        Row("claude-opus-4", 15, 75, 18.75, 30, 1.5),
        Row("claude-sonnet-5-5", 2, 10, 2.5, 4, 0.1),
        Row("claude-sonnet-5", 2, 10, 2.5, 4, 0.2),
        Row("claude-sonnet-4-6", 3, 15, 3.75, 6, 0.3),
        Row("claude-sonnet-4-5", 3, 15, 3.75, 6, 0.3),
        Row("claude-sonnet-4-0", 3, 15, 3.75, 6, 0.3),
        Row("claude-sonnet-4", 3, 15, 3.75, 6, 0.3),
        Row("claude-3-7-sonnet", 3, 15, 3.75, 6, 0.3),
        Row("claude-3-5-sonnet", 3, 15, 3.75, 6, 0.3),
        Row(
            "claude-haiku-5-5", 0.1, 0.5, 0.125, 0.2, 0.01,
            longPrompt: Price.LongPrompt(threshold: 100_000, factor: 5)),
        Row("claude-haiku-4-5", 1, 5, 1.25, 2, 0.1),
        Row("claude-3-5-haiku", 0.8, 4, 1, 1.6, 0.08),
    ]

    /// The price of a model that the table does not know.
    package static let unknown = Row("", 5, 25, 6.25, 10, 0.5).price

    /// The list price of a model in any spelling: dated, with a region, as an ARN, in capitals. The version is exact:
    /// `claude-opus-5-1` is not priced as `claude-opus-5`.
    ///
    /// - Returns: `nil` for an unknown model.
    package static func price(of model: String) -> Price? {
        let name = Array(model.lowercased().utf8)
        var found: Row?
        for row in self.table where row.fragment.count > found?.fragment.count ?? 0 {
            if Self.contains(name, row.fragment) { found = row }
        }
        return found?.price
    }

    private static func contains(_ name: [UInt8], _ fragment: [UInt8]) -> Bool {
        guard name.count >= fragment.count else { return false }
        return (0...(name.count - fragment.count)).contains { start in
            name[start...].starts(with: fragment) && !Self.isLongerVersion(name[(start + fragment.count)...])
        }
    }

    /// Whether what follows a fragment makes it another version: a digit, or a separator and one or two digits. More
    /// digits are a date.
    private static func isLongerVersion(_ rest: ArraySlice<UInt8>) -> Bool {
        guard let first = rest.first else { return false }
        func isDigit(_ byte: UInt8) -> Bool { (0x30...0x39).contains(byte) }
        if isDigit(first) { return true }
        guard first == UInt8(ascii: "-") || first == UInt8(ascii: ".") || first == UInt8(ascii: "_") else {
            return false
        }
        return (1...2).contains(rest.dropFirst().prefix(while: isDigit).count)
    }
}

extension Int64 {
    /// The rounded product; zero where it is negative or no number, the largest integer where it does not fit.
    init(clamping value: Double, times unit: Double) {
        let product = (value * unit).rounded()
        guard product > 0 else {
            self = 0
            return
        }
        self = Int64(exactly: product) ?? .max
    }
}
