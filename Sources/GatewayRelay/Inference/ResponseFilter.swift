// SPDX-License-Identifier: Apache-2.0

internal import GatewayCore
internal import NIOHTTP1

/// Which of an upstream's response headers reach the client.
enum ResponseFilter {
    /// What belongs to the connection, to the upstream's account, or to the gateway's own word.
    private static let withheld: Set<String> = [
        "access-control-allow-credentials", "access-control-allow-headers", "access-control-allow-methods",
        "access-control-allow-origin", "access-control-expose-headers", "access-control-max-age", "alt-svc", "cf-ray",
        "clear-site-data", "connection", "content-security-policy",
        "content-security-policy-report-only", "cross-origin-embedder-policy", "cross-origin-opener-policy",
        "cross-origin-resource-policy", "keep-alive", "nel", "permissions-policy", "proxy-authenticate",
        "referrer-policy", "refresh", "report-to", "request-id", "set-cookie", "strict-transport-security", "te",
        "trailer", "transfer-encoding", "upgrade", "via", "www-authenticate", "x-content-type-options",
        "x-frame-options", "x-request-id", "x-xss-protection",
    ]

    /// Whether the body is decompressed on its way: the codings that the connection undoes, and no other.
    static func isDecoded(_ head: HTTPResponseHead) -> Bool {
        ["gzip", "deflate"].contains(head.headers.first(name: "content-encoding")?.lowercased() ?? "")
    }

    /// - Parameter isDecoded: Whether the body was decompressed on its way, so that its declared length is wrong.
    static func headers(of head: HTTPResponseHead, isDecoded: Bool) -> HTTPHeaders {
        var out = HTTPHeaders()
        out.reserveCapacity(head.headers.count + 8)
        for (name, value) in head.headers {
            let lower = name.lowercased()
            if self.withheld.contains(lower) || lower.hasPrefix("anthropic-ratelimit-") { continue }
            if isDecoded, lower == "content-length" || lower == "content-encoding" { continue }
            out.add(name: name, value: value)
        }
        return out
    }
}
