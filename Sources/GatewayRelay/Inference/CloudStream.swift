// SPDX-License-Identifier: Apache-2.0

internal import GatewayCore
package import GatewayProviders
package import NIOCore

/// A cloud provider's stream on its way to the client: events pass as they are, whatever their type; errors keep their
/// type and lose their text. Without I/O, so that every cut of the bytes can be tested.
package struct CloudStream {
    package enum Step: Equatable {
        /// Whole events for the client.
        case events(ByteBuffer)
        /// The provider ended its answer with an error; nothing may follow.
        case failure(type: String, detail: String)
    }

    private enum Format {
        case events(SSESplitter)
        case frames(EventStreamDecoder)
    }

    private var format: Format
    /// Whether something that a client learns from has gone through.
    package private(set) var hasContent = false
    private var hasFailed = false

    /// - Parameter answer: How the provider's good answers are read.
    package init(_ answer: UpstreamRequest.Answer) {
        self.format = answer == .eventStream ? .frames(EventStreamDecoder()) : .events(SSESplitter())
    }

    /// Takes bytes in, and gives what they complete.
    package mutating func receive(_ bytes: ByteBuffer) -> [Step] {
        if self.hasFailed { return [] }
        var steps: [Step] = []
        switch self.format {
        case .events(var splitter):
            self.format = .events(SSESplitter())
            splitter.receive(bytes)
            while let event = splitter.next() {
                if let type = event.errorType {
                    self.fail(CloudFailure.streamType(type), String(decoding: event.data, as: UTF8.self), &steps)
                    break
                }
                if event.isContent { self.hasContent = true }
                self.emit(event.raw, &steps)
            }
            self.format = .events(splitter)
        case .frames(var decoder):
            self.format = .frames(EventStreamDecoder())
            bytes.withUnsafeReadableBytes { decoder.receive($0) }
            var events = ByteBufferAllocator().buffer(capacity: bytes.readableBytes)
            var failure: Step?
            do throws(EventStreamDecoder.Failure) {
                try decoder.read { message in
                    failure = self.take(message, &events)
                    return failure == nil
                }
            } catch {
                failure = .failure(type: "api_error", detail: "the event stream is broken (\(error))")
            }
            if events.readableBytes > 0 { self.emit(events, &steps) }
            if case .failure(let type, let detail)? = failure { self.fail(type, detail, &steps) }
            self.format = .frames(decoder)
        }
        return steps
    }

    /// The provider has closed its answer.
    package mutating func finish() -> [Step] {
        var steps: [Step] = []
        if self.hasFailed { return steps }
        switch self.format {
        case .events(let splitter):
            // A last event without its blank line is an event all the same to clients that read lines.
            if splitter.rest.readableBytes > 0 { steps = self.receive(ByteBuffer(string: "\n\n")) }
        case .frames(let decoder):
            if !decoder.isAtBoundary { self.fail("api_error", "the event stream ends inside a frame", &steps) }
        }
        return steps
    }

    private mutating func emit(_ bytes: ByteBuffer, _ steps: inout [Step]) {
        if case .events(var earlier)? = steps.last {
            earlier.writeImmutableBuffer(bytes)
            steps[steps.count - 1] = .events(earlier)
        } else {
            steps.append(.events(bytes))
        }
    }

    private mutating func fail(_ type: String, _ detail: String, _ steps: inout [Step]) {
        self.hasFailed = true
        steps.append(.failure(type: type, detail: detail.singleLine.printableASCII(limit: 300)))
    }

    /// - Returns: The failure that the message tells of, if it does.
    private mutating func take(_ message: EventStreamDecoder.Message, _ events: inout ByteBuffer) -> Step? {
        func text(_ name: StaticString) -> String {
            message.header(name).map { String(decoding: $0, as: UTF8.self) } ?? ""
        }
        var detail: String { String(decoding: message.payload.prefix(300), as: UTF8.self) }
        if let type = message.messageType, type.equals("exception") {
            let name = text(":exception-type")
            return .failure(type: CloudFailure.streamType(exception: name), detail: "\(name): \(detail)")
        }
        if let type = message.messageType, type.equals("error") {
            return .failure(type: "api_error", detail: "\(text(":error-code")): \(text(":error-message"))")
        }
        guard message.eventType?.equals("chunk") == true else { return nil }
        if let type = ChunkPayload.write(message.payload, to: &events) {
            if type != .ping { self.hasContent = true }
            return nil
        }
        switch ChunkPayload(parsing: message.payload) {
        case nil: return .failure(type: "api_error", detail: "a frame is not an event")
        case .error(let type): return .failure(type: CloudFailure.streamType(type), detail: detail)
        case .event(let type, let json):
            if type != "ping" { self.hasContent = true }
            events.writeString("event: \(type.singleLine)\ndata: ")
            events.writeBytes(json.filter { $0 != 0x0A && $0 != 0x0D })
            events.writeString("\n\n")
            return nil
        }
    }
}

/// The status that an error's type stands for (<https://platform.claude.com/docs/en/api/errors>).
enum ErrorStatus {
    static func of(_ type: String) -> Int {
        switch type {
        case "invalid_request_error", "billing_error": 400
        case "authentication_error": 401
        case "permission_error": 403
        case "not_found_error": 404
        case "request_too_large": 413
        case "rate_limit_error": 429
        case "not_supported": 501
        case "timeout_error": 504
        case "overloaded_error": 529
        default: 500
        }
    }
}
