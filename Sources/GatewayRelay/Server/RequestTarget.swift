// SPDX-License-Identifier: Apache-2.0

internal import GatewayCore

/// The path and query of a request target. Routing is exact and case-sensitive; only dot segments are resolved
/// (RFC 3986 §5.2.4), `%2e` counting as a dot.
package struct RequestTarget: Sendable, Equatable {
    package let path: String
    /// Without the `?`; `nil` when there is none.
    package let query: String?

    package init(_ target: String) {
        if let plain = Self.plain(target) {
            self = plain
            return
        }
        var rest = Substring(target).utf8
        // Absolute form (RFC 9112 §3.2.2): only the part behind the authority counts.
        if rest.first != 0x2F, let scheme = target.range(of: "://") {
            let after = rest[scheme.upperBound...]
            rest = after.firstIndex(where: { $0 == 0x2F || $0 == 0x3F }).map { after[$0...] } ?? Substring("/").utf8
        }
        if let mark = rest.firstIndex(of: 0x3F) {
            self.query = String(Substring(rest[rest.index(after: mark)...]))
            rest = rest[..<mark]
        } else {
            self.query = nil
        }
        self.path =
            rest.contains(0x2E) || rest.contains(0x25) ? Self.resolve(Substring(rest)) : String(Substring(rest))
    }

    private init(path: String, query: String?) {
        self.path = path
        self.query = query
    }

    /// A target in origin form without anything to resolve.
    private static func plain(_ target: String) -> RequestTarget? {
        var text = target
        return text.withUTF8 { bytes in
            guard bytes.first == 0x2F else { return nil }
            var end = 0
            while end < bytes.count, bytes[end] != 0x3F {
                if bytes[end] == 0x2E || bytes[end] == 0x25 { return nil }
                end += 1
            }
            if end == bytes.count { return RequestTarget(path: target, query: nil) }
            return RequestTarget(
                path: String(decoding: bytes[..<end], as: UTF8.self),
                query: String(decoding: bytes[(end + 1)...], as: UTF8.self))
        }
    }

    private static func resolve(_ path: Substring) -> String {
        func dots(_ segment: Substring) -> String {
            segment.utf8.count <= 6 ? segment.lowercased().replacing("%2e", with: ".") : ""
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
