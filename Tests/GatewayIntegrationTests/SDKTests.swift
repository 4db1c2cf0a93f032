// SPDX-License-Identifier: Apache-2.0

import GatewayConfig
import GatewayCore
import GatewayProviders
import GatewayServer
import TestSupport
import Testing

/// Anthropic's SDK as a client through each provider, and its own clients for the providers as a second opinion: what
/// the gateway sends must be what they send, and what a program gets to see must be what it sees without a gateway.
@Suite("The SDK", .enabled(if: Oracle.isThere, "scripts/test installs the SDK"), .serialized)
struct SDKTests {
    /// A provider as its configuration, the path that its own client adds to `base_url`, and the model's id there.
    struct Case: Sendable, CustomTestStringConvertible {
        let provider: String
        let keys: String
        var path = ""
        var model = "claude-haiku-4-5-20251001"
        var testDescription: String { self.provider }
    }

    static let cases = [
        Case(provider: "anthropic", keys: "auth: { api_key: key }"),
        Case(
            provider: "anthropicAws", keys: "region: us-east-1, workspace_id: ws, auth: { api_key: key }"),
        Case(
            provider: "anthropicGoogleCloud",
            keys: "project_id: p, workspace_id: ws, auth: { access_token: token }"),
        Case(
            provider: "bedrock", keys: "region: us-east-1, auth: { aws_bearer_token: token }",
            model: "us.anthropic.claude-haiku-4-5-20251001-v1:0"),
        Case(
            provider: "mantle", keys: "region: us-east-1, auth: { aws_bearer_token: token }", path: "/anthropic",
            model: "anthropic.claude-haiku-4-5"),
        Case(
            provider: "vertex", keys: "region: global, project_id: p, auth: { access_token: token }", path: "/v1",
            model: "claude-haiku-4-5@20251001"),
        Case(
            provider: "foundry", keys: "resource: r, auth: { api_key: key }", path: "/anthropic",
            model: "claude-haiku-4-5"),
    ]

    @Test("works through every provider as it does without a gateway", arguments: cases)
    func everyProvider(_ provider: Case) async throws {
        let direct = try await ScriptedServer { FakeModel(request: $0).answer }
        let native = try await Oracle.ask(
            "sdk.py", ["native", provider.provider, direct.url + provider.path, provider.model])
        let upstream = try await ScriptedServer { FakeModel(request: $0).answer }
        var report = ConfigReport()
        let yaml = "{ provider: \(provider.provider), base_url: \"\(upstream.url)\(provider.path)\", \(provider.keys) }"
        let node = try #require(YAMLReader.read(yaml, expanding: .skipping, into: &report))
        let settings = try #require(UpstreamSettings(node))
        try await withGateway(configure: { $0.upstreams = [settings] }) { gateway in
            let bearer = try await gateway.signIn().bearer
            let through = try await Oracle.ask("sdk.py", ["gateway", gateway.base, bearer, "claude-haiku-4-5"])
            for key in ["text", "image", "tools", "stream", "stream_message", "stream_tools"] {
                #expect(through[key] == native[key], "\(key)")
            }
            #expect(through["count"] == 7)
            let errors = (through["errors"]?.array ?? []).map { $0.text() }
            #expect(
                errors == [
                    #"[400,"invalid_request_error",null]"#,
                    #"[400,"invalid_request_error",null]"#,
                    #"[404,"not_found_error",null]"#, #"[404,"not_found_error",null]"#,
                    #"[413,"request_too_large",null]"#,
                    #"[413,"request_too_large",null]"#,
                    #"[429,"rate_limit_error","3"]"#,
                    #"[429,"rate_limit_error","3"]"#,
                    #"[529,"overloaded_error","3"]"#,
                    #"[529,"overloaded_error","3"]"#,
                ])
            #expect(through["broken"]?.string?.isEmpty == false)
            #expect(await eventually { upstream.hangUps > 0 })
            self.compare(upstream.seen, direct.seen)
        }
        await upstream.stop()
        await direct.stop()
    }

    private func compare(_ ours: [ScriptedServer.Seen], _ theirs: [ScriptedServer.Seen]) {
        // Bedrock's client of the SDK counts nowhere.
        let count = min(ours.count, theirs.count)
        #expect(count >= 17)
        for index in 0..<count {
            let (our, their) = (ours[index], theirs[index])
            #expect(our.method == their.method)
            #expect(
                self.decoded(our.target) == self.decoded(their.target).replacing("?beta=true", with: ""), "\(index)")
            for name in ["anthropic-version", "anthropic-beta", "content-type", "anthropic-workspace-id"] {
                // Bedrock and Vertex AI read some of them in the body.
                guard let expected = their.header(name), our.header(name) != nil || name != "anthropic-beta" else {
                    continue
                }
                #expect(our.header(name) == expected, "\(index) \(name)")
            }
            #expect(
                self.credential(our) == self.credential(their), "\(index)")
            #expect(self.sorted(our.body) == self.sorted(their.body), "\(index)")
        }
    }

    /// A key may travel in either header.
    private func credential(_ request: ScriptedServer.Seen) -> String? {
        request.header("x-api-key") ?? request.header("authorization")?.replacing("Bearer ", with: "")
    }

    private func decoded(_ target: String) -> String {
        FormCoding.unescape(Array(target.utf8), plusIsSpace: false)
    }

    /// The body without regard to the order of its keys.
    private func sorted(_ body: [UInt8]) -> String {
        func sort(_ value: JSONValue) -> JSONValue {
            switch value {
            case .object(let object):
                var sorted = JSONObject()
                for member in object.members.sorted(by: { $0.key < $1.key }) { sorted[member.key] = sort(member.value) }
                return .object(sorted)
            case .array(let list): return .array(list.map(sort))
            default: return value
            }
        }
        return (try? JSONValue(parsing: body)).map { sort($0).text() } ?? String(decoding: body, as: UTF8.self)
    }
}

