// SPDX-License-Identifier: Apache-2.0

import CommandLineSyntax
import GatewayCore
import Testing

@testable import ClaudeCommands

@Suite("Spend on the command line")
struct SpendFormatTests {
    private static let now = Timestamp(rfc3339: "2026-11-25T14:03:00Z")!

    // MARK: Amounts

    @Test(
        "reads dollars as people write them",
        arguments: [
            ("12", 12_000_000_000), ("12.5", 12_500_000_000), ("0.005", 5_000_000), ("$1,000", 1_000_000_000_000),
            ("$1,234,567.89", 1_234_567_890_000_000), (" 3 ", 3_000_000_000), ("0", 0), ("1000", 1_000_000_000_000),
        ])
    func dollars(_ text: String, _ nanodollars: Int64) {
        #expect(Money(dollars: text) == Money(nanodollars: nanodollars))
    }

    @Test(
        "takes nothing else for an amount",
        arguments: [
            "", "$", "-1", "+1", "1e3", "1,00", "10,0000", ",100", "1.", ".5", "1.2.3", "12 USD", "€5", "one", "1_000",
            "0.0000000001", "99999999999", "１２",
        ])
    func badDollars(_ text: String) {
        #expect(Money(dollars: text) == nil)
    }

    @Test(
        "shows dollars with cents, and less than a cent with up to four places",
        arguments: [
            ("0", "$0.00"), ("1234", "$12.34"), ("123456789", "$1,234,567.89"), ("100000", "$1,000.00"),
            ("1", "$0.01"), ("0.5", "$0.005"), ("0.42", "$0.0042"), ("0.004", "<$0.0001"), ("1.5", "$0.02"),
            ("99.4", "$0.99"), ("-250", "-$2.50"), ("1234.5678901", "$12.35"),
        ])
    func shownDollars(_ cents: String, _ text: String) {
        #expect(Money(cents: cents)?.text == text)
    }

    @Test("takes no other text for cents", arguments: ["", "1.", "x", "1.23456789", "--1", "99999999999999999999"])
    func badCents(_ text: String) {
        #expect(Money(cents: text) == nil)
    }

    @Test("parts thousands in counts")
    func counts() {
        let texts = [0, 999, 1000, 1_234_567, -1000].map(\.groupedByThousands)
        #expect(texts == ["0", "999", "1,000", "1,234,567", "-1,000"])
    }

    // MARK: Days

    @Test(
        "reads spans of days in UTC",
        arguments: [
            (nil, nil, "2026-11-01", "2026-11-25"), ("2026-11-03", nil, "2026-11-03", "2026-11-25"),
            ("2026-10-03", "2026-10-05", "2026-10-03", "2026-10-05"), ("7d", nil, "2026-11-19", "2026-11-25"),
            ("1d", nil, "2026-11-25", "2026-11-25"), ("today", nil, "2026-11-25", "2026-11-25"),
            ("yesterday", "yesterday", "2026-11-24", "2026-11-24"), ("week", nil, "2026-11-23", "2026-11-25"),
            ("last-week", "last-week", "2026-11-16", "2026-11-22"),
            ("last-month", "last-month", "2026-10-01", "2026-10-31"), ("last-month", nil, "2026-10-01", "2026-11-25"),
            ("month", "2099-01-01", "2026-11-01", "2026-11-25"),
        ] as [(String?, String?, String, String)])
    func ranges(_ from: String?, _ to: String?, _ first: String, _ last: String) throws {
        let range = try SpendRange(from: from, to: to, now: Self.now)
        #expect((range.first.description, range.last.description) == (first, last))
        #expect(range.end.description.hasSuffix("T00:00:00.000Z"))
    }

    @Test("crosses the turn of a year")
    func turnOfTheYear() throws {
        let range = try SpendRange(from: "last-month", to: "last-month", now: Timestamp(rfc3339: "2027-01-01")!)
        #expect(range.description == "2026-12-01 to 2026-12-31")
        #expect(range.days == 31)
    }

