// SPDX-License-Identifier: Apache-2.0

internal import GatewayCore

/// URLs in a configuration that the gateway will connect to, or send a browser to.
package enum OutboundURL {
    /// The fault sentence for a value that is no http(s) URL or names a forbidden host. Loopback is judged when the
    /// gateway runs: a linter on another machine cannot know its environment.
    package static let check: ConfigKey.Check = { OutboundURL.complaint($0, allowsLoopback: true) }

    package static func complaint(_ node: ConfigNode, allowsLoopback: Bool) -> String? {
        guard let text = node.string, let url = WebURL(text) else {
            return "is not an absolute http or https URL; write it like https://host.example.com."
        }
        switch AddressGuard(allowsLoopback: allowsLoopback).refusal(ofHost: url.host) {
        case nil: return nil
        case .loopback:
            return
                "is a loopback address, which the gateway does not connect to unless CLAUDE_GATEWAY_ALLOW_LOOPBACK=1 is in its environment; set that, or write the service's own address."
        case .some(let refusal): return "must not point at a \(refusal); write the service's own address."
        }
    }
}
