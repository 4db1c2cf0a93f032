// SPDX-License-Identifier: Apache-2.0

package import GatewayConfig
internal import GatewayCore

/// What may stand in `upstreams[].headers`: nothing that the gateway or a provider sets or signs.
package enum UpstreamHeaders {
    private static let reserved: Set<String> = [
        "accept", "accept-encoding", "anthropic-beta", "anthropic-dangerous-direct-browser-access",
        "anthropic-version", "anthropic-workspace-id", "api-key", "authorization", "connection", "content-encoding",
        "content-length", "content-type", "expect", "host", "keep-alive", "proxy-authorization", "te", "trailer",
        "transfer-encoding", "upgrade", "user-agent", "x-api-key", "x-litellm-end-user-id",
    ]
    private static let reservedPrefixes = ["x-amz", "x-claude-gateway-", "x-goog-", "x-stainless-"]

    package static let complaint: ConfigKey.Check = { node in
        var seen: Set<String> = []
        for member in node.members {
            let name = member.key.lowercased()
            if !UpstreamHeaders.isToken(name) { return "'\(member.key.singleLine)' is not a valid header name." }
            if !seen.insert(name).inserted { return "'\(name)' is listed twice; header names ignore case." }
            if UpstreamHeaders.reserved.contains(name)
                || UpstreamHeaders.reservedPrefixes.contains(where: name.hasPrefix)
            {
                return "'\(name)' is reserved, because the gateway or the provider sets it; remove it."
            }
            if member.value.isUnresolved { continue }
            if !UpstreamHeaders.isFieldValue(member.value.string ?? "") {
                return
                    "the value of '\(name)' must be printable ASCII without spaces at its ends\(member.value.isExpanded ? "; check the variable it comes from" : "")."
            }
        }
        return nil
    }

    /// RFC 9110 §5.6.2.
    static func isToken(_ text: String) -> Bool {
        !text.isEmpty
            && text.utf8.allSatisfy { byte in
                switch byte {
                case 0x30...0x39, 0x41...0x5A, 0x61...0x7A: true
                default: "!#$%&'*+-.^_`|~".utf8.contains(byte)
                }
            }
    }

    static func isFieldValue(_ text: String) -> Bool {
        !text.isEmpty && text.utf8.allSatisfy { (0x20...0x7E).contains($0) } && text.utf8.first != 0x20
            && text.utf8.last != 0x20
    }
}
