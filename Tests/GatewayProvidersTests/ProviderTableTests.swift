// SPDX-License-Identifier: Apache-2.0

import Foundation
import GatewayConfig
import GatewayCore
import GatewayProviders
import Testing

/// What each provider receives for one and the same request. `docs/providers.md` shows the table; with
/// `GATEWAY_WRITE_DOCS` set, this test writes it.
@Suite("What providers receive")
struct ProviderTableTests {
    private struct Text: BodyReading {
        let text: [UInt8]
        var count: Int { self.text.count }
        func bytes(_ range: Range<Int>) -> [UInt8] { Array(self.text[range]) }
    }

    private static let body =
        #"{"model":"claude-haiku-4-5","max_tokens":9,"stream":true,"messages":[],"tags":{"a":"b"},"n":12345678901234567890}"#

    private static func members(_ text: String) -> [BodyMember] {
        let keys: [(String, BodyMember.Key)] = [
            ("model", .model), ("max_tokens", .maximumTokens), ("stream", .stream), ("messages", .other),
            ("tags", .tags), ("n", .other),
        ]
        var members: [BodyMember] = []
        for (index, (name, key)) in keys.enumerated() {
            let start = text.range(of: "\"\(name)\":")!.lowerBound.utf16Offset(in: text)
            let end =
                index + 1 < keys.count
                ? text.range(of: ",\"\(keys[index + 1].0)\":")!.lowerBound.utf16Offset(in: text) : text.utf8.count - 1
            members.append(BodyMember(key: key, range: start..<end, value: start + name.count + 3..<end))
        }
        return members
    }

    private static let files: [(String, String)] = [
        ("anthropic", "{ provider: anthropic, auth: { api_key: KEY } }"),
        ("anthropicAws", "{ provider: anthropicAws, region: us-east-1, workspace_id: ws, auth: { api_key: KEY } }"),
        ("anthropicGoogleCloud", "{ provider: anthropicGoogleCloud, project_id: p, workspace_id: ws }"),
        ("bedrock", "{ provider: bedrock, region: eu-west-1 }"),
        ("mantle", "{ provider: mantle, region: us-east-1, models: [claude-haiku-4-5] }"),
        ("vertex", "{ provider: vertex, region: global, project_id: p }"),
        ("foundry", "{ provider: foundry, resource: my-res, auth: { api_key: KEY } }"),
    ]

    private static func table() throws -> String {
        var out = "| provider | request | body | credential |\n| --- | --- | --- | --- |\n"
        for (name, yaml) in self.files {
            var report = ConfigReport()
            let node = try #require(YAMLReader.read(yaml, expanding: .skipping, into: &report))
            let upstream = try #require(UpstreamSettings(node))
            let model = try #require(
                upstream.provider.modelID(of: BuiltInModel.spelled("claude-haiku-4-5")!, upstream))
            let call = InboundCall(
                endpoint: .messages, query: "?beta=true",
                headers: FieldBlock([("anthropic-beta", "b-1"), ("user-agent", "claude-cli/2")]),
                model: "claude-haiku-4-5",
                modelRanges: [9..<27], streams: true, members: self.members(self.body),
                body: Text(text: Array(self.body.utf8)), principal: Principal(subject: "s"), requestID: RequestID())
            let request = try upstream.provider.request(for: call, upstreamModel: model, upstream)
            let sent = request.body ?? BodyEditor.apply(request.edits, to: Text(text: Array(self.body.utf8)))
            let credential: String
            switch request.authorization {
            case .awsV4(let service, let region): credential = "AWS Signature V4, service `\(service)`, \(region)"
            case .bearer: credential = "`authorization: Bearer`, fetched"
            case .included:
                credential =
                    request.headers.pairs.first { $0.value == "KEY" }.map { "`\($0.name)`" } ?? "`authorization`"
            }
            let beta =
                request.headers.pairs.contains { $0.name == "anthropic-beta" } ? ", `anthropic-beta` as a header" : ""
            out +=
                "| `\(name)` | `\(upstream.baseURL.origin)\(request.target)`\(beta) | `\(String(decoding: sent, as: UTF8.self))` | \(credential) |\n"
        }
        return out
    }

    @Test("is what docs/providers.md says")
    func documented() throws {
        let url = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent().appendingPathComponent("docs/providers.md")
        var page = try String(contentsOf: url, encoding: .utf8)
        let (begin, end) = ("<!-- begin table -->\n", "<!-- end table -->")
        let start = try #require(page.range(of: begin)).upperBound
        let stop = try #require(page.range(of: end)).lowerBound
        let table = try Self.table()
        if ProcessInfo.processInfo.environment["GATEWAY_WRITE_DOCS"] != nil {
            page.replaceSubrange(start..<stop, with: table)
            try page.write(to: url, atomically: true, encoding: .utf8)
        } else {
            #expect(page[start..<stop] == table, "run the test with GATEWAY_WRITE_DOCS=1")
        }
    }
}
