// SPDX-License-Identifier: Apache-2.0

package import GatewayCore
internal import GatewayHTTPClient

/// The gateway's admin API, `/v1/organizations/…`, as an administrator or as the developer who is signed in.
///
/// What the API refuses becomes a `ClientFailure` that says which right is missing and how to get it.
package struct AdminConnection: Sendable {
    /// Where the admin key comes from. There is no option for it: other users of a machine can read command lines.
    package static let keyVariable = "CLAUDE_GATEWAY_ADMIN_KEY"

    /// For whom an answer is meant; decides what a refusal says.
    package enum Audience: Sendable {
        case administrators
        /// Developers too, for their own sake.
        case developers
    }

    /// A successful answer.
    package struct Answer: Sendable {
        package let json: JSONValue
        private let response: OutboundResponse

        fileprivate init(json: JSONValue, response: OutboundResponse) {
            self.json = json
            self.response = response
        }

        package func header(_ name: String) -> String? { self.response.header(name) }
    }

    /// A signed-in developer, by the bearer's claims.
    package struct Account: Sendable, Equatable {
        package let subject: String
        package let email: String?
    }

    private enum Access: Sendable {
        case key(Secret, GatewayConnection)
        case session(SignedInGateway)
    }

    /// A page of a report over many developers is longer than other answers.
    private static let maximumAnswerBytes = 64 << 20
    /// The gateway's own reports give up after a minute.
    private static let patience = Duration.seconds(90)

    /// The gateway's address.
    package let url: String
    /// Who is signed in; `nil` for an admin key, which stands for nobody.
    package let account: Account?
    private let access: Access

    // MARK: Access

    /// With the admin key where `CLAUDE_GATEWAY_ADMIN_KEY` holds one, else with the session. The key goes to the
    /// gateway that `GatewayAddress` resolves.
    package static func administrator(environment: [String: String]) async throws -> AdminConnection {
        guard let key = try self.key(environment) else {
            do {
                return try await self.session(environment: environment)
            } catch ClientFailure.notSignedIn(let text) {
                throw ClientFailure.notSignedIn("\(text) Or set \(self.keyVariable).")
            }
        }
        let known = try? CredentialFile(environment: environment).read()
        let url = try GatewayAddress.resolve(given: nil, environment: environment, known: known?.url)
        try GatewayAddress.check(url, environment: environment)
        let fingerprint = known?.url == url ? known?.fingerprint : nil
        let connection = GatewayConnection(url: url, fingerprint: fingerprint, environment: environment)
        return AdminConnection(url: url, account: nil, access: .key(key, connection))
    }

    /// With the session, whatever else there is: for what concerns the developer alone.
    package static func developer(environment: [String: String]) async throws -> AdminConnection {
        let hasKey = try self.key(environment) != nil
        do {
            return try await self.session(environment: environment)
        } catch ClientFailure.notSignedIn(let text) where hasKey {
            throw ClientFailure.notSignedIn(
                "\(text) An admin key (\(self.keyVariable)) has no spend and no requests of its own.")
        }
    }

    private static func session(environment: [String: String]) async throws -> AdminConnection {
        let gateway = SignedInGateway(file: CredentialFile(environment: environment), environment: environment)
        let credential = try await gateway.credential()
        let claims = credential.claims
        let account = claims["sub"]?.string.map { Account(subject: $0, email: claims["email"]?.string) }
        return AdminConnection(url: credential.url, account: account, access: .session(gateway))
    }

    private static func key(_ environment: [String: String]) throws -> Secret? {
        guard let text = environment[self.keyVariable]?.trimmingSpaces, !text.isEmpty else { return nil }
        guard text.unicodeScalars.allSatisfy({ (0x20...0x7E).contains($0.value) }) else {
            throw ClientFailure.badRequest(
                "\(self.keyVariable) holds characters that no key has. Set it to one of the gateway's admin.write_keys or admin.read_keys."
            )
        }
        return Secret(text)
    }

    // MARK: Calls

    /// One call.
    ///
    /// - Parameters:
    ///   - path: From the gateway's root; parts that come from outside are escaped already.
    ///   - body: Sent as JSON.
    /// - Throws: `ClientFailure` for every status but 200.
    package func call(
        _ method: String, _ path: String, query: [(String, String)] = [], body: JSONValue? = nil,
        for audience: Audience = .administrators,
    ) async throws -> Answer {
        let target = query.isEmpty ? path : path + "?" + FormCoding.encode(query)
        let connection: GatewayConnection
        var headers = [(name: "accept", value: "application/json")]
        switch self.access {
        case .key(let key, let keyed):
            connection = keyed
            headers.append(("x-api-key", key.reveal()))
        case .session(let gateway):
            // Asked for anew each time: a bearer may have to be refreshed between the pages of a long report.
            let credential = try await gateway.credential()
            connection = gateway.connection(credential)
            headers.append(("authorization", "Bearer " + credential.accessToken.reveal()))
        }
        if body != nil { headers.append(("content-type", "application/json")) }
        var request = OutboundRequest(
            method, connection.url + target, headers: headers, body: body?.bytes(), timeout: Self.patience)
        request.maximumResponseBytes = Self.maximumAnswerBytes
        let response = try await connection.send(request)
        guard response.status == 200 else { throw self.failure(response, audience) }
        guard let json = response.json else {
            throw ClientFailure.refused(
                "\(self.url) answered with something that is not JSON. Is this the gateway's address?")
        }
        return Answer(json: json, response: response)
    }

    /// The `data` of all pages of a list, whichever of the API's two ways of paging it has: `next_page`, which is sent
    /// back as `page`, or `has_more`, upon which the last row's id is sent back as `after_id`.
    ///
    /// - Parameters:
    ///   - limit: Rows after which to stop.
    ///   - onPage: Called after each page with the rows so far.
    package func list(
        _ path: String, query: [(String, String)] = [], limit: Int = .max, for audience: Audience = .administrators,
        onPage: ([JSONValue]) -> Void = { _ in },
    ) async throws -> [JSONValue] {
        var rows: [JSONValue] = []
        var cursor: (name: String, value: String)?
        while true {
            let page = try await self.call(
                "GET", path, query: query + (cursor.map { [$0] } ?? []), for: audience
            ).json
            guard let data = page["data"]?.array else {
                throw ClientFailure.refused("the gateway's answer has no data. Is it of another version?")
            }
            rows += data
            onPage(rows)
            var next: (name: String, value: String)?
            if let token = page["next_page"]?.string {
                next = ("page", token)
            } else if page["has_more"] == true, let last = page["last_id"]?.string ?? data.last?["id"]?.string {
                next = ("after_id", last)
            }
            guard let next, rows.count < limit else { return Array(rows.prefix(limit)) }
            // A cursor that does not move would go on for ever.
            if let cursor, cursor == next {
                throw ClientFailure.refused("the gateway's pages do not go on. Is it of another version?")
            }
            cursor = next
        }
    }

    // MARK: Refusals

    private func failure(_ response: OutboundResponse, _ audience: Audience) -> ClientFailure {
        let error = response.json?["error"]
        let text = (error?["message"]?.string ?? "HTTP \(response.status)").singleLine
        switch response.status {
        // A gateway that serves no admin API treats its paths like any unknown one: a bearer is let through to
        // "not found", and a key is no bearer.
        case 404 where error == nil, 401 where self.isKey && text == "invalid token":
            return .refused(
                "\(self.url) keeps no spend, or is too old for this: admin: is not configured there. Ask its operator.")
        case 401 where self.isKey:
            return .refused(
                "the gateway does not accept the key in \(Self.keyVariable). Set it to one of its admin.write_keys or admin.read_keys."
            )
        case 401 where audience == .developers:
            return .notSignedIn("The gateway no longer accepts this session. Run claude login.")
        case 403 where self.isKey:
            return .refused(
                "the key in \(Self.keyVariable) may not do this (\(text)). Set it to one of the gateway's admin.write_keys."
            )
        case 403 where audience == .developers: return .refused("the gateway refused this: \(text)")
        case 401, 403:
            return .refused(
                "only administrators may do this (\(text)). Sign in with an account in an admin group (admin.admin_groups), or set \(Self.keyVariable)."
            )
        case 400: return .badRequest("the gateway cannot do this: \(text)")
        default: return .refused("the gateway answered \(response.status): \(text)")
        }
    }

    private var isKey: Bool {
        if case .key = self.access { return true }
        return false
    }
}
