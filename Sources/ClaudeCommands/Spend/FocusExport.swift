// SPDX-License-Identifier: Apache-2.0

internal import GatewayClient
internal import GatewayCore

/// A report in the columns of FOCUS 1.2, the FinOps Open Cost and Usage Specification,
/// <https://focus.finops.org/focus-specification/v1-2/>: all mandatory columns and those conditional and recommended
/// ones that the gateway has something to say in, then columns of its own, whose names begin with `x_`.
///
/// A row is one developer's use of one model through one upstream on one day. Such a row sums several meters (input,
/// output, cache), so that its quantity is tokens of all kinds and there is no unit price. The gateway knows one
/// amount, which follows from its price list and `pricing`; it stands in all four cost columns, and the provider's
/// invoice may differ. A developer is a sub account, and a billing group is a tag.
struct FocusExport {
    /// What the rows must be split by.
    static let dimensions: [SpendDimension] = [.day, .user, .model, .upstream, .billingGroup]

    let report: SpendReport
    /// The gateway's host and port, which stands for the billing account.
    let account: String

    /// - Parameter url: The gateway's.
    init(_ report: SpendReport, url: String) {
        self.report = report
        self.account = WebURL(url)?.authority ?? url
    }

    /// Comma-separated values; a null is an empty field.
    var csv: String {
        CommaSeparatedValues.text([Self.columns.map(\.name)] + self.report.rows.map(self.record))
    }

    private func record(_ row: SpendRow) -> [String?] {
        Self.columns.map { $0.value(row, self.account) }
    }

    // MARK: Columns

    private struct Column: Sendable {
        let name: String
        /// From the row and the billing account.
        let value: @Sendable (SpendRow, String) -> String?
    }

    /// The specification's columns in alphabetic order, as it allows, and the gateway's own behind them.
    private static let columns: [Column] =
        standardColumns.sorted { $0.name < $1.name } + [
            Column(name: "x_Upstream") { row, _ in row.keys[.upstream] },
            Column(name: "x_Requests") { row, _ in String(row.requests) },
            Column(name: "x_InputTokens") { row, _ in String(row.input) },
            Column(name: "x_OutputTokens") { row, _ in String(row.output) },
            Column(name: "x_CacheReadTokens") { row, _ in String(row.cacheRead) },
            Column(name: "x_CacheWriteFiveMinuteTokens") { row, _ in String(row.cacheWrite5m) },
            Column(name: "x_CacheWriteOneHourTokens") { row, _ in String(row.cacheWrite1h) },
            Column(name: "x_WebSearchRequests") { row, _ in String(row.webSearches) },
        ]

    private static let standardColumns: [Column] = {
        let cost: @Sendable (SpendRow, String) -> String? = { row, _ in row.cost.dollars() }
        let tokens: @Sendable (SpendRow, String) -> String? = { row, _ in String(row.tokens) }
        let provider: @Sendable (SpendRow, String) -> String? = { row, _ in Origin(row).provider }
        func always(_ text: String?) -> @Sendable (SpendRow, String) -> String? { { _, _ in text } }
        return [
            Column(name: "BilledCost", value: cost),
            Column(name: "BillingAccountId") { _, account in account },
            Column(name: "BillingAccountName") { _, account in "Claude gateway \(account)" },
            Column(name: "BillingCurrency", value: always("USD")),
            Column(name: "BillingPeriodEnd") { row, _ in
                row.day.map { Self.time(SpendPeriod.monthly.reset(after: $0.start)) }
            },
            Column(name: "BillingPeriodStart") { row, _ in
                row.day.map { Self.time(SpendPeriod.monthly.start(of: $0.start)) }
            },
            Column(name: "ChargeCategory", value: always("Usage")),
            // Null says that the row corrects nothing that has been invoiced.
            Column(name: "ChargeClass", value: always(nil)),
            Column(name: "ChargeDescription") { row, _ in
                "\(row.keys[.model] ?? "An unknown model") by way of \(row.keys[.upstream] ?? "an unknown upstream")"
            },
            Column(name: "ChargeFrequency", value: always("Usage-Based")),
            Column(name: "ChargePeriodEnd") { row, _ in
                row.day.map { Self.time(CivilDate(day: $0.day + 1).start) }
            },
            Column(name: "ChargePeriodStart") { row, _ in row.day.map { Self.time($0.start) } },
            Column(name: "ConsumedQuantity", value: tokens),
            Column(name: "ConsumedUnit", value: always("Tokens")),
            Column(name: "ContractedCost", value: cost),
            Column(name: "EffectiveCost", value: cost),
            Column(name: "InvoiceIssuerName", value: provider),
            Column(name: "ListCost", value: cost),
            Column(name: "PricingQuantity", value: tokens),
            Column(name: "PricingUnit", value: always("Tokens")),
            Column(name: "ProviderName", value: provider),
            Column(name: "PublisherName", value: always("Anthropic")),
            // The gateway does not book where an upstream has computed.
            Column(name: "RegionId", value: always(nil)),
            Column(name: "ResourceId") { row, _ in row.keys[.model] },
            // Must not repeat ResourceId, and a model has no other name here.
            Column(name: "ResourceName", value: always(nil)),
            Column(name: "ResourceType") { row, _ in row.keys[.model] == nil ? nil : "Model" },
            Column(name: "ServiceCategory", value: always("AI and Machine Learning")),
            Column(name: "ServiceName") { row, _ in Origin(row).service },
            Column(name: "ServiceSubcategory", value: always("Generative AI")),
            Column(name: "SkuId") { row, _ in row.keys[.model] },
            Column(name: "SkuMeter") { row, _ in row.keys[.model] == nil ? nil : "Tokens" },
            Column(name: "SubAccountId") { row, _ in row.keys[.user] },
            Column(name: "SubAccountName") { row, _ in row.email },
            Column(name: "Tags") { row, _ in
                row.keys[.billingGroup].map { JSONValue.object(["billing_group": .string($0)]).text() }
            },
        ]
    }()

    /// The specification's form of a moment, without fractions: `2026-11-25T00:00:00Z`.
    private static func time(_ time: Timestamp) -> String {
        String(time.description.prefix(19)) + "Z"
    }

    /// Who sells what, by the name of the upstream: names are the kind's unless the operator has chosen others, which
    /// mostly begin with the kind's (`bedrock-eu`).
    private struct Origin {
        let provider: String
        let service: String

        private static let known: [(kind: String, provider: String, service: String)] = [
            ("anthropicAws", "AWS", "Claude Platform on AWS"),
            ("anthropicGoogleCloud", "Google Cloud", "Claude Platform on Google Cloud"),
            ("anthropic", "Anthropic", "Claude API"),
            ("bedrock", "AWS", "Amazon Bedrock"),
            ("mantle", "AWS", "Amazon Bedrock"),
            ("vertex", "Google Cloud", "Vertex AI"),
            ("foundry", "Microsoft", "Microsoft Foundry"),
        ]

        init(_ row: SpendRow) {
            let upstream = row.keys[.upstream] ?? ""
            let match = Self.known.first { entry in
                upstream.hasPrefix(entry.kind) && upstream.dropFirst(entry.kind.count).first?.isLetter != true
            }
            self.provider = match?.provider ?? (upstream.isEmpty ? "Unknown" : upstream)
            self.service = match?.service ?? "Claude models"
        }
    }
}
