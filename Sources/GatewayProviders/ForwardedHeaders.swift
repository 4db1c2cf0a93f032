// SPDX-License-Identifier: Apache-2.0

internal import GatewayCore

/// Which of a client's headers go on to an upstream that speaks the Messages API.
///
/// `anthropic-*` and `x-claude-code-*` are open lists, as the public gateway protocol asks; credentials, cookies and
/// everything that only concerns the connection or the client's network stay behind.
package enum ForwardedHeaders {
    package enum Disposition: Sendable {
        case passed
        case withheld
        /// Joined with the gateway's own values.
        case beta
        case userAgent
        case acceptEncoding
    }

    private static let named: [(name: StaticString, disposition: Disposition)] = [
        ("accept", .passed), ("content-type", .passed), ("anthropic-version", .passed), ("anthropic-beta", .beta),
        ("user-agent", .userAgent), ("accept-encoding", .acceptEncoding),
        // The workspace is the gateway's to choose; the other two speak of the client's own situation.
        ("anthropic-workspace-id", .withheld), ("anthropic-dangerous-direct-browser-access", .withheld),
        ("anthropic-api-key", .withheld),
    ]
    private static let open: [StaticString] = ["anthropic-", "x-claude-code-", "x-stainless-"]

    static func disposition(of name: String) -> Disposition {
        var name = name
        return name.withUTF8 { self.disposition(of: UnsafeRawBufferPointer($0)) }
    }

    /// - Parameter name: A field's name, in any case.
    package static func disposition(of name: UnsafeRawBufferPointer) -> Disposition {
        // All names that pass begin with one of four letters, and few are as long as another.
        switch (name.first ?? 0) | 0x20 {
        case UInt8(ascii: "a"), UInt8(ascii: "c"), UInt8(ascii: "u"), UInt8(ascii: "x"): break
        default: return .withheld
        }
        for entry in self.named where entry.name.utf8CodeUnitCount == name.count && name.matches(entry.name) {
            return entry.disposition
        }
        for prefix in self.open where name.begins(with: prefix) { return .passed }
        return .withheld
    }

    /// The codings that the gateway can undo to read usage; others are not offered to the upstream.
    static func decodable(_ value: String) -> String {
        // What clients nearly always say.
        switch value {
        case "gzip, deflate", "gzip", "identity": return value
        case "gzip, deflate, br", "gzip, deflate, br, zstd": return "gzip, deflate"
        default: return self.filtered(value)
        }
    }

    private static func filtered(_ value: String) -> String {
        let kept = value.split(separator: ",").map { String($0).trimmingSpaces }.filter { coding in
            let name = coding.prefix { $0 != ";" }.lowercased()
            return name == "gzip" || name == "deflate" || name == "identity"
        }
        return kept.isEmpty ? "identity" : kept.joined(separator: ", ")
    }
}
