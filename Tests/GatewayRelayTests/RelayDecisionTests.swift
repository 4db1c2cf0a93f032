// SPDX-License-Identifier: Apache-2.0

import GatewayCore
import GatewayPolicy
import GatewayProviders
import NIOCore
import Testing

@testable import GatewayRelay

@Suite("Failed attempts")
struct AttemptLedgerTests {
    private func verdict(_ statuses: [Int]) -> AttemptLedger.Verdict {
        var ledger = AttemptLedger(candidates: statuses.count)
        for (index, status) in statuses.enumerated() {
            ledger.record(
                FailedAttempt(upstream: "u\(index)", reason: status == 0 ? .noAnswer("gone") : .status(status)))
        }
        return ledger.verdict
    }

    /// The pairs that the contract's release was measured with.
    @Test(
        "are summed up by the most telling one",
        arguments: [
            ([429, 500], AttemptLedger.Verdict.answer(0)), ([500, 429], .answer(1)), ([429, 401], .answer(0)),
            ([401, 403], .answer(1)),
            ([404, 500], .answer(0)), ([501, 500], .answer(0)), ([404, 501], .answer(0)), ([403, 501], .answer(0)),
            ([500, 503], .allFailed),
            ([529, 529], .allFailed), ([529, 429], .answer(1)), ([0, 0], .allFailed), ([429, 429], .answer(1)),
        ])
    func areSummedUp(_ statuses: [Int], _ want: AttemptLedger.Verdict) {
        #expect(self.verdict(statuses) == want)
    }

    @Test("of a lone upstream keep its overload")
    func keepsALoneOverload() {
        #expect(self.verdict([529]) == .answer(0))
        #expect(self.verdict([503]) == .answer(0))
        #expect(self.verdict([500]) == .allFailed)
    }

    @Test("for the gateway's credential never look like the developer's")
    func hidesCredentialFailures() {
        #expect(self.verdict([401]) == .credentialRefused(0))
        #expect(self.verdict([403, 401]) == .credentialRefused(1))
    }

    @Test("are those that another upstream might mend")
    func moveOn() {
        for status in [206, 401, 403, 404, 429, 500, 529, 600, 999] {
            #expect(AttemptLedger.movesOn(status), "\(status)")
        }
        for status in [200, 201, 204, 301, 307, 400, 402, 405, 408, 413, 422, 451, 499] {
            #expect(!AttemptLedger.movesOn(status), "\(status)")
        }
    }
}

@Suite("Requests")
struct RequestShapeTests {
    @Test(
        "have exact paths, with dot segments resolved",
        arguments: [
            ("/v1/models?x=1", "/v1/models", "x=1"), ("/v1/../healthz", "/healthz", nil),
            ("/%2e%2E/healthz", "/healthz", nil),
            ("/./healthz", "/healthz", nil), ("/v1/models/", "/v1/models/", nil), ("//v1/models", "//v1/models", nil),
            ("/v1%2Fmodels", "/v1%2Fmodels", nil), ("http://evil/healthz", "/healthz", nil), ("http://evil", "/", nil),
            ("/a/b/..", "/a/", nil), ("/.well-known/x", "/.well-known/x", nil), ("*", "*", nil), ("/?", "/", ""),
        ])
    func havePaths(_ target: String, _ path: String, _ query: String?) {
        #expect(RequestTarget(target).path == path)
        #expect(RequestTarget(target).query == query)
    }

    @Test("keep every byte but the edited ones")
    func keepBytes() {
        var body = ByteBuffer(string: "skip0123456789")
        body.moveReaderIndex(forwardBy: 4)
        let edits = [
            BodyEdit(range: 2..<4, replacement: Array("AB!".utf8)),
            BodyEdit(range: 7..<7, replacement: Array("-".utf8)), BodyEdit(range: 9..<10, replacement: []),
        ]
        let out = BodySlices.apply(edits, to: body).map { String(buffer: $0) }.joined()
        #expect(out == "01AB!456-78")
        #expect(BodySlices.apply([], to: body) == [body])
    }
}

@Suite("Model requests")
struct InferenceDecisionTests {
    private static func upstream(_ name: String, models: [String]? = nil, groups: [String]? = nil) -> UpstreamSettings {
        UpstreamSettings(
            name: name, provider: AnthropicProvider(credential: .apiKey(Secret("k"))), baseURL: WebURL("http://h")!,
            models: models,
            groups: groups)
    }

    private func decide(
        _ scan: BodyScan, upstreams: [UpstreamSettings] = [upstream("a"), upstream("b", models: ["claude-haiku-4-5"])],
        eligible: [Int] = [0, 1], list: [String]? = nil,
    ) -> InferenceDecision {
        var settings: JSONObject = [:]
        settings["availableModels"] = list.map { .array($0.map(JSONValue.string)) }
        let policies = ManagedPolicies(policies: [.init(match: PolicyMatch(), settings: settings)])
        let principal = Principal(subject: "s")
        let caller = Caller(
            principal: principal, expiresAt: .max, outcome: policies.outcome(for: principal), upstreams: eligible)
        let catalog = ModelCatalog(custom: [], includesBuiltIns: true, upstreams: upstreams)
        return InferenceDecision.decide(scan, caller: caller, catalog: catalog, upstreams: upstreams)
    }

    private func scan(_ model: String) -> BodyScan {
        var scan = BodyScan()
        scan.model = .string(model)
        return scan
    }

    private func message(_ decision: InferenceDecision) -> String? {
        if case .refused(let envelope, _) = decision { envelope.message } else { nil }
    }

    @Test("go to the upstreams that serve the model, in order, under the id each takes")
    func goToUpstreams() {
        guard case .route(_, let candidates, let eligible) = self.decide(self.scan("claude-haiku-4-5")) else {
            Issue.record("refused")
            return
        }
        #expect(
            candidates == [
                .init(upstream: 0, model: "claude-haiku-4-5-20251001"),
                .init(upstream: 1, model: "claude-haiku-4-5-20251001"),
            ])
        #expect(eligible == 2)
        guard case .route(_, let only, _) = self.decide(self.scan("claude-opus-4-8")) else {
            Issue.record("refused")
            return
        }
        #expect(only.map(\.upstream) == [0])
    }

    @Test("are refused with a sentence for each upstream")
    func areRefused() {
        #expect(
            self.message(self.decide(self.scan("gpt-5"), eligible: [0]))
                == "model gpt-5 is not in the operator's model allowlist")
        #expect(
            self.message(self.decide(self.scan("claude-opus-4-8"), eligible: [1]))
                == "model claude-opus-4-8 is not served by upstream 'b'")
        #expect(self.message(self.decide(self.scan("claude-opus-4-8"), eligible: []))?.contains("group") == true)
        #expect(self.message(self.decide(BodyScan())) == "model is required")
        #expect(self.message(self.decide(self.scan(""))) == "model is required")
    }

    @Test("are held against the role's list, nested models too")
    func areHeldAgainstTheList() {
        var scan = self.scan("claude-haiku-4-5")
        #expect(self.message(self.decide(scan, list: ["haiku"])) == nil)
        scan.nestedModels = [.init(path: "fallbacks[0].model", model: "claude-opus-4-8")]
        #expect(
            self.message(self.decide(scan, list: ["haiku"]))
                == "fallbacks[0].model: model claude-opus-4-8 is not in your role's availableModels allowlist")
        scan.nestedModels = [.init(path: "x.model", model: nil)]
        #expect(self.message(self.decide(scan, list: ["haiku"]))?.hasPrefix("x.model: refused") == true)
        #expect(self.message(self.decide(scan)) == nil)
    }
}
