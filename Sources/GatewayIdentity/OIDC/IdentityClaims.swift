// SPDX-License-Identifier: Apache-2.0

package import GatewayCore

/// Reads a developer's identity out of the claims of an id_token or a userinfo answer.
package struct IdentityClaims: Sendable, Equatable {
    package var subject: String
    package var email: String?
    package var name: String?
    /// `nil` when the claim is absent or of no usable shape.
    package var groups: [String]?
    /// `nil` when the claim is absent or null.
    package var emailIsVerified: Bool?
    /// Whether the provider says that the groups do not fit into the token (Entra's `_claim_names`, `hasgroups`).
    package var groupsAreElsewhere = false

    /// OpenID Connect Core 1.0 §2.
    private static let maximumSubject = 255

    package init(_ claims: JSONObject, settings: OIDCSettings) throws(SignInFailure) {
        guard let subject = claims["sub"]?.string, !subject.isEmpty else {
            throw .rejected("the claims lack `sub`, or it is not text")
        }
        guard subject.count <= Self.maximumSubject, !subject.utf8.contains(0) else {
            throw .rejected("`sub` is longer than \(Self.maximumSubject) characters, or holds a NUL")
        }
        self.subject = subject
        // The first claim that is present decides, even if it is of no use: another one would be another person's.
        let email = settings.emailClaims.lazy.compactMap { claims[$0] }.first { $0 != .null }
        self.email = email?.string
        self.name = claims["name"]?.string
        self.groups = Self.groups(claims, at: settings.groupsClaim)
        self.groupsAreElsewhere =
            claims["_claim_names"]?["groups"] != nil || claims["hasgroups"] == true || claims["hasgroups"] == "true"
        switch claims["email_verified"] {
        case nil, .null?: self.emailIsVerified = nil
        case .bool(let value)?: self.emailIsVerified = value
        case .string(let text)?: self.emailIsVerified = text.lowercased() == "true"
        case .number(let number)?: self.emailIsVerified = number != 0
        default: self.emailIsVerified = false
        }
    }

    /// A name is a literal key; a text that begins with `/` is a JSON Pointer (RFC 6901).
    private static func groups(_ claims: JSONObject, at path: String) -> [String]? {
        let value = path.hasPrefix("/") ? self.pointed(.object(claims), path) : claims[path]
        switch value {
        case .string(let one)?: return one.isEmpty ? nil : [one]
        case .array(let many)?: return many.compactMap(\.string).filter { !$0.isEmpty }
        default: return nil
        }
    }

    private static func pointed(_ root: JSONValue, _ pointer: String) -> JSONValue? {
        var value: JSONValue? = root
        for token in pointer.split(separator: "/", omittingEmptySubsequences: false).dropFirst() {
            let key = String(token.replacing("~1", with: "/").replacing("~0", with: "~"))
            switch value {
            case .object(let object)?: value = object[key]
            case .array(let items)?: value = Int(key).flatMap { items.indices.contains($0) ? items[$0] : nil }
            default: return nil
            }
        }
        return value
    }

    /// Takes from `other` what these claims lack. The subjects must be the same person's.
    package mutating func fill(from other: IdentityClaims) {
        if self.email == nil {
            self.email = other.email
            // Who vouches for an address is whoever names it.
            if other.email != nil { self.emailIsVerified = other.emailIsVerified }
        }
        if self.groups == nil { self.groups = other.groups }
        if self.name == nil { self.name = other.name }
    }

    /// The principal, if the gateway's rules admit it.
    package func principal(settings: OIDCSettings) throws(SignInFailure) -> Principal {
        if self.emailIsVerified == false { throw .rejected("the id_token's email is not verified") }
        let principal = Principal(subject: self.subject, email: self.email, name: self.name, groups: self.groups)
        if !settings.allowedEmailDomains.isEmpty {
            guard let domain = principal.emailDomain else {
                throw .rejected(
                    "the claims hold no email address; let the identity provider send one, or set oidc.email_claim")
            }
            guard settings.allowedEmailDomains.contains(domain) else { throw .rejected("email domain not allowed") }
        }
        if !settings.allowedGroups.isEmpty, !principal.isMember(ofAny: settings.allowedGroups) {
            throw .rejected("user is not a member of an allowed group")
        }
        return principal
    }
}