/// A model provider that does what the last text of a request says, in the form that the request's path asks for.
struct FakeModel {
    let request: ScriptedServer.Seen

    private var isBedrock: Bool { self.request.target.range(of: "/model/") != nil }

    private static let start =
        #"{"type":"message_start","message":{"id":"msg_1","type":"message","role":"assistant","model":"m","content":[],"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":9,"output_tokens":1}}}"#

    private static func events(_ block: String, _ deltas: [String], stop: String) -> [String] {
        [self.start, #"{"type":"content_block_start","index":0,"content_block":\#(block)}"#, #"{"type":"ping"}"#]
            + deltas.map { #"{"type":"content_block_delta","index":0,"delta":\#($0)}"# } + [
                #"{"type":"content_block_stop","index":0}"#,
                #"{"type":"message_delta","delta":{"stop_reason":"\#(stop)","stop_sequence":null},"usage":{"output_tokens":5}}"#,
                #"{"type":"message_stop"}"#,
            ]
    }

    private static func message(_ block: String, stop: String) -> String {
        #"{"id":"msg_1","type":"message","role":"assistant","model":"m","content":[\#(block)],"stop_reason":"\#(stop)","stop_sequence":null,"usage":{"input_tokens":9,"output_tokens":5}}"#
    }

    private static let types = [
        400: "invalid_request_error", 404: "not_found_error", 413: "request_too_large", 429: "rate_limit_error",
        529: "overloaded_error",
    ]

    var answer: [ScriptedServer.Step] {
        let body = try? JSONValue(parsing: self.request.body)
        if self.request.target.range(of: "count") != nil {
            return [.answer(200, self.isBedrock ? #"{"inputTokens":7}"# : #"{"input_tokens":7}"#)]
        }
        let content = body?["messages"]?.array?.last?["content"]
        let say = content?.string ?? content?.array?.last?["text"]?.string ?? ""
        let streams =
            self.request.target.range(of: "stream") != nil && self.isBedrock || body?["stream"] == true
        if say.hasPrefix("status "), let status = Int(say.dropFirst(7)) {
            let type = Self.types[status] ?? "api_error"
            let error = #"{"type":"error","error":{"type":"\#(type)","message":"of account 123456789012"}}"#
            return [.answer(status, error, headers: status < 429 ? [] : [("retry-after", "3")])]
        }
        switch say {
        case "tools":
            let stop = "tool_use"
            let block = #"{"type":"tool_use","id":"toolu_1","name":"weather","input":{"city":"Zürich"}}"#
            guard streams else { return [.answer(200, Self.message(block, stop: stop))] }
            let begin = #"{"type":"tool_use","id":"toolu_1","name":"weather","input":{}}"#
            return self.stream(
                Self.events(
                    begin, [#"{"city":"#, #""Zürich"}"#].map(Self.partialJSON), stop: stop))
        case "break":
            return self.stream(
                Array(
                    Self.events(#"{"type":"text","text":""}"#, [#"{"type":"text_delta","text":"a"}"#], stop: "x")
                        .prefix(4)),
                then: [.reset])
        case "endless": return self.stream([Self.start, #"{"type":"ping"}"#], then: [.hang])
        default:
            guard streams else {
                return [.answer(200, Self.message(#"{"type":"text","text":"Grüße 👋"}"#, stop: "end_turn"))]
            }
            return self.stream(
                Self.events(
                    #"{"type":"text","text":""}"#,
                    ["Grü", "ße ", "👋"].map { #"{"type":"text_delta","text":"\#($0)"}"# }, stop: "end_turn"))
        }
    }

    private static func partialJSON(_ text: String) -> String {
        JSONValue.object(["type": "input_json_delta", "partial_json": .string(text)]).text()
    }

    private func stream(_ events: [String], then end: [ScriptedServer.Step] = [.lastChunk]) -> [ScriptedServer.Step] {
        let type = self.isBedrock ? "application/vnd.amazon.eventstream" : "text/event-stream"
        let head = ScriptedServer.Step.bytes(
            "HTTP/1.1 200 OK\r\ncontent-type: \(type)\r\ntransfer-encoding: chunked\r\n\r\n")
        let parts = events.map { event -> [UInt8] in
            if self.isBedrock { return EventStreamFrame.chunk(event) }
            let name = (try? JSONValue(parsing: Array(event.utf8)))?["type"]?.string ?? ""
            return Array("event: \(name)\ndata: \(event)\n\n".utf8)
        }
        return [head] + parts.map(ScriptedServer.Step.rawChunk) + end
    }
}
