// SPDX-License-Identifier: Apache-2.0

import GatewayCore
import GatewayPolicy
import Testing

@Suite("Managed policies")
struct ManagedPolicyTests {
    private static func settings(_ text: String) -> JSONObject {
        guard case .object(let object)? = try? JSONValue(parsing: text) else { return [:] }
        return object
    }

    private static let base = settings(
        #"{"availableModels":["claude-sonnet-4-6"],"permissions":{"allow":["Grep"],"deny":["WebFetch"]},"env":{"X":"base","C":"1"}}"#
    )
    private static let a = settings(
        #"{"availableModels":["claude-opus-4-8"],"permissions":{"allow":["Read"],"deny":["Bash"]},"env":{"X":"a","A":"1"},"model":"opus"}"#
    )
    private static let b = settings(
        #"{"availableModels":["claude-haiku-4-5"],"permissions":{"allow":["Edit"],"deny":["Write"]},"env":{"X":"b","B":"1"},"cleanupPeriodDays":5}"#
    )

    private static func policies(_ mode: ManagedPolicies.Mode) -> ManagedPolicies {
        ManagedPolicies(
            policies: [
                .init(match: PolicyMatch(groups: ["a"]), settings: a),
                .init(match: PolicyMatch(groups: ["b"]), settings: b),
                .init(match: PolicyMatch(), settings: base),
                .init(match: PolicyMatch(groups: ["late"]), settings: ["model": "late"]),
            ], mode: mode)
    }

    private func served(_ policies: ManagedPolicies, groups: [String], email: String? = nil) -> String? {
        guard case .policy(let policy) = policies.outcome(for: Principal(subject: "s", email: email, groups: groups))
        else { return nil }
        return JSONValue.object(policy.settings).text()
    }

    @Test("merge the first that fits onto the base")
    func mergeTheFirst() {
        let want =
            #"{"availableModels":["claude-opus-4-8"],"permissions":{"allow":["Read"],"deny":["WebFetch","Bash"]},"env":{"X":"a","C":"1","A":"1"},"model":"opus"}"#
        #expect(self.served(Self.policies(.firstMatch), groups: ["b", "a"]) == want)
    }

    @Test("merge all that fit when layered, the earlier ones winning")
    func mergeLayers() {
        let want =
            #"{"availableModels":["claude-opus-4-8"],"permissions":{"allow":["Read"],"deny":["WebFetch","Write","Bash"]},"env":{"X":"a","C":"1","B":"1","A":"1"},"cleanupPeriodDays":5,"model":"opus"}"#
        #expect(self.served(Self.policies(.layered), groups: ["b", "a"]) == want)
    }

    @Test("end at the base: what stands behind it never applies")
    func endAtTheBase() {
        #expect(self.served(Self.policies(.firstMatch), groups: ["late"]) == JSONValue.object(Self.base).text())
        #expect(self.served(Self.policies(.layered), groups: ["late", "Late"]) == JSONValue.object(Self.base).text())
    }

    @Test("ask for groups and domain both")
    func askForBoth() {
        let policies = ManagedPolicies(policies: [
            .init(match: PolicyMatch(groups: ["g"], emailDomain: "example.com"), settings: ["model": "x"])
        ])
        #expect(self.served(policies, groups: ["g"], email: "a@b@EXAMPLE.com") != nil)
        #expect(self.served(policies, groups: ["G"], email: "a@example.com") == nil)
        #expect(self.served(policies, groups: ["g"], email: "a@sub.example.com") == nil)
        #expect(self.served(policies, groups: ["g"]) == nil)
    }

    @Test("of nobody's are told from policies that do not fit")
    func tellsNothingFromNoMatch() {
        let anyone = Principal(subject: "s")
        guard case .notConfigured = ManagedPolicies(policies: []).outcome(for: anyone) else {
            Issue.record("nothing is configured")
            return
        }
        let some = ManagedPolicies(
            policies: [.init(match: PolicyMatch(groups: ["g"]), settings: [:])], telemetry: ["A": "1"])
        guard case .unmatched = some.outcome(for: anyone) else {
            Issue.record("no policy fits")
            return
        }
    }

    @Test("hash to the published checksum of an empty document")
    func hashesEmptySettings() throws {
        let policies = ManagedPolicies(policies: [.init(match: PolicyMatch(), settings: [:])])
        guard case .policy(let policy) = policies.outcome(for: Principal(subject: "s")) else {
            Issue.record("no policy")
            return
        }
        #expect(policy.checksum == "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a")
        #expect(policy.isRequired == false)
    }

    @Test("put telemetry variables under their own, which win")
    func putTelemetryBelow() {
        let policies = ManagedPolicies(
            policies: [.init(match: PolicyMatch(), settings: ["env": ["OTEL_LOGS_EXPORTER": "none", "Z": "1"]])],
            telemetry: TelemetryVariables.make(endpoint: "https://gw", signals: (true, true, false)))
        #expect(
            self.served(policies, groups: [])
                == #"{"env":{"CLAUDE_CODE_ENABLE_TELEMETRY":"1","OTEL_METRICS_EXPORTER":"otlp","OTEL_LOGS_EXPORTER":"none","OTEL_TRACES_EXPORTER":"none","OTEL_EXPORTER_OTLP_ENDPOINT":"https://gw","OTEL_EXPORTER_OTLP_PROTOCOL":"http/protobuf","Z":"1"}}"#
        )
    }

    @Test("unite hooks event by event, without repeats")
    func unitesHooks() {
        let merged = SettingsMerge.merge(
            ["hooks": ["Stop": [["c": "base"], ["c": "new"]], "Start": [1]]],
            over: ["hooks": ["Stop": [["c": "base"]], "End": [2]]])
        #expect(
            JSONValue.object(merged).text() == #"{"hooks":{"Stop":[{"c":"base"},{"c":"new"}],"End":[2],"Start":[1]}}"#)
    }
}