    @Test(
        "refuses what is no span of days, and says what one looks like",
        arguments: [
            (["--from", "2026-02-30"], "--from takes YYYY-MM-DD, today, yesterday, 7d"),
            (["--from", "0d"], "not '0d'"), (["--to", "soon"], "--to takes YYYY-MM-DD"),
            (["--from", "2099-01-01"], "is in the future"),
            (["--from", "today", "--to", "2020-01-01"], "--to 2020-01-01 is before --from"),
        ])
    func badRanges(_ arguments: [String], _ text: String) async {
        let result = await runProgram(["spend"] + arguments, environment: Self.nobody)
        #expect(result.code == .usage)
        #expect(result.err.contains(text), "\(result.err)")
    }

    // MARK: The command line

    private static var nobody: [String: String] { ["CLAUDE_GATEWAY_HOME": "/nonexistent-\(RandomToken.make())"] }

    @Test(
        "says what to write instead",
        arguments: [
            (["spend", "--by", "modle"], "Did you mean model?"),
            (["spend", "--by", "day,,user"], "--by takes day, model, user, group, upstream, billing-group, not ''"),
            (["spend", "--user", "a", "--org"], "--user and --org exclude each other"),
            (["spend", "--group", " "], "--group needs a name"),
            (["spend", "--format", "xml"], "--format takes one of table, json, csv, focus"),
            (["spend", "--format", "csv", "--json"], "--json and --format csv exclude each other"),
            (["spend", "--chart", "--json"], "--chart is for tables"),
            (["spend", "--format", "focus", "--by", "user"], "Leave out --by"),
            (["spend", "limits", "set", "--org", "--amount", "5"], "which period?"),
            (["spend", "limits", "set", "--period", "monthly", "--amount", "5"], "whose limit?"),
            (["spend", "limits", "set", "--org", "--period", "monthly"], "how much?"),
            (
                ["spend", "limits", "set", "--org", "--period", "monthly", "--amount", "12 USD"],
                "--amount takes dollars, such as 12, 12.50 or 1,000, not '12 USD'."
            ),
            (
                ["spend", "limits", "set", "--org", "--period", "monthly", "--amount", "0.005"],
                "--amount takes whole cents, such as 12.34, not '0.005'."
            ),
            (
                ["spend", "limits", "set", "--org", "--period", "monthly", "--amount", "1", "--unlimited"],
                "--amount and --unlimited exclude each other"
            ),
            (
                ["spend", "limits", "set", "--user", "u", "--period", "monthly", "--pool", "1"],
                "--pool belongs to a group's monthly limit"
            ),
            (
                ["spend", "limits", "set", "--group", "g", "--period", "daily", "--pause-pool"],
                "--pause-pool belongs to a group's monthly limit"
            ),
            (
                [
                    "spend", "limits", "set", "--group", "g", "--period", "monthly", "--pause-pool", "--resume-pool",
                ], "--pause-pool and --resume-pool exclude each other"
            ),
            (["spend", "limits", "set", "--org", "--period", "year"], "--period takes one of daily, weekly, monthly"),
            (["spend", "limits", "delete"], "which limit?"),
            (["spend", "limits", "delete", "x", "--org"], "which limit?"),
            (["spend", "limits", "delete", "x", "--period", "daily"], "--period goes with a scope"),
            (["spend", "limits", "delete", "--org"], "which period?"),
            (["spend", "limits", "audit", "--limit", "0"], "--limit takes a positive number"),
            (["spend", "request", "--reason", "x"], "how much?"), (["spend", "request", "--amount", "5"], "what for?"),
            (["spend", "requests", "approve"], "ID is missing"),
            (["spend", "requests", "approve", "a", "--until", "soon"], "--until takes YYYY-MM-DD"),
            (["spend", "requests", "approve", "a", "--until", "2020-01-01"], "is over"),
            (["spend", "requests", "approve", "a", "--until", "7d", "--permanent"], "exclude each other"),
            (["spend", "requests", "list", "--status", "new"], "--status takes one of pending"),
        ])
    func usage(_ arguments: [String], _ text: String) async {
        let result = await runProgram(arguments, environment: Self.nobody)
        #expect(result.code == .usage, "\(result.err)")
        #expect(result.err.contains(text), "\(result.err)")
    }

