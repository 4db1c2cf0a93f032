// SPDX-License-Identifier: Apache-2.0

internal import GatewayCore
internal import NIOHTTP1

/// Which of an upstream's response headers reach the client.
enum ResponseFilter {
    /// What belongs to the connection, to the upstream's account, or to the gateway's own word. By length, so that most
    /// names are let pass without a comparison.
    private static let withheld: [[StaticString]] = {
        let names: [StaticString] = [
            "access-control-allow-credentials", "access-control-allow-headers", "access-control-allow-methods",
            "access-control-allow-origin", "access-control-expose-headers", "access-control-max-age", "alt-svc",
            "cf-ray", "clear-site-data", "connection", "content-security-policy",
            "content-security-policy-report-only", "cross-origin-embedder-policy", "cross-origin-opener-policy",
            "cross-origin-resource-policy", "keep-alive", "nel", "permissions-policy", "proxy-authenticate",
            "referrer-policy", "refresh", "report-to", "request-id", "set-cookie", "strict-transport-security", "te",
            "trailer", "transfer-encoding", "upgrade", "via", "www-authenticate", "x-content-type-options",
            "x-frame-options", "x-request-id", "x-xss-protection",
        ]
        var table: [[StaticString]] = Array(repeating: [], count: 64)
        for name in names { table[name.utf8CodeUnitCount].append(name) }
        return table
    }()

    private static func isWithheld(_ name: UnsafeRawBufferPointer) -> Bool {
        if name.count < self.withheld.count,
            self.withheld[name.count].contains(where: { name.matches($0) })
        {
            return true
        }
        return name.begins(with: "anthropic-ratelimit-")
    }

    /// Whether the body is decompressed on its way: the codings that the connection undoes, and no other.
    static func isDecoded(_ head: ResponseHead) -> Bool {
        head.fields.withFirst("content-encoding") { coding in
            coding.matches("gzip") || coding.matches("deflate")
        } ?? false
    }

    /// What the lines that pass say of the answer.
    struct Passed {
        var hasLength = false
        var hasDate = false
    }

    /// Adds the fields that reach the client.
    static func pass(_ head: ResponseHead, into lines: inout FieldLines) -> Passed {
        let isDecoded = self.isDecoded(head)
        var passed = Passed()
        head.fields.visit { name, value in
            if self.isWithheld(name) { return }
            if name.matches("content-length") {
                // It is the compressed body's.
                if isDecoded { return }
                passed.hasLength = true
            }
            if isDecoded, name.matches("content-encoding") { return }
            if name.matches("date") { passed.hasDate = true }
            lines.add(name, value)
        }
        return passed
    }

    /// The same for an answer that is kept for later.
    static func headers(of head: ResponseHead) -> HTTPHeaders {
        var lines = FieldLines()
        _ = self.pass(head, into: &lines)
        return lines.headers()
    }
}
