// SPDX-License-Identifier: Apache-2.0

package import GatewayConfig
package import GatewayCore

/// Whom a policy is for.
package struct PolicyMatch: Sendable, Equatable {
    /// Any of these groups, compared case-sensitively; `nil` asks for none.
    package let groups: [String]?
    /// The domain after the e-mail address's last `@`, lower-cased; `nil` asks for none.
    package let emailDomain: String?

    package init(groups: [String]? = nil, emailDomain: String? = nil) {
        self.groups = groups
        self.emailDomain = emailDomain
    }

    package init(_ node: ConfigNode?) {
        self.groups = node?["groups"].map(\.strings)
        self.emailDomain = node?["email_domain"]?.string.map(Self.normalise)
    }

    package var isCatchAll: Bool { self.groups == nil && self.emailDomain == nil }

    /// Whether everybody whom `other` fits is also fitted by this one.
    package func isCovering(_ other: PolicyMatch) -> Bool {
        if self.isCatchAll { return false }
        if let domain = self.emailDomain, domain != other.emailDomain { return false }
        guard let groups = self.groups else { return true }
        guard let others = other.groups else { return false }
        return Set(others).isSubset(of: groups)
    }

    package func fits(_ principal: Principal) -> Bool {
        if let groups, !principal.isMember(ofAny: groups) { return false }
        if let emailDomain, principal.emailDomain != emailDomain { return false }
        return true
    }

    static func normalise(_ domain: String) -> String {
        var text = domain.trimmingSpaces.lowercased()
        if text.hasPrefix("@") { text.removeFirst() }
        return text
    }

    package static let section = ConfigSection([
        ConfigKey(
            "groups", .list(of: .string(minimum: 1)), "IdP groups; membership in any of them fits. Case-sensitive.",
            example: "[contractors]",
            check: { node in
                if node.list.isEmpty {
                    return "the list is empty, so the policy would match nobody; list groups, or remove the key."
                }
                return nil
            }),
        ConfigKey(
            "email_domain", .string(), "The domain of the developer's e-mail address, such as example.com.",
            check: { node in
                let domain = Self.normalise(node.string ?? "")
                if domain.isEmpty {
                    return "is empty, so the policy would apply to everyone; write a domain, or remove the key."
                }
                if domain.contains(where: { $0 == "@" || $0 == "," || $0.isWhitespace }) {
                    return "is not one bare domain; write it like example.com, without @, spaces or commas."
                }
                return nil
            }),
    ])
}
