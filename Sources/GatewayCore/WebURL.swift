// SPDX-License-Identifier: Apache-2.0

/// The parts of an absolute `http` or `https` URL that the gateway works with.
package struct WebURL: Sendable, Hashable {
    package let isSecure: Bool
    /// Lower-cased host; IPv6 without brackets.
    package let host: String
    package let port: Int
    /// Path and query as written, without a fragment; begins with `/` unless empty.
    package let target: String
    /// User information before `@`, as written.
    package let userInfo: String?

    package init?(_ text: String) {
        let text = text.trimmingSpaces
        guard let colon = text.range(of: "://") else { return nil }
        switch text[..<colon.lowerBound].lowercased() {
        case "http": self.isSecure = false
        case "https": self.isSecure = true
        default: return nil
        }
        var rest = text[colon.upperBound...]
        if let fragment = rest.firstIndex(of: "#") { rest = rest[..<fragment] }
        let end = rest.firstIndex { $0 == "/" || $0 == "?" } ?? rest.endIndex
        var authority = rest[..<end]
        let target = String(rest[end...])
        guard !text.unicodeScalars.contains(where: { $0.value <= 0x20 || $0.value == 0x7F || $0 == "\\" }) else {
            return nil
        }
        if let at = authority.lastIndex(of: "@") {
            self.userInfo = String(authority[..<at])
            authority = authority[authority.index(after: at)...]
        } else {
            self.userInfo = nil
        }
        var portText: Substring?
        if authority.hasPrefix("[") {
            guard let close = authority.firstIndex(of: "]") else { return nil }
            let inner = authority[authority.index(after: authority.startIndex)..<close]
            guard let address = IPAddress(inner) else { return nil }
            self.host = address.description
            let after = authority[authority.index(after: close)...]
            if after.hasPrefix(":") { portText = after.dropFirst() } else if !after.isEmpty { return nil }
        } else if let split = authority.lastIndex(of: ":") {
            self.host = authority[..<split].lowercased()
            portText = authority[authority.index(after: split)...]
        } else {
            self.host = authority.lowercased()
        }
        let forbidden: Set<Character> = ["<", ">", "^", "|", "%", "[", "]", "\"", "{", "}", ";", "'", ","]
        guard !self.host.isEmpty, self.host.contains(":") || !self.host.contains(where: { forbidden.contains($0) })
        else {
            return nil
        }
        if let portText, !portText.isEmpty {
            guard portText.utf8.allSatisfy({ (0x30...0x39).contains($0) }), let port = Int(portText), port <= 65535
            else {
                return nil
            }
            self.port = port
        } else {
            self.port = self.isSecure ? 443 : 80
        }
        self.target = target.isEmpty || target.hasPrefix("/") ? target : "/" + target
    }

    /// `scheme://host[:port]`, without the scheme's default port (RFC 6454 §6.2).
    package var origin: String {
        let scheme = self.isSecure ? "https" : "http"
        return "\(scheme)://\(self.authority)"
    }

    /// `host[:port]` as a `Host` header carries it.
    package var authority: String {
        let name = Self.bracketed(self.host)
        return self.port == (self.isSecure ? 443 : 80) ? name : "\(name):\(self.port)"
    }

    /// A host as URLs write it: an IPv6 address stands in brackets (RFC 3986 §3.2.2).
    package static func bracketed(_ host: String) -> String { host.contains(":") ? "[\(host)]" : host }

    /// The path without a query.
    package var path: String {
        String(self.target.prefix { $0 != "?" })
    }

    package var isLoopback: Bool {
        if self.host == "localhost" || self.host == "::1" { return true }
        return IPAddress(self.host).map { $0.isIPv4 && $0.bytes[0] == 127 } ?? false
    }
}

extension String {
    package var trimmingSpaces: String {
        var view = Substring(self)
        while let first = view.first, first.isWhitespace { view.removeFirst() }
        while let last = view.last, last.isWhitespace { view.removeLast() }
        return String(view)
    }

    /// The range of the first occurrence of `needle`.
    package func range(of needle: String) -> Range<Index>? {
        var start = self.startIndex
        while start < self.endIndex {
            if self[start...].hasPrefix(needle) {
                return start..<self.index(start, offsetBy: needle.count)
            }
            start = self.index(after: start)
        }
        return nil
    }
}
