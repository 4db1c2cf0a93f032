// SPDX-License-Identifier: Apache-2.0

internal import Crypto
package import GatewayCore

/// AWS Signature Version 4.
///
/// Source: <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv.html>.
package enum AWSSignature {
    /// Headers that are not signed: connections and proxies may change them.
    private static let unsigned: Set<String> = [
        "accept-encoding", "authorization", "connection", "content-length", "expect", "user-agent", "x-amzn-trace-id",
    ]

    /// The headers that a signed request has beside its own.
    ///
    /// - Parameters:
    ///   - target: Path and query as they are sent; the path is encoded once more for the signature, as every service
    ///     but S3 wants it.
    ///   - headers: The request's own, `host` among them.
    ///   - bodyHash: SHA-256 of the body in lower-case hexadecimal.
    package static func headers(
        method: String, target: String, headers: [(name: String, value: String)], bodyHash: String,
        keys: AWSAuthentication.Keys, service: String, region: String, now: Timestamp,
    ) -> [(name: String, value: String)] {
        let time = self.compactTime(now)
        let day = String(time.prefix(8))
        var added: [(name: String, value: String)] = [("x-amz-date", time), ("x-amz-content-sha256", bodyHash)]
        if let token = keys.sessionToken { added.append(("x-amz-security-token", token.reveal())) }

        var canonical: [String: [String]] = [:]
        for header in headers + added {
            let name = header.name.lowercased()
            if self.unsigned.contains(name) { continue }
            canonical[name, default: []].append(self.collapsed(header.value))
        }
        let names = canonical.keys.sorted()
        let signedHeaders = names.joined(separator: ";")
        let split = target.firstIndex(of: "?")
        let path = split.map { String(target[..<$0]) } ?? target
        let query = split.map { String(target[target.index(after: $0)...]) } ?? ""
        var request = "\(method)\n\(self.canonicalPath(path))\n\(self.canonicalQuery(query))\n"
        for name in names { request += "\(name):\(canonical[name]!.joined(separator: ","))\n" }
        request += "\n\(signedHeaders)\n\(bodyHash)"

        let scope = "\(day)/\(region)/\(service)/aws4_request"
        let digest = Digest.hexadecimal(request)
        let toSign = "AWS4-HMAC-SHA256\n\(time)\n\(scope)\n\(digest)"
        var key = SymmetricKey(data: Array("AWS4".utf8) + Array(keys.secretAccessKey.reveal().utf8))
        for part in [day, region, service, "aws4_request"] { key = SymmetricKey(data: self.mac(part, key)) }
        let signature = Hexadecimal.encode(self.mac(toSign, key))
        added.append(
            (
                "authorization",
                "AWS4-HMAC-SHA256 Credential=\(keys.accessKeyID)/\(scope), SignedHeaders=\(signedHeaders), Signature=\(signature)"
            ))
        return added
    }

    private static func mac(_ text: String, _ key: SymmetricKey) -> HMAC<SHA256>.MAC {
        HMAC<SHA256>.authenticationCode(for: Array(text.utf8), using: key)
    }

    /// `yyyyMMddTHHmmssZ`.
    private static func compactTime(_ now: Timestamp) -> String {
        // An ISO 8601 time without its punctuation and its fraction.
        String(now.description.prefix(19)).filter { $0 != "-" && $0 != ":" } + "Z"
    }

    /// Each segment encoded, an encoded one twice; dot segments and empty ones resolved.
    private static func canonicalPath(_ path: String) -> String {
        var segments: [String] = []
        for segment in path.split(separator: "/", omittingEmptySubsequences: true) {
            switch segment {
            case ".": continue
            case "..": _ = segments.popLast()
            default: segments.append(PathSegment.encode(String(segment)))
            }
        }
        if segments.isEmpty { return "/" }
        return "/" + segments.joined(separator: "/") + (path.hasSuffix("/") ? "/" : "")
    }

    private static func canonicalQuery(_ query: String) -> String {
        query.split(separator: "&").map { pair -> String in
            let parts = pair.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            return "\(parts[0])=\(parts.count > 1 ? String(parts[1]) : "")"
        }.sorted().joined(separator: "&")
    }

    /// Outer spaces off, runs of spaces made one.
    private static func collapsed(_ value: String) -> String {
        value.split(separator: " ", omittingEmptySubsequences: true).joined(separator: " ")
    }
}
