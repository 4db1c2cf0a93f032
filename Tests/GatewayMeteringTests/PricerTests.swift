// SPDX-License-Identifier: Apache-2.0

import GatewayCore
import Testing

@testable import GatewayMetering

@Suite("Prices of requests")
struct PricerTests {
    private func settings(
        _ rows: [(upstream: String, model: String, rates: PricingSettings.Rates)] = [], multiplier: Double = 1,
        unknownModel: PricingSettings.Rates? = nil
    ) -> PricingSettings {
        var settings = PricingSettings()
        settings.multiplier = multiplier
        settings.overrides = rows.map {
            PricingSettings.Override(upstream: $0.upstream, model: $0.model, rates: $0.rates)
        }
        settings.unknownModel = unknownModel
        return settings
    }

    private func rates(
        _ input: Double, _ output: Double = 1, cacheRead: Double = 1, cacheWrite: Double = 1,
        cacheWrite1h: Double? = nil, fastFactor: Double? = nil, webSearch: Double? = nil
    ) -> PricingSettings.Rates {
        var rates = PricingSettings.Rates(input: input, output: output, cacheRead: cacheRead, cacheWrite: cacheWrite)
        rates.cacheWrite1h = cacheWrite1h
        rates.fastFactor = fastFactor
        rates.webSearch = webSearch
        return rates
    }

    /// A catalogue of one model.
    @Sendable private static func canonical(_ name: String) -> String {
        let name = name.lowercased()
        let spellings = ["us.anthropic.claude-sonnet-4-6", "claude-sonnet-4-6@20260101", "claude-sonnet-4-6-20260101"]
        return spellings.contains(name) ? "claude-sonnet-4-6" : name
    }

    private func usage(
        _ input: Int = 0, _ output: Int = 0, read: Int = 0, write: Int = 0, hour: Int = 0, searches: Int = 0,
        fast: Bool = false
    ) -> TokenUsage {
        var usage = TokenUsage(input: input, output: output)
        usage.cacheRead = read
        usage.cacheWrite5m = write
        usage.cacheWrite1h = hour
        usage.webSearches = searches
        usage.isFast = fast
        return usage
    }

    private func list(_ model: String) throws -> Price {
        try #require(ListPrices.price(of: model))
    }

    private func nanodollars(_ usage: TokenUsage, _ price: Price, multiplier: Double = 1) -> Int64 {
        Pricer(self.settings(multiplier: multiplier)).cost(usage, price).nanodollars
    }

    // MARK: Amounts

    @Test("are exact")
    func exact() throws {
        let sonnet = try self.list("claude-sonnet-4-6")
        #expect(self.nanodollars(self.usage(1000, 500), sonnet) == 10_500_000)
        #expect(self.nanodollars(self.usage(1), sonnet) == 3000)
        #expect(self.nanodollars(self.usage(0, 1), sonnet) == 15000)
        #expect(self.nanodollars(self.usage(read: 1), sonnet) == 300)
        #expect(self.nanodollars(self.usage(write: 1), sonnet) == 3750)
        #expect(self.nanodollars(self.usage(hour: 1), sonnet) == 6000)
        #expect(self.nanodollars(self.usage(7, 11, read: 13, write: 17, hour: 19), sonnet) == 367_650)
        #expect(self.nanodollars(self.usage(), sonnet) == 0)
        // Each of these is inexact as a binary fraction of a cent.
        var sum = Money.zero
        for _ in 0..<1000 { sum += Pricer(self.settings()).cost(self.usage(1000, 500), sonnet) }
        #expect(sum == Money(cents: 1050))
    }

    @Test("of web searches are a cent each, in fast mode and with long prompts too")
    func webSearches() throws {
        #expect(self.nanodollars(self.usage(searches: 1), ListPrices.unknown) == 10_000_000)
        #expect(self.nanodollars(self.usage(searches: 3, fast: true), try self.list("claude-opus-4-6")) == 30_000_000)
        let haiku = try self.list("claude-haiku-5-5")
        #expect(self.nanodollars(self.usage(100_001, searches: 2), haiku) == 5 * 100_001 * 100 + 20_000_000)
        #expect(self.nanodollars(self.usage(searches: 10), haiku, multiplier: 0.5) == 50_000_000)
    }

