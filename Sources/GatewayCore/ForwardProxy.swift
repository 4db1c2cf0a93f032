// SPDX-License-Identifier: Apache-2.0

/// An HTTP forward proxy: `https` targets are reached through CONNECT (RFC 9110 §9.3.6), `http` ones by requests in
/// absolute form (RFC 9112 §3.2.2).
package struct ForwardProxy: Sendable, Equatable {
    package let host: String
    package let port: Int
    /// Whether the proxy itself is spoken to over TLS.
    package let isSecure: Bool
    /// `user:password`, decoded; `nil` without.
    package let credential: Secret?

    /// Reads `http://[user[:password]@]host[:port]`. As with curl, a value without a scheme means `http`.
    package init?(_ text: String) {
        let text = text.trimmingSpaces
        guard let url = WebURL(text.range(of: "://") == nil ? "http://" + text : text),
            url.target.isEmpty || url.target == "/"
        else { return nil }
        self.host = url.host
        self.port = url.port
        self.isSecure = url.isSecure
        self.credential = url.userInfo.map { info in
            let pair = FormCoding.unescape(Array(info.utf8), plusIsSpace: false)
            return Secret(pair.contains(":") ? pair : pair + ":")
        }
    }

    /// `scheme://host:port`, without the credential.
    package var url: String {
        "\(self.isSecure ? "https" : "http")://\(WebURL.bracketed(self.host)):\(self.port)"
    }

    /// The value of `Proxy-Authorization` (RFC 7617).
    package var authorization: Secret? {
        self.credential.map { Secret("Basic " + Base64.encode(Array($0.reveal().utf8))) }
    }
}
