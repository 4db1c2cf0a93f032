// SPDX-License-Identifier: Apache-2.0

package import GatewayConfig
internal import GatewayCore
internal import GatewayPolicy

/// The `listen` section.
package struct ListenSettings: Sendable {
    package var host: String
    package var port: Int
    /// Where clients and browsers reach the gateway, without a trailing slash.
    package var publicURL: String
    /// Whether `publicURL` follows from host and port, because the file does not say it.
    package var isPublicURLDerived: Bool
    package var certificateFile: String?
    package var keyFile: String?

    package init(host: String, port: Int, publicURL: String? = nil) {
        self.host = host
        self.port = port
        self.publicURL = publicURL ?? Self.localURL(host: host, port: port, isSecure: false)
        self.isPublicURLDerived = publicURL == nil
    }

    package init(_ node: ConfigNode) {
        self.host = node["host"]?.string.flatMap { $0.isEmpty ? nil : $0 } ?? "0.0.0.0"
        self.port = node["port"]?.integer ?? 8080
        self.certificateFile = node["tls"]?["cert"]?.string
        self.keyFile = node["tls"]?["key"]?.string
        var url =
            node["public_url"]?.string?.trimmingSpaces
            ?? Self.localURL(
                host: self.host, port: self.port, isSecure: self.certificateFile != nil)
        while url.hasSuffix("/") { url.removeLast() }
        self.publicURL = url
        self.isPublicURLDerived = node["public_url"] == nil
    }

    package var terminatesTLS: Bool { self.certificateFile != nil }

    private static func localURL(host: String, port: Int, isSecure: Bool) -> String {
        let name = host.contains(":") && !host.hasPrefix("[") ? "[\(host)]" : host
        return "\(isSecure ? "https" : "http")://\(name):\(port)"
    }

    /// Whether that listening address is reachable from this machine only.
    package static func isLoopback(_ host: String) -> Bool {
        if ["localhost", "::1", "[::1]"].contains(host) { return true }
        return IPAddress(host).map { $0.isIPv4 && $0.bytes[0] == 127 } ?? false
    }

    package static let section = ConfigSection(
        [
            ConfigKey("host", .string(), default: "0.0.0.0", "The address to listen on.", example: "0.0.0.0"),
            ConfigKey(
                "port", .integer(minimum: 0, maximum: 65535), default: "8080", "The port; 0 lets the system choose.",
                example: "8080"),
            ConfigKey(
                "public_url", .string(minimum: 1),
                "The URL that developers' machines reach the gateway under. Required unless host is a loopback address.",
                example: "https://claude.internal.example.com",
                check: { node in
                    guard let url = node.string.flatMap(WebURL.init) else {
                        return
                            "is not an absolute http or https URL; write it like https://claude.internal.example.com."
                    }
                    if url.userInfo != nil { return "must not hold a user name; write only scheme, host and port." }
                    return nil
                }),
            ConfigKey(
                "tls",
                .section(
                    ConfigSection([
                        ConfigKey("cert", .string(minimum: 1), required: true, "Path of the certificate chain in PEM."),
                        ConfigKey(
                            "key", .string(minimum: 1), required: true, "Path of the private key in PEM, not encrypted."
                        ),
                    ])),
                "Serves HTTPS itself, TLS 1.2 and 1.3. Without it, put a proxy in front that does."),
            ConfigKey(
                "trusted_proxies", AccessControl.networkList,
                "Proxies whose X-Forwarded-For is believed.", example: "[10.0.0.0/8]",
                check: AccessControl.networksCheck),
        ],
        rules: [
            { node, report in
                let host = node["host"]?.string ?? "0.0.0.0"
                if node["public_url"] == nil, !ListenSettings.isLoopback(host) {
                    report.error(
                        node,
                        "needs public_url when host is not a loopback address; write the URL that developers reach the gateway under, such as https://claude.internal.example.com."
                    )
                }
                if let url = node["public_url"], let web = url.string.flatMap(WebURL.init) {
                    if !web.isSecure, !web.isLoopback {
                        report.warning(
                            url, "is plain http on a host that is not loopback: bearers travel in the clear. Use https."
                        )
                    }
                    if web.target.contains("?") {
                        report.warning(
                            url, "has a query, which has no meaning there; write only scheme, host and port.")
                    }
                    if web.path.count > 1 {
                        report.warning(
                            url, "has a path, under which the gateway does not serve; a proxy must remove it.")
                    }
                }
            }
        ])
}
