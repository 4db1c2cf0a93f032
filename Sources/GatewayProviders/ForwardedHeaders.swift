// SPDX-License-Identifier: Apache-2.0

internal import GatewayCore

/// Which of a client's headers go on to an upstream that speaks the Messages API.
///
/// `anthropic-*` and `x-claude-code-*` are open lists, as the public gateway protocol asks; credentials, cookies and
/// everything that only concerns the connection or the client's network stay behind.
enum ForwardedHeaders {
    enum Disposition {
        case passed
        case withheld
        /// Joined with the gateway's own values.
        case beta
        case userAgent
        case acceptEncoding
    }

    static func disposition(of name: String) -> Disposition {
        let name = name.lowercased()
        switch name {
        case "accept", "content-type", "anthropic-version": return .passed
        case "anthropic-beta": return .beta
        case "user-agent": return .userAgent
        case "accept-encoding": return .acceptEncoding
        // The workspace is the gateway's to choose; the other two speak of the client's own situation.
        case "anthropic-workspace-id", "anthropic-dangerous-direct-browser-access", "anthropic-api-key":
            return .withheld
        default:
            let isOpen = ["anthropic-", "x-claude-code-", "x-stainless-"].contains { name.hasPrefix($0) }
            return isOpen ? .passed : .withheld
        }
    }

    /// The codings that the gateway can undo to read usage; others are not offered to the upstream.
    static func decodable(_ value: String) -> String {
        let kept = value.split(separator: ",").map { String($0).trimmingSpaces }.filter { coding in
            let name = coding.prefix { $0 != ";" }.lowercased()
            return name == "gzip" || name == "deflate" || name == "identity"
        }
        return kept.isEmpty ? "identity" : kept.joined(separator: ", ")
    }
}
