// SPDX-License-Identifier: Apache-2.0

import GatewayCore
import Testing

@testable import GatewayMetering

@Suite("List prices")
struct ListPricesTests {
    /// Picodollars a token, in the order input, output, cache write (5 minutes), cache write (1 hour), cache read.
    struct Expected: Sendable {
        let models: [String]
        let rates: [Int64]
    }

    /// Written down again, in other units, from the published table.
    static let published = [
        Expected(
            models: ["claude-fable-5-2", "claude-mythos-5-2"],
            rates: [8_000_000, 40_000_000, 10_000_000, 16_000_000, 200_000]),
        Expected(
            models: ["claude-fable-5-1", "claude-mythos-5-1"],
            rates: [10_000_000, 50_000_000, 12_500_000, 20_000_000, 250_000]),
        Expected(
            models: ["claude-fable-5", "claude-mythos-5"],
            rates: [10_000_000, 50_000_000, 12_500_000, 20_000_000, 1_000_000]),
        Expected(models: ["claude-opus-5-5"], rates: [4_000_000, 20_000_000, 5_000_000, 8_000_000, 200_000]),
        Expected(
            models: ["claude-opus-5", "claude-opus-4-8", "claude-opus-4-7", "claude-opus-4-6", "claude-opus-4-5"],
            rates: [5_000_000, 25_000_000, 6_250_000, 10_000_000, 500_000]),
        Expected(
            models: ["claude-opus-4-1", "claude-opus-4-0", "claude-opus-4", "claude-opus-4-20250514"],
            rates: [15_000_000, 75_000_000, 18_750_000, 30_000_000, 1_500_000]),
        Expected(models: ["claude-sonnet-5-5"], rates: [2_000_000, 10_000_000, 2_500_000, 4_000_000, 100_000]),
        Expected(models: ["claude-sonnet-5"], rates: [2_000_000, 10_000_000, 2_500_000, 4_000_000, 200_000]),
        Expected(
            models: [
                "claude-sonnet-4-6", "claude-sonnet-4-5", "claude-sonnet-4-0", "claude-sonnet-4",
                "claude-sonnet-4-20250514", "claude-3-7-sonnet", "claude-3-7-sonnet-20250219", "claude-3-5-sonnet",
                "claude-3-5-sonnet-20240620", "claude-3-5-sonnet-20241022",
            ],
            rates: [3_000_000, 15_000_000, 3_750_000, 6_000_000, 300_000]),
        Expected(models: ["claude-haiku-5-5"], rates: [100_000, 500_000, 125_000, 200_000, 10_000]),
        Expected(models: ["claude-haiku-4-5"], rates: [1_000_000, 5_000_000, 1_250_000, 2_000_000, 100_000]),
        Expected(models: ["claude-3-5-haiku"], rates: [800_000, 4_000_000, 1_000_000, 1_600_000, 80_000]),
    ]

    private func rates(_ price: Price) -> [Int64] {
        [price.input, price.output, price.cacheWrite5m, price.cacheWrite1h, price.cacheRead].map(\.picodollars)
    }

    @Test("are those published", arguments: Self.published)
    func table(_ expected: Expected) throws {
        for model in expected.models {
            let price = try #require(ListPrices.price(of: model), "\(model)")
            #expect(self.rates(price) == expected.rates, "\(model)")
            #expect(price.webSearch == Money(cents: 1), "\(model)")
        }
    }

    @Test("of unknown models")
    func unknownPrice() {
        #expect(self.rates(ListPrices.unknown) == [5_000_000, 25_000_000, 6_250_000, 10_000_000, 500_000])
        #expect(ListPrices.unknown.fastFactor == 1)
        #expect(ListPrices.unknown.longPrompt == nil)
        #expect(ListPrices.unknown.webSearch == Money(cents: 1))
    }

    @Test("have a fast mode where the model has one")
    func fast() {
        let factors: [String: Price.Factor] = [
            "claude-opus-4-6": 6, "claude-opus-4-7": 6, "claude-opus-4-8": 2, "claude-opus-5": 2, "claude-opus-5-5": 2,
            "claude-fable-5-2": 2, "claude-mythos-5-2": 2,
        ]
        for model in Self.published.flatMap(\.models) {
            #expect(ListPrices.price(of: model)?.fastFactor == factors[model] ?? 1, "\(model)")
        }
    }

