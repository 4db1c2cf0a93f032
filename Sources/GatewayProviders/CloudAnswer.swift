// SPDX-License-Identifier: Apache-2.0

internal import GatewayCore

/// What a cloud provider's failure means for the developer. Providers' texts name accounts, roles and projects, and so
/// stay in the gateway's log; what a client can act on reaches it in words of the gateway's own.
package struct CloudFailure: Sendable, Equatable {
    package let type: String
    package let message: String
    /// For the log.
    package let detail: String

    /// - Parameters:
    ///   - body: The provider's answer.
    ///   - model: The client's name of the model.
    package init(status: Int, body: [UInt8], provider: String, model: String) {
        let json = try? JSONValue(parsing: body)
        let text = Self.text(json) ?? String(decoding: body.prefix(2000), as: UTF8.self)
        self.detail = text.singleLine.printableASCII(limit: 500)
        switch status {
        case 400:
            self.type = "invalid_request_error"
            self.message =
                Self.rejection(json, text, provider: provider, model: model) ?? "upstream rejected the request"
        case 401:
            self.type = "authentication_error"
            self.message = "upstream authentication failed; tell your administrator"
        case 403:
            self.type = "permission_error"
            self.message = "upstream denied the request; tell your administrator"
        case 404:
            self.type = "not_found_error"
            self.message = "upstream resource not found"
        case 413:
            self.type = "request_too_large"
            self.message =
                Self.rejection(json, text, provider: provider, model: model) ?? "request too large for this upstream"
        case 429:
            self.type = "rate_limit_error"
            self.message = "upstream rate limit exceeded"
        case 501:
            self.type = "not_supported"
            self.message = "upstream does not support this endpoint"
        case 503, 529:
            self.type = "overloaded_error"
            self.message = "upstream is overloaded"
        default:
            self.type = "api_error"
            self.message = "upstream error"
        }
    }

    private static let errorTypes: Set<String> = [
        "invalid_request_error", "authentication_error", "permission_error", "not_found_error", "request_too_large",
        "rate_limit_error", "api_error", "overloaded_error", "billing_error", "not_supported", "timeout_error",
    ]

    /// The provider's sentence: `{"message"}`, `{"error":{"message"}}`, or a list with one of these.
    private static func text(_ json: JSONValue?) -> String? {
        let json = json?.array?.first ?? json
        return json?["error"]?["message"]?.string ?? json?["message"]?.string ?? json?["Message"]?.string
    }

    private static func rejection(_ json: JSONValue?, _ text: String, provider: String, model: String) -> String? {
        if json?["type"] == "error", let type = json?["error"]?["type"]?.string, self.errorTypes.contains(type),
            let message = json?["error"]?["message"]?.string
        {
            return Redaction.redact(message)
        }
        var bare = text.trimmingSpaces.lowercased()
        while bare.hasSuffix(".") { bare.removeLast() }
        if bare == "input is too long" { return "Input is too long." }
        if self.isSizeLimit(text) { return "Input is too long." }
        if bare == "the provided model identifier is invalid", provider == BedrockProvider.name {
            return "model \(model.printableASCII(limit: 128)) is not available on bedrock"
        }
        return self.token(text).map { "capability_rejected: \($0)" }
    }

    /// `The request size (N bytes) exceeds X.XXXMB limit.`
    private static func isSizeLimit(_ text: String) -> Bool {
        let text = text.trimmingSpaces
        guard text.hasPrefix("The request size (") || text.hasPrefix("The message size (") else { return false }
        return text.hasSuffix("MB limit.") && text.range(of: " bytes) exceeds ") != nil
    }

    /// Marks in providers' texts, and the words that clients act on.
    private static let tokens: [(marks: [String], token: String)] = [
        (["Input is too long for requested model", "prompt is too long:"], "prompt_too_long"),
        (["input length and `max_tokens` exceed context limit"], "max_tokens_context_overflow"),
        (["thinking.type: adaptive is not supported"], "thinking_type:adaptive"),
        (["\"thinking.type.enabled\" is not supported for this model"], "thinking_type:enabled"),
        (
            [
                "thinking.signature: Field required", "Invalid `signature` in `thinking` block",
                "`thinking` or `redacted_thinking` blocks in the latest assistant message cannot be modified",
            ], "thinking_signature"
        ),
        (["output_config.format: Extra inputs are not permitted"], "structured_outputs_unsupported"),
        (
            [
                "output_config: Extra inputs", "output_config.effort: Extra inputs",
                "output_config.task_budget: Extra inputs", "This model does not support the effort parameter",
            ], "effort_unsupported"
        ),
        (["role: Input should be 'user' or 'assistant'", "role 'system' is not supported"], "mid_conv_system"),
        (
            ["Could not process image", "image exceeds 5 MB maximum", "image dimensions exceed max allowed size"],
            "image_block"
        ),
        (["Could not process PDF", "A maximum of 100 PDF pages may be provided"], "document_block"),
    ]

    private static func token(_ text: String) -> String? {
        self.tokens.first { entry in entry.marks.contains { text.range(of: $0) != nil } }?.token
    }

    /// The type of an error inside a stream, kept where a client knows it.
    package static func streamType(_ type: String?) -> String {
        type.flatMap { self.errorTypes.contains($0) ? $0 : nil } ?? "api_error"
    }

    /// What a Bedrock exception in a stream means.
    package static func streamType(exception: String) -> String {
        switch exception {
        case "throttlingException": "rate_limit_error"
        case "serviceUnavailableException", "modelNotReadyException": "overloaded_error"
        case "validationException": "invalid_request_error"
        case "modelTimeoutException": "timeout_error"
        default: "api_error"
        }
    }
}

/// Takes account ids, ARNs and project names out of a text that is passed on.
package enum Redaction {
    package static func redact(_ text: String) -> String {
        var out: [Substring] = []
        for word in text.split(separator: " ", omittingEmptySubsequences: false) {
            out.append(self.isRevealing(word) ? "[redacted]" : word)
        }
        return out.joined(separator: " ")
    }

    private static func isRevealing(_ word: Substring) -> Bool {
        if word.range(of: "arn:") != nil || word.range(of: "projects/") != nil { return true }
        // An AWS account id: twelve digits on their own.
        var run = 0
        for byte in word.utf8 {
            if (0x30...0x39).contains(byte) {
                run += 1
            } else {
                if run == 12 { return true }
                run = 0
            }
        }
        return run == 12
    }
}

extension Substring {
    fileprivate func range(of needle: String) -> Range<Index>? {
        String(self).range(of: needle).map { _ in self.startIndex..<self.endIndex }
    }
}
