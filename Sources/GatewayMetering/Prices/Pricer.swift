// SPDX-License-Identifier: Apache-2.0

package import GatewayCore

/// Finds the price of a model at an upstream and computes what an answer costs, exactly, in whole nano-dollars.
package final class Pricer: Sendable {
    private struct Key: Hashable {
        let upstream: String
        /// In lower case.
        let model: String
    }

    /// Rows by the model as written.
    private let exact: [Key: Price]
    /// Rows by the built-in model that they name.
    private let builtIn: [Key: Price]
    private let unknownModel: Price?
    private let multiplier: Price.Factor
    private let canonical: @Sendable (String) -> String

    /// Of two rows for the same model at the same upstream, the first counts.
    ///
    /// - Parameter canonical: The lower-cased id of the built-in model that the string names in any spelling, or the
    ///   lower-cased string itself.
    package init(
        _ settings: PricingSettings, canonical: @escaping @Sendable (String) -> String = { $0.lowercased() }
    ) {
        var exact: [Key: Price] = [:]
        var builtIn: [Key: Price] = [:]
        var others: [Key: Price] = [:]
        for row in settings.overrides {
            let price = Price(row.rates)
            let key = Key(upstream: row.upstream, model: row.model.lowercased())
            let name = Key(upstream: row.upstream, model: canonical(row.model))
            if exact[key] == nil { exact[key] = price }
            // A row that names the model by its own id wins over one that names a dated form.
            if key == name {
                if builtIn[name] == nil { builtIn[name] = price }
            } else if others[name] == nil {
                others[name] = price
            }
        }
        self.exact = exact
        self.builtIn = builtIn.merging(others) { own, _ in own }
        self.unknownModel = settings.unknownModel.map { Price($0) }
        self.multiplier = Price.Factor(settings.multiplier)
        self.canonical = canonical
    }

    /// The price of a model at an upstream: the override row, the list price of what is sent upstream, that of the
    /// model's id, the configured price of unknown models, the built-in price of unknown models.
    ///
    /// - Parameters:
    ///   - upstream: The upstream's name.
    ///   - upstreamModel: The string sent upstream.
    ///   - modelID: The model's id at this gateway.
    /// - Returns: `isKnown` is false when only the built-in price of unknown models was left.
    package func price(upstream: String, upstreamModel: String, modelID: String) -> (price: Price, isKnown: Bool) {
        let listed =
            self.override(upstream, upstreamModel, modelID)
            ?? ListPrices.price(of: upstreamModel)
            ?? ListPrices.price(of: modelID)
            ?? self.unknownModel
        return (listed ?? ListPrices.unknown, listed != nil)
    }

    /// The row of `pricing.overrides` that applies, if any does.
    package func override(_ upstream: String, _ upstreamModel: String, _ modelID: String) -> Price? {
        if self.exact.isEmpty { return nil }
        for model in [upstreamModel, modelID] {
            if let price = self.exact[Key(upstream: upstream, model: model.lowercased())] { return price }
        }
        for model in [upstreamModel, modelID] {
            if let price = self.builtIn[Key(upstream: upstream, model: self.canonical(model))] { return price }
        }
        return nil
    }

    /// What an answer costs. Rounded half up, once; beyond what fits, the largest amount. Negative counts are zero.
    package func cost(_ usage: TokenUsage, _ price: Price) -> Money {
        let prompt: [(tokens: Int, rate: Rate)] = [
            (usage.input, price.input), (usage.cacheWrite5m, price.cacheWrite5m),
            (usage.cacheWrite1h, price.cacheWrite1h), (usage.cacheRead, price.cacheRead),
        ]
        return self.total(
            prompt, output: usage.output, fast: usage.isFast ? price.fastFactor : 1, webSearches: usage.webSearches,
            price)
    }

    /// The most that a request can cost without web searches: all of its prompt at the dearest rate, all of the output
    /// that it allows, in fast mode where the model has one.
    package func worstCase(promptTokens: Int, maximumOutput: Int, _ price: Price) -> Money {
        let dearest = max(price.input, price.cacheWrite5m, price.cacheWrite1h, price.cacheRead)
        return self.total(
            [(promptTokens, dearest)], output: maximumOutput, fast: max(price.fastFactor, 1), webSearches: 0, price)
    }

    private func total(
        _ prompt: [(tokens: Int, rate: Rate)], output: Int, fast: Price.Factor, webSearches: Int, _ price: Price
    ) -> Money {
        var tokens: Int128 = 0
        var picodollars: Int128 = 0
        for part in prompt {
            tokens.add(Int128(max(0, part.tokens)))
            picodollars.add(Self.product(part.tokens, part.rate, fast))
        }
        picodollars.add(Self.product(output, price.output, fast))
        if let long = price.longPrompt, tokens > Int128(long.threshold) {
            picodollars.multiply(by: Int128(long.factor))
        }
        // A nano-dollar is 1,000 picodollars.
        picodollars.add(Int128(max(0, webSearches)) * Int128(price.webSearch.nanodollars) * 1000)
        picodollars.multiply(by: Int128(self.multiplier.billionths))
        let unit = Int128(Price.Factor.perUnit) * 1000
        picodollars.add(unit / 2)
        return Money(nanodollars: Int64(clamping: picodollars / unit))
    }

    /// Picodollars. The rate in fast mode is rounded to whole picodollars, which changes nothing for whole factors.
    private static func product(_ tokens: Int, _ rate: Rate, _ fast: Price.Factor) -> Int128 {
        guard tokens > 0 else { return 0 }
        let unit = Int128(Price.Factor.perUnit)
        var product = (Int128(rate.picodollars) * Int128(fast.billionths) + unit / 2) / unit
        product.multiply(by: Int128(tokens))
        return product
    }
}

extension Price {
    /// An override row: without fast mode and long prompts unless it has rates for them.
    fileprivate init(_ rates: PricingSettings.Rates) {
        self.init(
            input: Rate(dollarsPerMillion: rates.input), output: Rate(dollarsPerMillion: rates.output),
            cacheWrite5m: Rate(dollarsPerMillion: rates.cacheWrite),
            cacheWrite1h: Rate(dollarsPerMillion: rates.cacheWrite1h ?? rates.cacheWrite),
            cacheRead: Rate(dollarsPerMillion: rates.cacheRead), fastFactor: Factor(rates.fastFactor ?? 1))
        if let dollars = rates.webSearch {
            self.webSearch = Money(nanodollars: Int64(clamping: dollars, times: Double(Money.perDollar)))
        }
    }
}

extension Int128 {
    /// Both are positive. Stops at the largest integer instead of trapping.
    fileprivate mutating func add(_ other: Int128) {
        let (sum, overflows) = self.addingReportingOverflow(other)
        self = overflows ? .max : sum
    }

    /// Both are positive. Stops at the largest integer instead of trapping.
    fileprivate mutating func multiply(by other: Int128) {
        let (product, overflows) = self.multipliedReportingOverflow(by: other)
        self = overflows ? .max : product
    }
}
