// SPDX-License-Identifier: Apache-2.0

internal import CommandLineSyntax
internal import GatewayClient
internal import GatewayCore

/// Whom a command is about, as `--user`, `--group` or `--org` says.
enum ScopeOption: Equatable {
    case users([String])
    case groups([String])
    case organization

    static let userHelp = "a developer, by e-mail address or account id. id:TEXT takes TEXT as an id as it is."

    /// - Returns: `nil` when none of the three is given.
    init?(_ invocation: Invocation) throws {
        let given = ["user", "group", "org"].filter(invocation.has)
        if given.count > 1 {
            throw ClientFailure.badRequest(
                "\(given.map { "--" + $0 }.joined(separator: " and ")) exclude each other. Leave one out.")
        }
        guard let name = given.first else { return nil }
        let values = invocation.options[name] ?? []
        if name != "org", values.contains(where: { $0.trimmingSpaces.isEmpty }) {
            throw ClientFailure.badRequest("--\(name) needs a name.")
        }
        switch name {
        case "user": self = .users(values)
        case "group": self = .groups(values)
        default: self = .organization
        }
    }
}

/// What one limit is for.
enum LimitScope: Equatable {
    case organization
    case group(String)
    /// By account id.
    case user(String)

    /// The one scope that a command about a single limit is given; an address becomes its account's id.
    init(_ scope: ScopeOption, _ connection: AdminConnection) async throws {
        switch scope {
        case .organization: self = .organization
        case .groups(let names):
            guard names.count == 1 else { throw ClientFailure.badRequest("--group can be given once here.") }
            self = .group(names[0])
        case .users(let users):
            guard users.count == 1 else { throw ClientFailure.badRequest("--user can be given once here.") }
            let ids = try await AccountLookup.ids(of: users[0], connection)
            guard ids.count == 1 else {
                throw ClientFailure.badRequest(
                    "several accounts have the address \(users[0].singleLine). Give one of their ids instead: \(ids.joined(separator: ", ").singleLine)."
                )
            }
            self = .user(ids[0])
        }
    }

    /// Reads the API's `scope`.
    init?(_ json: JSONValue?) {
        switch json?["type"]?.string {
        case "organization": self = .organization
        case "rbac_group":
            guard let name = json?["rbac_group_id"]?.string else { return nil }
            self = .group(name)
        case "user":
            guard let id = json?["user_id"]?.string else { return nil }
            self = .user(id)
        default: return nil
        }
    }

    /// As the API's `scope`.
    var json: JSONValue {
        switch self {
        case .organization: ["type": "organization"]
        case .group(let name): ["type": "rbac_group", "rbac_group_id": .string(name)]
        case .user(let id): ["type": "user", "user_id": .string(id)]
        }
    }

    /// The list's filter that leaves only this scope.
    var query: [(String, String)] {
        switch self {
        case .organization: [("scope_type", "organization")]
        case .group(let name): [("scope_type", "rbac_group"), ("scope_id", name)]
        case .user(let id): [("scope_type", "user"), ("scope_id", id)]
        }
    }

    /// In a table: `organization`, `group eng`, `user u-1`.
    var text: String { self.text(emails: [:]) }
    /// In a sentence: `the organization`, `group eng`, `user u-1`.
    var phrase: String { self == .organization ? "the organization" : self.text }

    /// - Parameter emails: Addresses by account id.
    func text(emails: [String: String]) -> String {
        switch self {
        case .organization: "organization"
        case .group(let name): "group \(name)"
        case .user(let id): "user " + (emails[id] ?? id)
        }
    }
}

/// Which accounts have an address, as far as the gateway has seen them spend. For administrators.
enum AccountLookup {
    private static let path = "/v1/organizations/spend_limits/effective"

    /// The ids behind what `--user` holds: an id stays as it is, and an address becomes the ids of its accounts.
    ///
    /// - Throws: `ClientFailure.refused` when nobody has that address.
    static func ids(of user: String, _ connection: AdminConnection) async throws -> [String] {
        if let id = self.literalID(user) { return [id] }
        let address = user.trimmingSpaces.lowercased()
        let rows = try await connection.list(
            self.path, query: [("q", address), ("period[]", "monthly"), ("limit", "1000")])
        var ids: [String] = []
        for row in rows {
            guard let id = row["actor"]?["user_id"]?.string, !ids.contains(id) else { continue }
            if id.lowercased() == address || row["actor"]?["email_address"]?.string?.lowercased() == address {
                ids.append(id)
            }
        }
        guard !ids.isEmpty else {
            throw ClientFailure.refused(
                "nobody with the address \(user.singleLine) has spent anything yet. Give the account's id (its sub at the identity provider) instead, as id:ID."
            )
        }
        return ids
    }

    /// The id that the text stands for by itself; `nil` for an address.
    static func literalID(_ user: String) -> String? {
        if user.hasPrefix("id:"), user.count > 3 { return String(user.dropFirst(3)) }
        return user.contains("@") ? nil : user
    }

    /// Addresses by account id, where they are known.
    static func emails(of ids: [String], _ connection: AdminConnection) async throws -> [String: String] {
        // In pieces, because a URL must not become too long.
        let size = 40
        var found: [String: String] = [:]
        for start in stride(from: 0, to: ids.count, by: size) {
            let query = ids[start..<min(start + size, ids.count)].map { ("user_ids[]", $0) } + [("period[]", "monthly")]
            for row in try await connection.list(self.path, query: query) {
                guard let id = row["actor"]?["user_id"]?.string else { continue }
                found[id] = row["actor"]?["email_address"]?.string
            }
        }
        return found
    }
}
