// SPDX-License-Identifier: Apache-2.0

package import GatewayCore
package import NIOSSL

/// How connections to one upstream are made.
package struct UpstreamRoute: Sendable {
    package let url: WebURL
    /// For the upstream itself; `nil` when it is spoken to in the clear.
    package let tls: NIOSSLContext?
    package let proxy: ForwardProxy?
    /// For a proxy that is spoken to over TLS.
    package let proxyTLS: NIOSSLContext?

    /// - Parameters:
    ///   - tls: Trusts what vouches for the upstream. It is not used when the URL is an `http` one.
    ///   - proxyTLS: Trusts what vouches for proxies.
    package init(url: WebURL, tls: NIOSSLContext?, proxy: ForwardProxy? = nil, proxyTLS: NIOSSLContext? = nil) {
        self.url = url
        self.tls = url.isSecure ? tls : nil
        self.proxy = proxy
        self.proxyTLS = proxy?.isSecure == true ? proxyTLS : nil
    }

    /// Whether requests are tunnelled, and not handed to the proxy in absolute form.
    var tunnels: Bool { self.proxy != nil && self.url.isSecure }

    /// What stands before a request's target, and the proxy's own header, where the proxy itself reads the request.
    var absoluteForm: (prefix: String, authorization: Secret?)? {
        guard let proxy, !self.url.isSecure else { return nil }
        return (self.url.origin, proxy.authorization)
    }
}
