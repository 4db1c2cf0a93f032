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

    package static let inspection: ConfigKey.Inspection = { node, report in
        HeaderFields.inspect(node, into: &report)
        for member in node.members {
            let name = member.key.lowercased()
            if Self.reserved.contains(name) || Self.reservedPrefixes.contains(where: name.hasPrefix) {
                report.error(
                    member.value, "is reserved, because the gateway or the provider sets or signs it; remove it.")
            }
        }
    }
}