    @Test("says how to come by the right")
    func rights() async {
        let own = await runProgram(["spend"], environment: Self.nobody)
        #expect(own.code == .notSignedIn)
        #expect(own.err == "claude: Not signed in. Run claude login.\n")
        let admin = await runProgram(["spend", "limits", "list"], environment: Self.nobody)
        #expect(admin.code == .notSignedIn)
        #expect(admin.err == "claude: Not signed in. Run claude login. Or set CLAUDE_GATEWAY_ADMIN_KEY.\n")
        let key = Self.nobody.merging(["CLAUDE_GATEWAY_ADMIN_KEY": "secret-key"]) { $1 }
        let nowhere = await runProgram(["spend", "--org"], environment: key)
        #expect(nowhere.code == .usage)
        #expect(nowhere.err.contains("set CLAUDE_GATEWAY_URL"))
        let nobody = await runProgram(["spend"], environment: key)
        #expect(nobody.code == .notSignedIn)
        #expect(nobody.err.contains("has no spend and no requests of its own"))
        let odd = await runProgram(
            ["spend", "--org"], environment: ["CLAUDE_GATEWAY_ADMIN_KEY": "secret\r\nhost: x"])
        #expect(odd.code == .usage)
        for text in [nowhere, nobody, odd] { #expect(!(text.out + text.err).contains("secret")) }
    }

    @Test("reads how long a grant is to last")
    func deadlines() throws {
        func deadline(_ text: String) throws -> String? {
            try Invocation(path: [], options: ["until": [text]], arguments: []).deadline("until", now: Self.now)?
                .description
        }
        #expect(try deadline("2d") == "2026-11-27T14:03:00.000Z")
        #expect(try deadline("12h") == "2026-11-26T02:03:00.000Z")
        #expect(try deadline("2026-11-25") == "2026-11-26T00:00:00.000Z")
    }

    // MARK: Tables

    @Test("lines columns up, also under wide characters, and keeps a row on its line")
    func table() {
        var table = TextTable([.left("NAME"), .right("COST"), .left("NOTE")])
        table.add(["a", "$1.00", ""])
        table.add(["日本", "$1,000.00", "x\ny"])
        table.add(["long-name", "$0.10", "z"])
        #expect(
            table.text() == """
                NAME            COST  NOTE
                a              $1.00
                日本       $1,000.00  x\\ny
                long-name      $0.10  z

                """)
    }

    @Test("draws bars to an eighth of a column, or with number signs")
    func bars() {
        #expect(BarChart.bar(1, width: 4, .blocks) == "████")
        #expect(BarChart.bar(0.5, width: 5, .blocks) == "██▌")
        #expect(BarChart.bar(0.0001, width: 5, .blocks) == "▏")
        #expect(BarChart.bar(0, width: 5, .blocks).isEmpty)
        #expect(BarChart.bar(1, width: 4, .plain) == "####")
        #expect(BarChart.bar(0.0001, width: 4, .plain) == "#")
        #expect(BarChart.bar(0.6, width: 10, .plain) == "######")
        #expect(BarChart.bar(.nan, width: 4, .plain).isEmpty)
    }

    private static func row(
        _ model: String?, _ cents: String, user: String? = nil, email: String? = nil, day: String? = nil,
        upstream: String? = nil, billingGroup: String? = nil,
    ) -> SpendRow {
        var row = SpendRow(day: day.flatMap { CivilDate($0) })
        row.keys[.model] = model
        row.keys[.user] = user
        row.keys[.upstream] = upstream
        row.keys[.billingGroup] = billingGroup
        row.email = email
        (row.requests, row.input, row.output, row.cacheRead) = (1200, 34_567, 890, 1_000_000)
        (row.cacheWrite5m, row.cacheWrite1h, row.webSearches) = (5, 6, 7)
        row.cost = Money(cents: cents)!
        return row
    }

    private static func report(_ rows: [SpendRow], by dimensions: [SpendDimension]) -> SpendReport {
        SpendReport(
            range: SpendRange(first: CivilDate("2026-11-01")!, last: CivilDate("2026-11-25")!), dimensions: dimensions,
            rows: rows, total: SpendRow.sum(rows))
    }

