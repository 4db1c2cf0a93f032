// SPDX-License-Identifier: Apache-2.0

internal import Crypto
internal import CryptoExtras
internal import Foundation
internal import GatewayCore
package import GatewayHTTPClient

/// Group membership from the Google Workspace directory, whose id_tokens carry no groups.
///
/// Source: <https://developers.google.com/workspace/admin/directory/reference/rest/v1/groups/list>; the service account
/// acts for an administrator by domain-wide delegation.
package actor GoogleDirectory {
    /// `oidc.google_groups`.
    package struct Settings: Sendable {
        package let keyPath: String
        package let adminEmail: String
        /// Google's own, except in tests.
        package var tokenEndpoint = "https://oauth2.googleapis.com/token"
        package var groupsEndpoint = "https://admin.googleapis.com/admin/directory/v1/groups"

        package init(keyPath: String, adminEmail: String) {
            self.keyPath = keyPath
            self.adminEmail = adminEmail
        }
    }

    package enum KeyProblem: Error {
        case unreadable(path: String)
        case notAKey(path: String)

        package var sentence: String {
            switch self {
            case .unreadable(let path):
                "the file \(path.singleLine) cannot be read; check the path and its permissions."
            case .notAKey(let path):
                "the file \(path.singleLine) is not a Google service account's key (JSON with client_email and private_key)."
            }
        }
    }

    /// A service account's key file.
    package struct Key: Sendable {
        let email: String
        let key: _RSA.Signing.PrivateKey

        package init(path: String) throws(KeyProblem) {
            guard let data = FileManager.default.contents(atPath: path) else { throw .unreadable(path: path) }
            guard let json = try? JSONValue(parsing: data), let email = json["client_email"]?.string,
                let pem = json["private_key"]?.string, let key = try? _RSA.Signing.PrivateKey(pemRepresentation: pem)
            else { throw .notAKey(path: path) }
            self.email = email
            self.key = key
        }
    }

    private static let scope = "https://www.googleapis.com/auth/admin.directory.group.readonly"
    private static let requestTimeout = Duration.milliseconds(3500)
    /// Nobody is in more groups than these pages hold; a directory that goes on for ever must not hold a sign-in.
    private static let maximumPages = 50

    private let settings: Settings
    private let client: OutboundClient
    /// `oidc.use_proxy`.
    private let usesProxy: Bool
    private var token: (value: Secret, expiresAt: Int64)?

    package init(settings: Settings, client: OutboundClient, usesProxy: Bool = false) {
        self.settings = settings
        self.client = client
        self.usesProxy = usesProxy
    }

    /// The addresses of the groups that somebody is in, lower-cased.
    package func groups(of email: String) async throws(SignInFailure) -> [String] {
        let token = try await self.accessToken()
        var groups: [String] = []
        var page: String?
        for _ in 0..<Self.maximumPages {
            var query = [("userKey", email), ("maxResults", "200")]
            if let page { query.append(("pageToken", page)) }
            let response = try await self.send(
                OutboundRequest(
                    "GET", self.settings.groupsEndpoint + "?" + FormCoding.encode(query),
                    headers: [("authorization", "Bearer " + token.reveal()), ("accept", "application/json")],
                    timeout: Self.requestTimeout))
            guard response.status == 200, let json = response.json else {
                if response.status == 401 { self.token = nil }
                let text = json(response)
                throw .unavailable("google_groups: the directory answered with HTTP \(response.status)\(text)")
            }
            groups += (json["groups"]?.array ?? []).compactMap { $0["email"]?.string?.lowercased() }
            page = json["nextPageToken"]?.string
            if page == nil || page == "" { return groups }
        }
        throw .unavailable("google_groups: the directory's list does not end")

        func json(_ response: OutboundResponse) -> String {
            response.json?["error"]?["message"]?.string.map { ": " + $0.printableASCII(limit: 200) } ?? ""
        }
    }

    private func accessToken() async throws(SignInFailure) -> Secret {
        let now = Timestamp.now
        if let token, token.expiresAt > now.seconds + 60 { return token.value }
        let assertion: String
        do {
            let key = try Key(path: self.settings.keyPath)
            let claims: JSONValue = [
                "iss": .string(key.email), "sub": .string(self.settings.adminEmail), "scope": .string(Self.scope),
                "aud": .string(self.settings.tokenEndpoint), "iat": .integer(now.seconds),
                "exp": .integer(now.seconds + 3600),
            ]
            assertion = try SignedToken.make(header: ["alg": "RS256", "typ": "JWT"], claims: claims, key: key.key)
        } catch let problem as KeyProblem {
            throw .unavailable("google_groups: \(problem.sentence)")
        } catch {
            throw .unavailable("google_groups: the service account's key cannot sign")
        }
        let response = try await self.send(
            OutboundRequest.form(
                self.settings.tokenEndpoint,
                [("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer"), ("assertion", assertion)],
                timeout: Self.requestTimeout))
        guard response.status == 200, let token = response.json?["access_token"]?.string else {
            let code = response.json?["error"]?.string.map { ": " + $0.printableASCII(limit: 100) } ?? ""
            throw .unavailable("google_groups: Google's token endpoint answered with HTTP \(response.status)\(code)")
        }
        let lifetime = response.json?["expires_in"]?.integer ?? 3600
        self.token = (Secret(token), now.seconds + Int64(lifetime))
        return Secret(token)
    }

    private func send(_ request: OutboundRequest) async throws(SignInFailure) -> OutboundResponse {
        var request = request
        request.prepareProxy(self.usesProxy)
        do {
            return try await self.client.send(request)
        } catch {
            throw .unavailable("google_groups: \(error)")
        }
    }
}
