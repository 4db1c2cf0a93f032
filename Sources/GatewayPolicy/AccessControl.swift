// SPDX-License-Identifier: Apache-2.0

package import GatewayConfig
package import GatewayCore

/// Who may connect at all, and whose address a request really comes from.
package struct AccessControl: Sendable {
    package var allow: [IPNetwork]
    package var deny: [IPNetwork]
    package var trustedProxies: [IPNetwork]

    package init(allow: [IPNetwork] = [], deny: [IPNetwork] = [], trustedProxies: [IPNetwork] = []) {
        self.allow = allow
        self.deny = deny
        self.trustedProxies = trustedProxies
    }

    package init(access: ConfigNode?, trustedProxies: ConfigNode?) {
        func networks(_ node: ConfigNode?) -> [IPNetwork] { (node?.strings ?? []).compactMap(IPNetwork.init) }
        self.init(
            allow: networks(access?["allow_cidrs"]), deny: networks(access?["deny_cidrs"]),
            trustedProxies: networks(trustedProxies))
    }

    /// Why a connection is turned away; the raw value is the audit event's `reason`.
    package enum Refusal: String, Sendable {
        case denied = "ip_denylist"
        case notAllowed = "ip_not_allowlisted"
        case unparseable = "xff_unparseable"
    }

    /// The client's address behind trusted proxies.
    ///
    /// Entries of `X-Forwarded-For` are walked from the right; trusted addresses are skipped, and the first other one is
    /// the client. What stands further left was written by the client itself and means nothing.
    package func client(peer: IPAddress, forwardedFor values: [String]) -> Result<IPAddress, RefusedAddress> {
        guard !values.isEmpty, self.trustedProxies.contains(where: { $0.contains(peer) }) else { return .success(peer) }
        let entries = values.flatMap { $0.split(separator: ",", omittingEmptySubsequences: false) }
        for entry in entries.reversed() {
            let text = String(entry).trimmingSpaces
            if text.isEmpty { continue }
            guard let address = Self.address(inEntry: text) else { return .failure(RefusedAddress(peer: peer)) }
            if !self.trustedProxies.contains(where: { $0.contains(address) }) { return .success(address) }
        }
        return .success(peer)
    }

    package struct RefusedAddress: Error, Sendable {
        package let peer: IPAddress
    }

    /// - Parameter isProbe: Health paths are exempt from the allow list, not from the deny list.
    package func refusal(of address: IPAddress, isProbe: Bool) -> Refusal? {
        if self.deny.contains(where: { $0.contains(address) }) { return .denied }
        if !isProbe, !self.allow.isEmpty, !self.allow.contains(where: { $0.contains(address) }) { return .notAllowed }
        return nil
    }

    package var isUnrestricted: Bool { self.allow.isEmpty && self.deny.isEmpty }

    /// `a.b.c.d`, `a.b.c.d:port`, an IPv6 address, or `[v6]:port`.
    private static func address(inEntry text: String) -> IPAddress? {
        if text.hasPrefix("[") {
            guard let close = text.firstIndex(of: "]") else { return nil }
            return IPAddress(text[text.index(after: text.startIndex)..<close])
        }
        if text.filter({ $0 == ":" }).count == 1, let colon = text.firstIndex(of: ":") {
            return IPAddress(text[..<colon])
        }
        return IPAddress(text)
    }

    package static let networkList = ConfigShape.list(of: .string())

    /// A fault sentence for the first entry that is no address block.
    package static let networksCheck: ConfigKey.Check = { node in
        for (index, entry) in node.list.enumerated() where !entry.isUnresolved {
            if entry.string.flatMap(IPNetwork.init) == nil {
                return "entry \(index + 1) is not an IP address or CIDR block, such as 10.0.0.0/8 or 2001:db8::/32."
            }
        }
        return nil
    }

    package static let section = ConfigSection([
        ConfigKey(
            "allow_cidrs", networkList,
            "Address blocks that may connect; others get 403. /healthz and /readyz are exempt. Empty means everyone.",
            example: "[10.0.0.0/8]", check: networksCheck),
        ConfigKey("deny_cidrs", networkList, "Address blocks that get 403 on every path.", check: networksCheck),
    ])
}
