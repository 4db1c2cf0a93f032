// SPDX-License-Identifier: Apache-2.0

internal import GatewayCore
internal import GatewayRelay
internal import NIOCore
internal import NIOHTTP1

/// The model of `claude gateway --dev`: answers in the Messages format, as JSON or as a stream, with usage, without any
/// provider. It says what it was asked, so that a person sees the whole way work.
struct DevModel: PlainResponder {
    /// Not `/v1/messages`, which this process's listener treats as its own hot path.
    static let basePath = "/dev"

    func immediateAnswer(to request: PlainRequest) -> PlainResponse? { nil }

    func respond(to request: PlainRequest) async -> PlainResponse {
        guard request.method == .POST else { return .text(.notFound, "not found") }
        guard let body = try? JSONValue(parsing: Array(request.body.readableBytesView)), body["messages"]?.array != nil
        else {
            return .error(.invalidRequest("messages: field required"), requestID: request.requestID)
        }
        let inputTokens = max(1, request.body.readableBytes / 4)
        switch request.path {
        case Self.basePath + "/v1/messages/count_tokens": return .json(.ok, ["input_tokens": .integer(inputTokens)])
        case Self.basePath + "/v1/messages":
            let words = Self.reply(to: body)
            let message = Self.message(body, inputTokens: inputTokens)
            return body["stream"]?.bool == true ? Self.stream(words, message) : Self.whole(words, message)
        default: return .text(.notFound, "not found")
        }
    }

    private static func reply(to body: JSONValue) -> [String] {
        let last = body["messages"]?.array?.last { $0["role"]?.string == "user" }
        let text: String
        switch last?["content"] {
        case .string(let plain)?: text = plain
        case .array(let blocks)?: text = blocks.compactMap { $0["text"]?.string }.joined(separator: " ")
        default: text = ""
        }
        let reply =
            "Hello from the gateway's built-in demo model. You wrote: “\(text.prefix(400))”. Set ANTHROPIC_API_KEY and start again to talk to Claude."
        var words: [String] = []
        for word in reply.split(separator: " ", omittingEmptySubsequences: false) {
            words.append(words.isEmpty ? String(word) : " " + word)
        }
        return words
    }

    private static func message(_ body: JSONValue, inputTokens: Int) -> JSONObject {
        [
            "id": .string("msg_dev_" + RandomToken.make().prefix(20)), "type": "message", "role": "assistant",
            "model": body["model"] ?? "dev", "content": [], "stop_reason": .null, "stop_sequence": .null,
            "usage": [
                "input_tokens": .integer(inputTokens), "output_tokens": 1, "cache_creation_input_tokens": 0,
                "cache_read_input_tokens": 0,
            ],
        ]
    }

    private static func whole(_ words: [String], _ message: JSONObject) -> PlainResponse {
        var message = message
        message["content"] = [["type": "text", "text": .string(words.joined())]]
        message["stop_reason"] = "end_turn"
        var usage = message["usage"]?.object ?? [:]
        usage["output_tokens"] = .integer(words.count)
        message["usage"] = .object(usage)
        return .json(.ok, .object(message), headers: ["request-id": "req_dev"])
    }

    private static func stream(_ words: [String], _ message: JSONObject) -> PlainResponse {
        let start = [
            ("message_start", ["type": "message_start", "message": .object(message)] as JSONValue),
            (
                "content_block_start",
                ["type": "content_block_start", "index": 0, "content_block": ["type": "text", "text": ""]]
            ),
        ]
        let end: [(String, JSONValue)] = [
            ("content_block_stop", ["type": "content_block_stop", "index": 0]),
            (
                "message_delta",
                [
                    "type": "message_delta", "delta": ["stop_reason": "end_turn", "stop_sequence": .null],
                    "usage": ["output_tokens": .integer(words.count)],
                ]
            ),
            ("message_stop", ["type": "message_stop"]),
        ]
        return PlainResponse(
            status: .ok, headers: ["content-type": "text/event-stream; charset=utf-8", "request-id": "req_dev"],
            body: .stream { writer in
                for event in start { try await writer.write(self.frame(event)) }
                for word in words {
                    let delta: JSONValue = [
                        "type": "content_block_delta", "index": 0,
                        "delta": ["type": "text_delta", "text": .string(word)],
                    ]
                    try await writer.write(self.frame(("content_block_delta", delta)))
                    try await Task.sleep(for: .milliseconds(25))
                }
                for event in end { try await writer.write(self.frame(event)) }
            })
    }

    private static func frame(_ event: (name: String, data: JSONValue)) -> ByteBuffer {
        ByteBuffer(string: "event: \(event.name)\ndata: \(event.data.text())\n\n")
    }
}
