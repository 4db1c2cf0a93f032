// SPDX-License-Identifier: Apache-2.0

/// The signed-in developer on whose behalf a request is made, as the bearer's claims name them. A value, held by
/// reference: each request hands it around.
package final class Principal: Sendable, Hashable {
    /// The identity provider's subject: never empty, and unique for one issuer.
    package let subject: String
    /// The e-mail address as the identity provider spells it; `nil` when the token has none.
    package let email: String?
    /// The display name; `nil` when the token has none.
    package let name: String?
    /// Group names, in the token's order. Compared case-sensitively. `nil` when the token has no groups claim.
    package let groups: [String]?

    package init(subject: String, email: String? = nil, name: String? = nil, groups: [String]? = nil) {
        self.subject = subject
        self.email = email
        self.name = name
        self.groups = groups
    }

    package func copy() -> Principal {
        Principal(subject: self.subject, email: self.email, name: self.name, groups: self.groups)
    }

    package static func == (left: Principal, right: Principal) -> Bool {
        left === right
            || left.subject == right.subject && left.email == right.email && left.name == right.name
                && left.groups == right.groups
    }

    package func hash(into hasher: inout Hasher) {
        hasher.combine(self.subject)
    }

    /// The domain after the last `@` of the e-mail address, lower-cased; `nil` without an address or an `@`.
    package var emailDomain: String? {
        guard let email, let at = email.lastIndex(of: "@") else { return nil }
        return email[email.index(after: at)...].lowercased()
    }

    /// Whether the principal is in at least one of `names`.
    package func isMember(ofAny names: some Sequence<String>) -> Bool {
        guard let groups, !groups.isEmpty else { return false }
        return names.contains { groups.contains($0) }
    }
}