    @Test("in fast mode")
    func fast() throws {
        let usage = self.usage(100, 10, read: 20, write: 30, hour: 40, fast: true)
        // 100 × 30 + 10 × 150 + 20 × 3 + 30 × 37.5 + 40 × 60 dollars for a million.
        #expect(self.nanodollars(usage, try self.list("claude-opus-4-6")) == 8_085_000)
        #expect(self.nanodollars(usage, try self.list("claude-opus-4-7")) == 8_085_000)
        #expect(self.nanodollars(usage, try self.list("claude-opus-4-8")) == 2_695_000)
        #expect(self.nanodollars(usage, try self.list("claude-opus-4-5")) == 1_347_500)
        #expect(self.nanodollars(usage, ListPrices.unknown) == 1_347_500)
        var slow = usage
        slow.isFast = false
        #expect(self.nanodollars(slow, try self.list("claude-opus-4-6")) == 1_347_500)
    }

    @Test("with a long prompt, from one token above the threshold")
    func longPrompt() throws {
        let haiku = try self.list("claude-haiku-5-5")
        #expect(self.nanodollars(self.usage(100_000, 1000), haiku) == 10_500_000)
        #expect(self.nanodollars(self.usage(100_001, 1000), haiku) == 52_500_500)
        // All parts of the prompt count, the output does not.
        #expect(self.nanodollars(self.usage(25_000, 1, read: 25_000, write: 25_000, hour: 25_000), haiku) == 10_875_500)
        #expect(self.nanodollars(self.usage(25_001, 1, read: 25_000, write: 25_000, hour: 25_000), haiku) == 54_378_000)
        #expect(self.nanodollars(self.usage(1, 200_000), haiku) == 100_000_100)
        #expect(self.nanodollars(self.usage(100_001, 1000), haiku, multiplier: 0.5) == 26_250_250)
    }

    @Test("are rounded half up, once")
    func rounding() {
        func price(_ picodollars: Int64) -> Price {
            let rate = Rate(picodollars: picodollars)
            return Price(input: rate, output: rate, cacheWrite5m: rate, cacheWrite1h: rate, cacheRead: rate)
        }
        #expect(self.nanodollars(self.usage(1), price(499)) == 0)
        #expect(self.nanodollars(self.usage(1), price(500)) == 1)
        #expect(self.nanodollars(self.usage(1, 1, read: 1, write: 1, hour: 1), price(499)) == 2)
        #expect(self.nanodollars(self.usage(1), price(999), multiplier: 0.5) == 0)
        #expect(self.nanodollars(self.usage(1), price(1000), multiplier: 0.5) == 1)
    }

