// SPDX-License-Identifier: Apache-2.0

internal import Foundation
internal import GatewayCore
internal import GatewayHTTPClient

/// Which gateway a command talks to, and whether it may.
package enum GatewayAddress {
    /// Where the machine's administrator puts Claude Code's settings.
    package static let managedSettings = "/etc/claude-code/managed-settings.json"

    /// The URL to sign in to: the one that the machine's managed settings force, else the one given, else
    /// `CLAUDE_GATEWAY_URL`, else the one signed in to before.
    package static func resolve(
        given: String?, environment: [String: String], known: String?, settingsFile: String = managedSettings,
    ) throws -> String {
        let forced = FileManager.default.contents(atPath: settingsFile)
            .flatMap { try? JSONValue(parsing: $0) }?["forceLoginGatewayUrl"]?.string.map(self.normalise)
        let wanted = (given ?? environment["CLAUDE_GATEWAY_URL"]).map(self.normalise)
        if let forced {
            if let wanted, wanted != forced {
                throw ClientFailure.badRequest(
                    "this machine's managed settings allow only \(forced) (forceLoginGatewayUrl in \(settingsFile)). Run claude login without a URL."
                )
            }
            return forced
        }
        guard let url = wanted ?? known else {
            throw ClientFailure.badRequest(
                "which gateway? Run claude login https://claude.internal.example.com, or set CLAUDE_GATEWAY_URL.")
        }
        return url
    }

    static func normalise(_ url: String) -> String {
        var url = url.trimmingSpaces
        if !url.contains("://") { url = "https://" + url }
        while url.hasSuffix("/") { url.removeLast() }
        return url
    }

    /// Refuses a gateway that is not on a private network. Every address that the name stands for is looked at: a
    /// public one among them is where a later connection could go.
    package static func check(_ url: String, environment: [String: String]) throws {
        guard let web = WebURL(url) else {
            throw ClientFailure.badRequest(
                "'\(url.singleLine)' is not a URL. Write it like https://claude.internal.example.com.")
        }
        if !web.isSecure, !web.isLoopback {
            throw ClientFailure.badRequest(
                "\(url) is plain http, which would send your credential in the clear. Use https.")
        }
        // Behind a proxy the name is the proxy's to resolve.
        if ProxyEnvironment(environment).applies(to: web) { return }
        let addresses = PrivateNetwork.resolve(web.host)
        guard !addresses.isEmpty else {
            throw ClientFailure.unreachable(
                "the name \(web.host) does not resolve. Check that you're on your organization's network, then try again."
            )
        }
        if let open = addresses.first(where: { !PrivateNetwork.contains($0) }) {
            throw ClientFailure.badRequest(
                "\(web.host) is at the public address \(open). A gateway belongs on a private network; ask your administrator for its right address."
            )
        }
    }
}
