// SPDX-License-Identifier: Apache-2.0

internal import GatewayCore
internal import GatewayHTTPClient
internal import Synchronization

/// Sends one message and hands out the answer's text as it arrives.
package struct MessageRequest: Sendable {
    package let model: String
    package let prompt: String
    package let maximumTokens: Int

    package init(model: String, prompt: String, maximumTokens: Int) {
        self.model = model
        self.prompt = prompt
        self.maximumTokens = maximumTokens
    }

    /// What came of it.
    package struct Outcome: Sendable {
        package let text: String
        package let stopReason: String?
        package let inputTokens: Int
        package let outputTokens: Int
    }

    package func send(
        through gateway: SignedInGateway, onText: @escaping @Sendable (String) -> Void,
    ) async throws -> Outcome {
        let credential = try await gateway.credential()
        let body: JSONValue = [
            "model": .string(self.model), "max_tokens": .integer(self.maximumTokens), "stream": true,
            "messages": [["role": "user", "content": .string(self.prompt)]],
        ]
        let request = OutboundRequest(
            "POST", credential.url + "/v1/messages",
            headers: [
                ("authorization", "Bearer " + credential.accessToken.reveal()), ("content-type", "application/json"),
                ("accept", "application/json"), ("anthropic-version", "2023-06-01"),
            ], body: body.bytes(), timeout: nil)
        let reader = EventReader(onText: onText)
        let response = try await gateway.connection(credential).send(request) { reader.feed($0) }
        guard response.status == 200 else { throw Self.failure(response) }
        if let error = reader.error { throw ClientFailure.refused("the answer broke off: \(error.singleLine)") }
        return reader.outcome
    }

    private static func failure(_ response: OutboundResponse) -> ClientFailure {
        let text = response.json?["error"]?["message"]?.string ?? "HTTP \(response.status)"
        if response.status == 401 {
            return .notSignedIn("The gateway no longer accepts this session. Run claude login.")
        }
        return .refused("the gateway answered \(response.status): \(text.singleLine)")
    }
}

/// Reads the events of a streamed answer.
private final class EventReader: Sendable {
    private struct State {
        var pending: [UInt8] = []
        var text = ""
        var stopReason: String?
        var input = 0
        var output = 0
        var error: String?
    }

    private let state = Mutex(State())
    private let onText: @Sendable (String) -> Void

    init(onText: @escaping @Sendable (String) -> Void) {
        self.onText = onText
    }

    var error: String? { self.state.withLock { $0.error } }

    var outcome: MessageRequest.Outcome {
        self.state.withLock {
            MessageRequest.Outcome(
                text: $0.text, stopReason: $0.stopReason, inputTokens: $0.input, outputTokens: $0.output)
        }
    }

    func feed(_ bytes: [UInt8]) {
        let fresh = self.state.withLock { state in
            state.pending += bytes
            var fresh = ""
            while let end = state.pending.firstIndex(of: 0x0A) {
                let line = state.pending[..<end]
                fresh += Self.read(line, into: &state)
                state.pending.removeSubrange(...end)
            }
            return fresh
        }
        if !fresh.isEmpty { self.onText(fresh) }
    }

    private static func read(_ line: ArraySlice<UInt8>, into state: inout State) -> String {
        guard line.starts(with: Array("data:".utf8)), let event = try? JSONValue(parsing: line.dropFirst(5)) else {
            return ""
        }
        switch event["type"]?.string {
        case "message_start":
            state.input = event["message"]?["usage"]?["input_tokens"]?.integer ?? 0
        case "content_block_delta":
            let text = event["delta"]?["text"]?.string ?? ""
            state.text += text
            return text
        case "message_delta":
            state.stopReason = event["delta"]?["stop_reason"]?.string
            state.output = event["usage"]?["output_tokens"]?.integer ?? state.output
        case "error": state.error = event["error"]?["message"]?.string ?? "unknown error"
        default: break
        }
        return ""
    }
}
