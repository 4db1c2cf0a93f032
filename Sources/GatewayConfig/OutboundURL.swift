// SPDX-License-Identifier: Apache-2.0

internal import GatewayCore

/// URLs in a configuration that the gateway will connect to.
package enum OutboundURL {
    /// The fault sentence for a value that is no http(s) URL or names a forbidden host.
    package static let check: ConfigKey.Check = { node in
        guard let text = node.string, let url = WebURL(text) else {
            return "is not an absolute http or https URL; write it like https://host.example.com."
        }
        // Loopback is judged when the gateway runs: a linter on another machine cannot know its environment.
        guard let refusal = AddressGuard(allowsLoopback: true).refusal(ofHost: url.host) else { return nil }
        return "must not point at a \(refusal); write the service's own address."
    }
}