    @Test("know long prompts of one model only")
    func longPrompts() {
        for model in Self.published.flatMap(\.models) {
            let expected = model == "claude-haiku-5-5" ? Price.LongPrompt(threshold: 100_000, factor: 5) : nil
            #expect(ListPrices.price(of: model)?.longPrompt == expected, "\(model)")
        }
        #expect(ListPrices.price(of: "us.anthropic.claude-haiku-5-5-v1:0")?.longPrompt?.factor == 5)
    }

    @Test(
        "recognise every spelling",
        arguments: [
            ("CLAUDE-OPUS-4-8", "claude-opus-4-8"),
            ("us.anthropic.claude-opus-4-8", "claude-opus-4-8"),
            ("claude-opus-4-8-fast", "claude-opus-4-8"),
            ("claude-opus-4-8[1m]", "claude-opus-4-8"),
            ("claude-opus-5-20260101", "claude-opus-5"),
            ("claude-opus-5@20260101", "claude-opus-5"),
            ("claude-opus-5-5-20260101", "claude-opus-5-5"),
            ("claude-opus-4-20250514", "claude-opus-4"),
            ("claude-opus-4-1-20250805", "claude-opus-4-1"),
            ("claude-fable-5-2@20260901", "claude-fable-5-2"),
            ("us.anthropic.claude-sonnet-4-6-v1:0", "claude-sonnet-4-6"),
            ("eu.anthropic.claude-sonnet-5", "claude-sonnet-5"),
            ("apac.anthropic.claude-sonnet-4-20250514-v1:0", "claude-sonnet-4"),
            ("global.anthropic.claude-haiku-4-5-20251001-v1:0", "claude-haiku-4-5"),
            ("us-gov.anthropic.claude-3-7-sonnet-20250219-v1:0", "claude-3-7-sonnet"),
            ("claude-3-5-sonnet-v2@20241022", "claude-3-5-sonnet"),
            ("anthropic.claude-3-5-haiku-20241022-v1:0", "claude-3-5-haiku"),
            ("claude-sonnet-4-5@20250929", "claude-sonnet-4-5"),
            ("anthropic/claude-sonnet-4-6", "claude-sonnet-4-6"),
            (
                "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.anthropic.claude-opus-4-7",
                "claude-opus-4-7"
            ),
            ("xclaude-haiku-4-5y", "claude-haiku-4-5"),
            ("claude-opus-5-1 claude-sonnet-5", "claude-sonnet-5"),
        ])
    func spellings(_ spelling: String, _ model: String) throws {
        let price = try #require(ListPrices.price(of: spelling))
        #expect(price == ListPrices.price(of: model))
    }

    @Test(
        "never use a neighbouring version",
        arguments: [
            "claude-opus-5-1", "claude-opus-5-1-20260101", "us.anthropic.claude-opus-5-1-v1:0", "claude-opus-5.1",
            "claude-opus-5-10", "claude-opus-5-50", "claude-opus-50", "claude-opus-4-9", "claude-opus-4-10",
            "claude-opus-4-80", "claude-opus-6", "claude-sonnet-5-1", "claude-sonnet-4-7", "claude-sonnet-4-8",
            "claude-sonnet-6", "claude-haiku-5", "claude-haiku-4-6", "claude-haiku-4-5-1", "claude-haiku-4",
            "claude-3-opus", "claude-3-sonnet", "claude-3-haiku", "claude-2.1", "claude-instant-1.2", "claude-fable",
            "claude-fable-5-3", "claude-mythos", "claude-mythos-preview", "claude-mythos-5-5", "claude-epic-5", "opus",
            "sonnet", "haiku", "gpt-5", "",
        ])
    func neighbours(_ model: String) {
        #expect(ListPrices.price(of: model) == nil)
    }

    @Test("are whole numbers after construction")
    func rounding() {
        #expect(Rate(dollarsPerMillion: 0.1).picodollars == 100_000)
        #expect(Rate(dollarsPerMillion: 0.0000005).picodollars == 1)
        #expect(Rate(dollarsPerMillion: 10_000).picodollars == 10_000_000_000)
        #expect(Rate(dollarsPerMillion: -1).picodollars == 0)
        #expect(Rate(dollarsPerMillion: .nan).picodollars == 0)
        #expect(Rate(dollarsPerMillion: .infinity).picodollars == .max)
        #expect(Rate(dollarsPerMillion: 1e300).picodollars == .max)
        #expect(Price.Factor(0.1).billionths == 100_000_000)
        #expect(Price.Factor(6) == 6)
    }
}