@Suite("Model lists")
struct ModelAllowListTests {
    struct Row: Sendable {
        let list: [String]
        let allowed: [String]
        let denied: [String]
    }

    @Test(
        "allow by family, prefix or name",
        arguments: [
            Row(
                list: ["sonnet"],
                allowed: ["claude-sonnet-4-6", "us.anthropic.claude-sonnet-4-5-20250929-v1:0", "CLAUDE-SONNET-5"],
                denied: ["claude-opus-4-8"]),
            Row(
                list: ["claude-sonnet-4-5", "sonnet"], allowed: ["claude-sonnet-4-5", "claude-sonnet-4-5-20250929"],
                denied: ["claude-sonnet-4-6", "claude-sonnet-4-5@20250929"]),
            Row(
                list: ["claude-sonnet-4"],
                allowed: ["claude-sonnet-4-5@20250929", "claude-sonnet-4-6", "claude-sonnet-4"],
                denied: ["claude-sonnet-5", "claude-sonnet-45"]),
            Row(
                list: ["opus-4-8", " Claude-HAIKU-4-5[1m] "],
                allowed: ["claude-opus-4-8", "claude-haiku-4-5-20251001"],
                denied: ["claude-opus-4-7", "claude-opus-4-80"]),
            Row(
                list: ["claude-sonnet-4-5-20250929"], allowed: ["claude-sonnet-4-5-20250929"],
                denied: ["claude-sonnet-4-5"]),
            Row(
                list: ["us.anthropic.claude-opus-4-8"], allowed: ["us.anthropic.claude-opus-4-8"],
                denied: ["claude-opus-4-8"]),
            Row(list: [], allowed: [], denied: ["claude-opus-4-8", "sonnet"]),
            Row(list: ["best", "default", ""], allowed: [], denied: ["claude-opus-4-8"]),
        ])
    func allow(_ row: Row) {
        let list = ModelAllowList(row.list)
        for model in row.allowed { #expect(list.allows(model), "\(model)") }
        for model in row.denied { #expect(!list.allows(model), "\(model)") }
    }
}

@Suite("Access control")
struct AccessControlTests {
    private let control = AccessControl(
        allow: ["192.0.2.0/24", "2001:db8::/32", "127.0.0.0/8"].map { IPNetwork($0)! },
        deny: [IPNetwork("192.0.2.66")!],
        trustedProxies: ["127.0.0.1", "10.0.0.0/8"].map { IPNetwork($0)! })

    @Test(
        "finds the client behind trusted proxies",
        arguments: [
            ("192.0.2.1", "192.0.2.1"), ("203.0.113.9, 192.0.2.1", "192.0.2.1"), ("192.0.2.1, 10.1.1.1", "192.0.2.1"),
            ("[2001:DB8::1]:443", "2001:db8::1"), ("192.0.2.1:5", "192.0.2.1"), ("10.0.0.1", "127.0.0.1"),
            ("", "127.0.0.1"),
            ("rubbish, 192.0.2.9", "192.0.2.9"), ("192.0.2.4,,", "192.0.2.4"), ("::ffff:192.0.2.8", "192.0.2.8"),
        ])
    func findsTheClient(_ header: String, _ want: String) throws {
        let peer = try #require(IPAddress("127.0.0.1"))
        #expect(try self.control.client(peer: peer, forwardedFor: [header]).get().description == want)
    }

    @Test("believes nobody else's header")
    func believesNobodyElse() throws {
        let peer = try #require(IPAddress("203.0.113.5"))
        #expect(try self.control.client(peer: peer, forwardedFor: ["192.0.2.1"]).get() == peer)
    }

    @Test(
        "refuses a header that cannot be read", arguments: ["rubbish", "192.0.2.1, unknown", "192.0.2.1, 10.0.0.1, x"])
    func refusesUnreadable(_ header: String) throws {
        let peer = try #require(IPAddress("127.0.0.1"))
        guard case .failure = self.control.client(peer: peer, forwardedFor: [header]) else {
            Issue.record("was taken")
            return
        }
    }

    @Test("denies before it allows, and lets probes past the allow list only")
    func deniesFirst() throws {
        func refusal(_ text: String, probe: Bool = false) throws -> AccessControl.Refusal? {
            try self.control.refusal(of: #require(IPAddress(text)), isProbe: probe)
        }
        #expect(try refusal("192.0.2.1") == nil)
        #expect(try refusal("198.51.100.1") == .notAllowed)
        #expect(try refusal("198.51.100.1", probe: true) == nil)
        #expect(try refusal("192.0.2.66") == .denied)
        #expect(try refusal("192.0.2.66", probe: true) == .denied)
    }

    @Test(
        "reads entity tags as RFC 9110 writes them",
        arguments: [
            ("\"a\"", true), ("W/\"a\"", true), ("\"x\", \"a\"", true), ("\"A\"", false), ("a", false), ("*", false),
            ("", false), ("\"x", false),
        ])
    func readsEntityTags(_ header: String, _ isListed: Bool) {
        #expect(EntityTag.isListed("\"a\"", in: header) == isListed)
    }

    @Test(
        "knows Claude Desktop by its entry point",
        arguments: [
            ("claude-code/2.1.330 (external, claude-desktop)", true),
            ("claude-cli/2.1.330 (external, local-agent)", true),
            ("claude-code/2.1.330 (external, cli)", false), ("claude-desktop/1.9", false),
            ("Claude/1.9 Electron", false),
        ])
    func knowsDesktop(_ agent: String, _ isDesktop: Bool) {
        #expect(DesktopClient.isDesktop(userAgent: agent) == isDesktop)
    }
}
