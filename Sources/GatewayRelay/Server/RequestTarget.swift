// SPDX-License-Identifier: Apache-2.0

internal import GatewayCore

/// The path and query of a request target. Routing is exact and case-sensitive; only dot segments are resolved
/// (RFC 3986 §5.2.4), `%2e` counting as a dot.
package struct RequestTarget: Sendable, Equatable {
    package let path: String
    /// Without the `?`; `nil` when there is none.
    package let query: String?

    package init(_ target: String) {
        var rest = Substring(target)
        // Absolute form (RFC 9112 §3.2.2): only the part behind the authority counts.
        if !rest.hasPrefix("/"), let scheme = target.range(of: "://") {
            let after = rest[scheme.upperBound...]
            rest = after.firstIndex(where: { $0 == "/" || $0 == "?" }).map { after[$0...] } ?? "/"
        }
        if let mark = rest.firstIndex(of: "?") {
            self.query = String(rest[rest.index(after: mark)...])
            rest = rest[..<mark]
        } else {
            self.query = nil
        }
        self.path = rest.utf8.contains(0x2E) || rest.utf8.contains(0x25) ? Self.resolve(rest) : String(rest)
    }

    private static func resolve(_ path: Substring) -> String {
        func dots(_ segment: Substring) -> String {
            segment.count <= 6 ? segment.lowercased().replacing("%2e", with: ".") : ""
        }
        var out: [Substring] = []
        let segments = path.split(separator: "/", omittingEmptySubsequences: false)
        for (index, segment) in segments.enumerated() {
            let isLast = index == segments.count - 1
            switch dots(segment) {
            case ".": if isLast { out.append("") }
            case "..":
                if out.count > 1 { out.removeLast() }
                if isLast { out.append("") }
            default: out.append(segment)
            }
        }
        return out.joined(separator: "/")
    }
}