    @Test("stop at the largest amount, and never fall below zero")
    func limits() {
        let rate = Rate(picodollars: .max)
        var price = Price(input: rate, output: rate, cacheWrite5m: rate, cacheWrite1h: rate, cacheRead: rate)
        price.fastFactor = 6
        price.longPrompt = Price.LongPrompt(threshold: 0, factor: 5)
        let usage = self.usage(.max, .max, read: .max, write: .max, hour: .max, searches: .max, fast: true)
        #expect(self.nanodollars(usage, price, multiplier: 10) == .max)
        #expect(
            Pricer(self.settings()).worstCase(promptTokens: .max, maximumOutput: .max, price).nanodollars == .max)
        #expect(self.nanodollars(self.usage(-5, -5, read: -5, searches: -5), price) == 0)
        #expect(self.nanodollars(self.usage(-1000, 500), ListPrices.unknown) == 12_500_000)
    }

    @Test("take the multiplier in billionths")
    func multiplier() {
        #expect(self.nanodollars(self.usage(1_000_000), ListPrices.unknown, multiplier: 0.8) == 4_000_000_000)
        #expect(self.nanodollars(self.usage(1_000_000), ListPrices.unknown, multiplier: 1.000000001) == 5_000_000_005)
        #expect(self.nanodollars(self.usage(1_000_000), ListPrices.unknown, multiplier: 10) == 50_000_000_000)
    }

    @Test("at worst")
    func worstCase() throws {
        let pricer = Pricer(self.settings())
        // Prompt at the rate of writes for an hour.
        #expect(
            pricer.worstCase(promptTokens: 1000, maximumOutput: 500, try self.list("claude-sonnet-4-6")).nanodollars
                == 13_500_000)
        #expect(
            pricer.worstCase(promptTokens: 1000, maximumOutput: 500, try self.list("claude-opus-4-6")).nanodollars
                == 135_000_000)
        let haiku = try self.list("claude-haiku-5-5")
        #expect(pricer.worstCase(promptTokens: 100_000, maximumOutput: 0, haiku).nanodollars == 20_000_000)
        #expect(pricer.worstCase(promptTokens: 100_001, maximumOutput: 1, haiku).nanodollars == 100_003_500)
        #expect(
            Pricer(self.settings(multiplier: 0.5)).worstCase(promptTokens: 100_000, maximumOutput: 0, haiku)
                .nanodollars == 10_000_000)
        for model in ListPricesTests.published.flatMap(\.models) {
            let price = try self.list(model)
            let worst = pricer.worstCase(promptTokens: 120_000, maximumOutput: 900, price)
            for fast in [false, true] {
                #expect(pricer.cost(self.usage(120_000, 900, fast: fast), price) <= worst)
                #expect(pricer.cost(self.usage(0, 900, hour: 120_000, fast: fast), price) <= worst)
                #expect(pricer.cost(self.usage(1, 9, read: 60_000, write: 59_999, fast: fast), price) <= worst)
            }
        }
    }

    // MARK: Overrides

    @Test("follow an override and the multiplier, as measured at the reference")
    func measured() {
        let row = self.rates(30, 150, cacheRead: 3, cacheWrite: 37.5)
        let pricer = Pricer(self.settings([("anthropic", "claude-sonnet-4-6", row)], multiplier: 0.5))
        let price = pricer.price(
            upstream: "anthropic", upstreamModel: "claude-sonnet-4-6", modelID: "claude-sonnet-4-6"
        ).price
        func cents(_ usage: TokenUsage) -> String { pricer.cost(usage, price).cents() }
        #expect(cents(self.usage(100_000)) == "150")
        #expect(cents(self.usage(0, 100_000)) == "750")
        #expect(cents(self.usage(read: 100_000)) == "15")
        #expect(cents(self.usage(write: 100_000)) == "187.5")
        #expect(cents(self.usage(hour: 100_000)) == "187.5")
        #expect(cents(self.usage(searches: 10)) == "5")
    }

    @Test("lose fast mode and long prompts with an override")
    func overrideReplaces() {
        let pricer = Pricer(
            self.settings([
                ("a", "claude-opus-4-6", self.rates(2)), ("a", "claude-haiku-5-5", self.rates(2)),
                ("a", "full", self.rates(2, cacheWrite1h: 7, fastFactor: 1.5, webSearch: 0.025)),
            ]))
        func price(_ model: String) -> Price { pricer.price(upstream: "a", upstreamModel: model, modelID: model).price }
        #expect(pricer.cost(self.usage(1000, fast: true), price("claude-opus-4-6")).nanodollars == 2_000_000)
        #expect(pricer.cost(self.usage(200_000), price("claude-haiku-5-5")).nanodollars == 400_000_000)
        #expect(price("claude-opus-4-6").fastFactor == 1)
        #expect(price("claude-haiku-5-5").longPrompt == nil)
        #expect(price("claude-haiku-5-5").webSearch == Money(cents: 1))
        let full = price("full")
        #expect(pricer.cost(self.usage(1000, fast: true), full).nanodollars == 3_000_000)
        #expect(pricer.cost(self.usage(hour: 1000), full).nanodollars == 7_000_000)
        #expect(pricer.cost(self.usage(write: 1000), full).nanodollars == 1_000_000)
        #expect(pricer.cost(self.usage(searches: 2, fast: true), full).nanodollars == 50_000_000)
        #expect(pricer.worstCase(promptTokens: 1000, maximumOutput: 0, full).nanodollars == 10_500_000)
    }

    @Test(
        "find the override",
        arguments: [
            // The string sent upstream, the model's id, and the input rate that applies.
            ("claude-sonnet-4-6", "claude-sonnet-4-6", 11),
            ("us.anthropic.claude-sonnet-4-6", "claude-sonnet-4-6", 11),
            ("claude-sonnet-4-6@20260101", "my-sonnet", 11),
            ("CLAUDE-SONNET-4-6", "x", 11),
            ("some-deployment", "CUSTOM", 12),
            ("Opaque-Dep", "claude-haiku-4-5", 13),
            // What is sent upstream comes first.
            ("opaque-dep", "custom", 13),
            // As written before another spelling.
            ("claude-sonnet-4-6-20260101", "claude-sonnet-4-6", 14),
            ("us.anthropic.claude-sonnet-4-6", "custom", 12),
            // Without a row.
            ("claude-opus-4-8", "claude-opus-4-8", 5),
        ])
    func finds(_ upstreamModel: String, _ modelID: String, _ dollars: Int64) {
        let pricer = Pricer(
            self.settings([
                ("a", "claude-sonnet-4-6-20260101", self.rates(14)), ("a", "Claude-Sonnet-4-6", self.rates(11)),
                ("a", "custom", self.rates(12)), ("a", "OPAQUE-dep", self.rates(13)),
                ("a", "custom", self.rates(99)), ("b", "claude-opus-4-8", self.rates(98)),
            ]), canonical: Self.canonical)
        let found = pricer.price(upstream: "a", upstreamModel: upstreamModel, modelID: modelID)
        #expect(found.price.input.picodollars == dollars * 1_000_000)
        #expect(found.isKnown)
    }

    @Test("find an override that names another spelling")
    func otherSpelling() {
        let pricer = Pricer(
            self.settings([("a", "us.anthropic.claude-sonnet-4-6", self.rates(11))]), canonical: Self.canonical)
        for model in ["claude-sonnet-4-6", "claude-sonnet-4-6@20260101", "US.anthropic.claude-sonnet-4-6"] {
            let found = pricer.price(upstream: "a", upstreamModel: model, modelID: "x")
            #expect(found.price.input.picodollars == 11_000_000)
        }
        #expect(
            pricer.price(upstream: "b", upstreamModel: "claude-sonnet-4-6", modelID: "x").price
                == ListPrices.price(of: "claude-sonnet-4-6"))
    }

    @Test("fall back: what is sent, the model's id, the configured default, the built-in default")
    func fallback() {
        let plain = Pricer(self.settings())
        let sent = plain.price(upstream: "a", upstreamModel: "claude-haiku-4-5", modelID: "claude-opus-4-8")
        #expect(sent.price == ListPrices.price(of: "claude-haiku-4-5"))
        #expect(sent.isKnown)
        let id = plain.price(upstream: "a", upstreamModel: "opaque-dep", modelID: "claude-haiku-4-5")
        #expect(id.price == ListPrices.price(of: "claude-haiku-4-5"))
        #expect(id.isKnown)
        let unknown = plain.price(upstream: "a", upstreamModel: "gpt-5", modelID: "t-74")
        #expect(unknown.price == ListPrices.unknown)
        #expect(!unknown.isKnown)
        let row = self.rates(40, 41, cacheRead: 42, cacheWrite: 43)
        let configured = Pricer(self.settings(unknownModel: row))
        let chosen = configured.price(upstream: "a", upstreamModel: "gpt-5", modelID: "t-74")
        #expect(chosen.isKnown)
        #expect(
            chosen.price
                == Price(
                    input: Rate(dollarsPerMillion: 40), output: Rate(dollarsPerMillion: 41),
                    cacheWrite5m: Rate(dollarsPerMillion: 43), cacheWrite1h: Rate(dollarsPerMillion: 43),
                    cacheRead: Rate(dollarsPerMillion: 42)))
        #expect(
            configured.price(upstream: "a", upstreamModel: "claude-opus-5", modelID: "x").price
                == ListPrices.price(of: "claude-opus-5"))
    }
}