    @Test("shows a report as a table with its total")
    func reportTable() {
        let report = Self.report(
            [Self.row("claude-opus-4-8", "123456"), Self.row("claude-haiku-4-5", "0.42")], by: [.model])
        #expect(
            report.table() == """
                MODEL             REQUESTS   INPUT  OUTPUT  CACHE READ  CACHE WRITE       COST
                claude-opus-4-8      1,200  34,567     890   1,000,000           11  $1,234.56
                claude-haiku-4-5     1,200  34,567     890   1,000,000           11    $0.0042
                total                2,400  69,134   1,780   2,000,000           22  $1,234.56

                """)
    }

    @Test("shows a report as bars as wide as the terminal leaves")
    func reportChart() {
        let report = Self.report([Self.row("a", "100"), Self.row("b", "50"), Self.row("c", "0")], by: [.model])
        #expect(
            report.chart(.plain, width: 24) == """
                MODEL   COST
                a      $1.00  ##########
                b      $0.50  #####
                c      $0.00
                total  $1.50

                """)
        #expect(report.chart(.blocks, width: 30).contains("a      $1.00  ████████████████\n"))
    }

    @Test("writes comma-separated values with quotes where they are needed")
    func csv() {
        let report = Self.report(
            [
                Self.row("a,b", "1234.5678", user: "u-1", email: "a \"b\"@example.com", day: "2026-11-25"),
                Self.row("c\nd", "0", user: "u-2", day: "2026-11-25"),
            ], by: [.day, .user, .model])
        #expect(
            report.csv
                == [
                    "day,user_id,email,model,requests,uncached_input_tokens,output_tokens,cache_read_input_tokens,cache_creation_5m_input_tokens,cache_creation_1h_input_tokens,web_search_requests,cost_usd",
                    "2026-11-25,u-1,\"a \"\"b\"\"@example.com\",\"a,b\",1200,34567,890,1000000,5,6,7,12.345678",
                    "2026-11-25,u-2,,\"c\nd\",1200,34567,890,1000000,5,6,7,0.00", "",
                ].joined(separator: "\r\n"))
    }

    @Test("writes a report's rows as data with exact amounts")
    func reportJSON() throws {
        let json = JSONValue.object(
            Self.report([Self.row("m", "1234.5678901", user: "u-1")], by: [.user, .model]).json)
        #expect(json["starting_at"] == "2026-11-01T00:00:00.000Z")
        #expect(json["ending_at"] == "2026-11-26T00:00:00.000Z")
        #expect(
            json["rows"]?[0]?.text()
                == #"{"user_id":"u-1","email":null,"model":"m","requests":1200,"uncached_input_tokens":34567,"output_tokens":890,"cache_read_input_tokens":1000000,"cache_creation":{"ephemeral_5m_input_tokens":5,"ephemeral_1h_input_tokens":6},"server_tool_use":{"web_search_requests":7},"cost":{"amount":"1234.5678901","currency":"USD"}}"#
        )
        #expect(json["total"]?["cost"]?["amount"] == "1234.5678901")
    }

    // MARK: FOCUS

    /// <https://focus.finops.org/focus-specification/v1-2/>, the columns of feature level "Mandatory".
    private static let mandatory = [
        "BilledCost", "BillingAccountId", "BillingAccountName", "BillingCurrency", "BillingPeriodEnd",
        "BillingPeriodStart", "ChargeCategory", "ChargeClass", "ChargeDescription", "ChargePeriodEnd",
        "ChargePeriodStart", "ContractedCost", "EffectiveCost", "InvoiceIssuerName", "ListCost", "PricingQuantity",
        "PricingUnit", "ProviderName", "PublisherName", "ServiceCategory", "ServiceName",
    ]

    @Test("writes the columns of FOCUS 1.2")
    func focus() throws {
        let rows = [
            Self.row(
                "claude-opus-4-8", "1234.5", user: "u-1", email: "dev@example.com", day: "2026-12-31",
                upstream: "bedrock-eu", billingGroup: "eng"),
            Self.row("m", "0", user: "u-2", day: "2026-11-25", upstream: "anthropic"),
        ]
        let csv = FocusExport(
            Self.report(rows, by: FocusExport.dimensions), url: "https://claude.example.com:8443"
        ).csv
        let lines = csv.split(separator: "\r\n").map(String.init)
        #expect(lines.count == 3)
        let names = lines[0].split(separator: ",").map(String.init)
        for name in Self.mandatory { #expect(names.contains(name), "\(name)") }
        #expect(Set(names).count == names.count)
        let standard = names.filter { !$0.hasPrefix("x_") }
        #expect(standard == names.prefix(standard.count).sorted(), "the specification's columns come first")
        // The only quoted field, the tags, holds no comma.
        func record(_ index: Int) -> [String: String] {
            let fields = lines[index].split(separator: ",", omittingEmptySubsequences: false).map(String.init)
            #expect(fields.count == names.count)
            return Dictionary(uniqueKeysWithValues: zip(names, fields))
        }
        let first = record(1)
        for (name, value) in [
            "BilledCost": "12.345", "ListCost": "12.345", "ContractedCost": "12.345", "EffectiveCost": "12.345",
            "BillingAccountId": "claude.example.com:8443", "BillingCurrency": "USD",
            "BillingPeriodStart": "2026-12-01T00:00:00Z", "BillingPeriodEnd": "2027-01-01T00:00:00Z",
            "ChargePeriodStart": "2026-12-31T00:00:00Z", "ChargePeriodEnd": "2027-01-01T00:00:00Z",
            "ChargeCategory": "Usage", "ChargeClass": "", "ChargeFrequency": "Usage-Based",
            "ConsumedQuantity": "1035468", "ConsumedUnit": "Tokens", "PricingQuantity": "1035468",
            "ProviderName": "AWS", "PublisherName": "Anthropic", "InvoiceIssuerName": "AWS",
            "ServiceName": "Amazon Bedrock", "ServiceCategory": "AI and Machine Learning",
            "ServiceSubcategory": "Generative AI", "SkuId": "claude-opus-4-8", "SubAccountId": "u-1",
            "SubAccountName": "dev@example.com", "Tags": #""{""billing_group"":""eng""}""#, "RegionId": "",
            "x_Upstream": "bedrock-eu", "x_OutputTokens": "890",
        ] { #expect(first[name] == value, "\(name) is \(first[name] ?? "missing")") }
        let second = record(2)
        #expect(second["ProviderName"] == "Anthropic")
        #expect(second["Tags"]?.isEmpty == true)
        #expect(second["SubAccountName"]?.isEmpty == true)
        #expect(second["BilledCost"] == "0.00")
    }

    // MARK: The API's answers

    @Test("reads a developer's limits")
    func ownLimits() throws {
        let answer = """
            {"extra_usage":{"is_enabled":true,"monthly_limit":1000,"used_credits":312,"utilization":31,"currency":"USD"},
            "limits":[{"kind":"spend","group":"daily","percent":5,"resets_at":"2026-11-26T00:00:00.000Z",
            "severity":"normal","is_active":false},
            {"kind":"spend","group":"monthly","percent":31,"resets_at":"2026-12-01T00:00:00.000Z",
            "severity":"normal","is_active":true},
            {"kind":"group_pool","group":"eng","percent":80,"resets_at":"2026-12-01T00:00:00.000Z",
            "severity":"warning","is_active":false}]}
            """
        let limits = OwnLimits(try JSONValue(parsing: answer), now: Self.now)
        #expect(
            limits.table(now: Self.now) == """
                LIMIT        AMOUNT  SPENT   LEFT  USED  RESETS (UTC)
                daily                                5%  2026-11-26 00:00, in 9 h 57 min
                monthly      $10.00  $3.12  $6.88   31%  2026-12-01 00:00, in 5 d 9 h
                pool of eng                         80%  2026-12-01 00:00, in 5 d 9 h

                """)
        #expect(
            limits.json[1]?.text()
                == #"{"kind":"spend","period":"monthly","amount":"1000","currency":"USD","spent":"312","remaining":"688","percent":31,"resets_at":"2026-12-01T00:00:00.000Z","severity":"normal","is_active":true}"#
        )
        #expect(limits.json[0]?["amount"] == nil)
        #expect(limits.json[2]?["rbac_group_id"] == "eng")
    }

    @Test("reads the spend of a developer without limits")
    func noLimits() throws {
        let answer = """
            {"extra_usage":{"is_enabled":true,"monthly_limit":null,"used_credits":300,"utilization":null,
            "currency":"USD","daily":{"limit":null,"used_credits":100,"utilization":null},
            "weekly":{"limit":null,"used_credits":200,"utilization":null}},"limits":[]}
            """
        let limits = OwnLimits(try JSONValue(parsing: answer), now: Self.now)
        #expect(limits.rows.map(\.name) == ["daily", "weekly", "monthly"])
        #expect(limits.rows.map { $0.spent?.text } == ["$1.00", "$2.00", "$3.00"])
        #expect(limits.rows.allSatisfy { $0.amount == .unlimited })
        #expect(limits.json[0]?["amount"] == .null)
    }

    private static let request = """
        {"type":"spend_limit_increase_request","id":"slr_1","created_at":"2026-11-25T10:00:00.000Z","status":"pending",
        "user_id":"u-1","email":"dev@example.com","period":"monthly","current_amount":"1000","requested_amount":"5000",
        "granted_amount":null,"reason":"release","decided_at":null,"decided_by":null,"decision_reason":null,
        "expires_at":null}
        """

    @Test("tells how a request stands")
    func requests() throws {
        let pending = try JSONValue(parsing: Self.request)
        #expect(
            SpendRequestsCommands.sentence(pending)
                == "slr_1 is pending: dev@example.com asks for $50.00 monthly instead of $10.00")
        var object = try #require(pending.object)
        object["status"] = "approved"
        object["granted_amount"] = "4000"
        object["expires_at"] = "2026-12-01T00:00:00.000Z"
        #expect(
            SpendRequestsCommands.sentence(.object(object))
                == "slr_1 is approved: dev@example.com may spend $40.00 monthly until 2026-12-01 00:00 UTC")
        #expect(
            SpendRequestsListCommand.table([pending, .object(object)]).text() == """
                ID     CREATED (UTC)     USER             PERIOD      NOW   ASKED  GRANTED  STATUS    UNTIL (UTC)       REASON
                slr_1  2026-11-25 10:00  dev@example.com  monthly  $10.00  $50.00           pending                     release
                slr_1  2026-11-25 10:00  dev@example.com  monthly  $10.00  $50.00   $40.00  approved  2026-12-01 00:00  release

                """)
    }

    @Test("tells which alerts have arrived")
    func alerts() throws {
        let answer = try JSONValue(
            parsing: """
                [{"url":"https://a/hook","status":"delivered","http_status":200,"error":null,"duration_ms":12},
                {"url":"https://b/hook","status":"failed","http_status":null,"error":"timed out","duration_ms":5000}]
                """)
        #expect(
            SpendAlertsTestCommand.table(answer.array ?? []).text() == """
                RECEIVER        STATUS     HTTP     TIME  ERROR
                https://a/hook  delivered   200    12 ms
                https://b/hook  failed           5000 ms  timed out

                """)
    }

    @Test("tells what a change did")
    func auditChanges() throws {
        let row = try JSONValue(
            parsing: """
                {"target_id":"spl_1","before":{"id":"spl_1","scope":{"type":"rbac_group","rbac_group_id":"eng"},
                "amount":"5000","period":"monthly"},"after":{"id":"spl_1","scope":{"type":"rbac_group",
                "rbac_group_id":"eng"},"amount":null,"period":"monthly",
                "pooled_budget":{"amount":"100000","paused":true}}}
                """)
        #expect(
            SpendLimitsAuditCommand.change(row)
                == "group eng, monthly: $50.00 -> unlimited with pool $1,000.00, paused")
        #expect(SpendLimitsAuditCommand.change(["target_id": "slr_1", "before": .null, "after": ["x": 1]]) == "slr_1")
    }
}
