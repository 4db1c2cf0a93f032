// SPDX-License-Identifier: Apache-2.0

package import GatewayCore

/// `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY`, as libcurl reads them: lower case first, and `http_proxy`
/// in lower case only, because a CGI's `Proxy:` header becomes `HTTP_PROXY`.
package struct ProxyEnvironment: Sendable {
    private let variables: [String: String]

    package init(_ variables: [String: String]) {
        self.variables = variables
    }

    private func value(_ name: String) -> String? {
        let value = self.variables[name] ?? (name == "http_proxy" ? nil : self.variables[name.uppercased()])
        return value.flatMap { $0.isEmpty ? nil : $0 }
    }

    package func applies(to url: WebURL) -> Bool {
        self.setting(for: url) != nil
    }

    /// The proxy that requests to `url` go through; `nil` when they go direct, or when the setting is not a proxy's URL.
    package func proxy(for url: WebURL) -> ForwardProxy? {
        self.setting(for: url).flatMap(ForwardProxy.init)
    }

    private func setting(for url: WebURL) -> String? {
        guard let value = self.value(url.isSecure ? "https_proxy" : "http_proxy") ?? self.value("all_proxy"),
            !self.isExempt(url.host)
        else { return nil }
        return value
    }

    /// The variables whose value is no proxy's URL.
    package var faults: [String] {
        ["https_proxy", "http_proxy", "all_proxy"].compactMap { name in
            guard let value = self.value(name), ForwardProxy(value) == nil else { return nil }
            return self.variables[name] == nil ? name.uppercased() : name
        }
    }

    private func isExempt(_ host: String) -> Bool {
        guard let list = self.value("no_proxy") else { return false }
        return list.split(whereSeparator: { $0 == "," || $0 == " " }).contains { entry in
            if entry == "*" { return true }
            if let network = IPNetwork(String(entry)), let address = IPAddress(host) {
                return network.contains(address)
            }
            let name = entry.drop { $0 == "." }.lowercased()
            return host == name || host.hasSuffix("." + name)
        }
    }
}
