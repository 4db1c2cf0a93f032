// SPDX-License-Identifier: Apache-2.0

/// A place in a distributed trace.
///
/// Source: <https://www.w3.org/TR/trace-context/#traceparent-header>.
package struct TraceContext: Sendable, Equatable {
    /// 32 lower-case hexadecimal digits.
    package let traceID: String
    /// 16 lower-case hexadecimal digits.
    package let spanID: String
    package let isSampled: Bool

    /// Reads a `traceparent` of any version; `nil` for anything else.
    package init?(header: String) {
        let parts = header.split(separator: "-", omittingEmptySubsequences: false)
        guard parts.count >= 4, parts[0].utf8.count == 2, parts[0] != "ff", parts[0] != "00" || parts.count == 4,
            parts[1].utf8.count == 32, parts[2].utf8.count == 16, parts[3].utf8.count == 2,
            parts[0..<4].allSatisfy({ $0.utf8.allSatisfy(Self.isHex) }), !parts[1].allSatisfy({ $0 == "0" }),
            !parts[2].allSatisfy({ $0 == "0" }), let flags = UInt8(parts[3], radix: 16)
        else { return nil }
        self.traceID = String(parts[1])
        self.spanID = String(parts[2])
        self.isSampled = flags & 1 == 1
    }

    private init(traceID: String, isSampled: Bool) {
        self.traceID = traceID
        self.spanID = Self.random(words: 1)
        self.isSampled = isSampled
    }

    /// Begins a trace.
    package static func root(isSampled: Bool) -> TraceContext {
        TraceContext(traceID: self.random(words: 2), isSampled: isSampled)
    }

    /// Another span of the same trace.
    package func child() -> TraceContext {
        TraceContext(traceID: self.traceID, isSampled: self.isSampled)
    }

    package var header: String { "00-\(self.traceID)-\(self.spanID)-\(self.isSampled ? "01" : "00")" }

    private static func isHex(_ byte: UInt8) -> Bool {
        (0x30...0x39).contains(byte) || (0x61...0x66).contains(byte)
    }

    private static func random(words: Int) -> String {
        (0..<words).map { _ in
            let word = String(UInt64.random(in: 1...UInt64.max), radix: 16)
            return String(repeating: "0", count: 16 - word.utf8.count) + word
        }.joined()
    }
}

/// A piece of work, as OpenTelemetry understands it.
package struct TraceSpan: Sendable {
    package enum Kind: Int, Sendable {
        case server = 2
        case client = 3
    }

    package let name: String
    package let kind: Kind
    package let context: TraceContext
    package let parent: String?
    package let start: Timestamp
    package let end: Timestamp
    package let attributes: [(name: String, value: JSONValue)]
    /// Why it failed; `nil` when it did not.
    package let failure: String?

    package init(
        _ name: String, _ kind: Kind, _ context: TraceContext, parent: String?, start: Timestamp, end: Timestamp,
        attributes: [(name: String, value: JSONValue)], failure: String?,
    ) {
        self.name = name
        self.kind = kind
        self.context = context
        self.parent = parent
        self.start = start
        self.end = end
        self.attributes = attributes
        self.failure = failure
    }
}

/// Where spans go.
package protocol SpanSink: Sendable {
    /// Whether a request without a caller's decision is recorded.
    func samples() -> Bool
    func record(_ span: TraceSpan)
}
