// SPDX-License-Identifier: Apache-2.0

internal import Foundation
package import GatewayCore
package import GatewayHTTPClient

/// The identity provider, as the gateway talks to it: discovery, keys, code exchange, refresh and userinfo.
package actor OIDCProvider {
    /// What the token endpoint gave, checked.
    package struct Grant: Sendable {
        package let principal: Principal
        /// The provider's refresh token; `nil` when it issued none.
        package let refreshToken: Secret?
    }

    /// Bounds each request, so that a slow provider becomes a failed attempt and not a hanging one.
    private static let requestTimeout = Duration.milliseconds(3500)
    /// An unknown key id fetches the keys again, but strangers' tokens must not make the gateway hammer the provider.
    /// Keys are asked for no more often, and at least once a day: what a provider has withdrawn must not live on.
    private static let keyRefetchInterval = Duration.seconds(1)
    private static let keyMaximumAge = Duration.seconds(24 * 3600)

    private let settings: OIDCSettings
    private let client: OutboundClient
    package nonisolated let document: DiscoveryDocument
    private var keys: SigningKeys?
    private var keysFetchedAt: ContinuousClock.Instant?
    private let directory: GoogleDirectory?
    private var keyFlight: Task<SigningKeys, any Error>?

    package init(settings: OIDCSettings, document: DiscoveryDocument, client: OutboundClient) {
        self.settings = settings
        self.document = document
        self.client = client
        self.directory = settings.googleGroups.map {
            GoogleDirectory(settings: $0, client: client, usesProxy: settings.usesProxy)
        }
    }

    /// Reads the discovery document.
    package static func discover(_ settings: OIDCSettings, client: OutboundClient, rule: AddressGuard) async throws
        -> OIDCProvider
    {
        var request = OutboundRequest("GET", settings.discoveryDocument, timeout: requestTimeout)
        request.headers = [("accept", "application/json")]
        request.prepare(settings)
        let response: OutboundResponse
        do {
            response = try await client.send(request)
        } catch let error as OutboundError {
            throw SignInFailure.unavailable("\(error) Check oidc.issuer (\(settings.discoveryDocument))")
        }
        guard response.status == 200 else {
            throw SignInFailure.unavailable(
                "the discovery document at \(settings.discoveryDocument) was answered with HTTP \(response.status); check oidc.issuer"
            )
        }
        guard let json = response.json else {
            throw SignInFailure.unavailable(
                "the discovery document at \(settings.discoveryDocument) is not JSON; check oidc.issuer")
        }
        let document = try DiscoveryDocument(json, settings: settings, rule: rule)
        return OIDCProvider(settings: settings, document: document, client: client)
    }

    // MARK: The authorization request

    /// Where the browser is sent (OpenID Connect Core 1.0 §3.1.2.1).
    package nonisolated func authorizationURL(
        redirectURI: String, state: String, nonce: String, challenge: String?, settings: OIDCSettings,
    ) -> String {
        var fields = [
            ("client_id", settings.clientID), ("scope", settings.scopes.joined(separator: " ")),
            ("response_type", "code"), ("redirect_uri", redirectURI), ("state", state), ("nonce", nonce),
        ]
        if let challenge { fields += [("code_challenge", challenge), ("code_challenge_method", "S256")] }
        fields.append(("response_mode", "query"))
        fields += settings.extraParameters
        let endpoint = self.document.authorizationEndpoint
        return endpoint + (endpoint.contains("?") ? "&" : "?") + FormCoding.encode(fields)
    }

    // MARK: Grants

    package func exchange(code: String, redirectURI: String, verifier: String?, nonce: String) async throws -> Grant {
        var fields = [("grant_type", "authorization_code"), ("code", code), ("redirect_uri", redirectURI)]
        if let verifier { fields.append(("code_verifier", verifier)) }
        let answer = try await self.tokens(fields)
        return try await self.grant(answer, nonce: nonce, fallback: nil)
    }

    /// - Parameter subject: Whose session is being refreshed; another subject ends it.
    package func refresh(_ token: Secret, subject: String) async throws -> Grant {
        // First what can fail without consequence: the provider may replace the token, and that must not be lost.
        _ = try await self.currentKeys()
        let answer = try await self.tokens([("grant_type", "refresh_token"), ("refresh_token", token.reveal())])
        let grant = try await self.grant(answer, nonce: nil, fallback: token)
        guard grant.principal.subject == subject else {
            throw SignInFailure.rejected("the identity provider answered the refresh for another subject")
        }
        return grant
    }

    private func tokens(_ fields: [(String, String)]) async throws -> JSONValue {
        var fields = fields
        var headers = [(name: "accept", value: "application/json")]
        switch self.document.authentication {
        case .post:
            fields += [("client_id", self.settings.clientID), ("client_secret", self.settings.clientSecret.reveal())]
        case .basic:
            // RFC 6749 §2.3.1: both parts are form-encoded first.
            let id = FormCoding.escape(self.settings.clientID)
            let secret = FormCoding.escape(self.settings.clientSecret.reveal())
            headers.append(("authorization", "Basic " + Base64.encode(Array("\(id):\(secret)".utf8))))
        case .privateKey:
            guard
                let assertion = try self.settings.assertion?.token(
                    clientID: self.settings.clientID, audience: self.document.tokenEndpoint, now: .now)
            else { throw SignInFailure.unavailable("oidc.client_assertion cannot sign") }
            fields += [
                ("client_id", self.settings.clientID),
                ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"),
                ("client_assertion", assertion),
            ]
        }
        var request = OutboundRequest.form(self.document.tokenEndpoint, fields, timeout: Self.requestTimeout)
        request.headers += headers.filter { $0.name != "accept" }
        let response = try await self.send(request, to: "token endpoint")
        let json = response.json
        guard response.status == 200, let json, json["error"] == nil else {
            throw Self.failure(ofTokenAnswer: response, json)
        }
        return json
    }

    /// RFC 6749 §5.2. Only `invalid_grant` says anything about the developer; everything else is the provider's or the
    /// operator's affair.
    private static func failure(ofTokenAnswer response: OutboundResponse, _ json: JSONValue?) -> SignInFailure {
        guard let code = json?["error"]?.string else {
            return .unavailable("the token endpoint answered with HTTP \(response.status) and no OAuth error")
        }
        let text = json?["error_description"]?.string.map { " (\($0.printableASCII(limit: 200)))" } ?? ""
        let reason = "the token endpoint answered \(code.printableASCII(limit: 60))\(text)"
        return code == "invalid_grant" && response.status < 500 ? .invalidGrant(reason) : .unavailable(reason)
    }

    private func grant(_ answer: JSONValue, nonce: String?, fallback: Secret?) async throws -> Grant {
        var claims: IdentityClaims
        if let token = answer["id_token"]?.string {
            let payload = try await self.verified(token)
            try IDTokenRules(issuer: self.document.issuer, settings: self.settings).check(
                payload, nonce: nonce, now: .now)
            claims = try IdentityClaims(payload, settings: self.settings)
            if self.settings.usesUserinfo, claims.email == nil || claims.groups == nil {
                claims.fill(from: try await self.userinfo(answer, expecting: claims.subject))
            }
        } else if nonce == nil, answer["access_token"]?.string != nil {
            claims = try await self.userinfo(answer, expecting: nil)
        } else if nonce == nil {
            throw SignInFailure.unavailable("the token endpoint answered without any token")
        } else {
            throw SignInFailure.rejected(
                "the token endpoint answered without an id_token; check that oidc.scopes has openid")
        }
        if let directory = self.directory {
            guard let email = claims.email else {
                throw SignInFailure.rejected(
                    "google_groups needs the e-mail address, which the id_token lacks; check oidc.scopes and oidc.email_claim"
                )
            }
            claims.groups = try await directory.groups(of: email)
        }
        if claims.groupsAreElsewhere, claims.groups == nil, self.directory == nil {
            claims.groups = try await self.overflowingGroups(answer)
        }
        let principal = try claims.principal(settings: self.settings)
        let refresh = answer["refresh_token"]?.string.flatMap { $0.isEmpty ? nil : Secret($0) }
        return Grant(principal: principal, refreshToken: refresh ?? fallback)
    }

    /// Microsoft Entra leaves the groups out of a token when there are too many.
    private func overflowingGroups(_ answer: JSONValue) async throws -> [String]? {
        guard let graph = self.settings.entraGroups else {
            throw SignInFailure.rejected(
                "the id_token says that the developer's groups are too many for it; set oidc.entra_groups to look them up, or let Entra send only the groups assigned to the application"
            )
        }
        guard let token = answer["access_token"]?.string else {
            throw SignInFailure.unavailable("entra_groups: the token endpoint sent no access token for Microsoft Graph")
        }
        return try await EntraGroups(graphURL: graph, client: self.client, usesProxy: self.settings.usesProxy).groups(
            with: Secret(token))
    }

    private func userinfo(_ answer: JSONValue, expecting subject: String?) async throws -> IdentityClaims {
        guard let endpoint = self.document.userinfoEndpoint, let token = answer["access_token"]?.string else {
            throw SignInFailure.unavailable(
                "the identity provider has no userinfo endpoint, or sent no access token for it")
        }
        let request = OutboundRequest(
            "GET", endpoint, headers: [("authorization", "Bearer " + token), ("accept", "application/json")],
            timeout: Self.requestTimeout)
        let response = try await self.send(request, to: "userinfo endpoint")
        guard response.status == 200, case .object(let claims)? = response.json else {
            throw SignInFailure.unavailable(
                "the userinfo endpoint answered with HTTP \(response.status)\(response.jsonRemark)")
        }
        let identity = try IdentityClaims(claims, settings: self.settings)
        if let subject, identity.subject != subject {
            throw SignInFailure.rejected("the userinfo answer is about another subject than the id_token")
        }
        return identity
    }

    // MARK: Keys

    private func verified(_ token: String) async throws -> JSONObject {
        let asked = ContinuousClock.now
        let keys = try await self.currentKeys()
        do {
            return try await keys.verify(token)
        } catch is SigningKeys.Lookup {
            // The provider may have rotated its keys since they were fetched. It has used up the grant, so this token
            // is not refused before newer keys have been looked at.
            let newer = try await self.keys(newerThan: asked)
            do {
                return try await newer.verify(token)
            } catch let miss as SigningKeys.Lookup {
                throw Self.refusal(miss)
            }
        }
    }

    /// Keys that were asked for after `moment`. Of many callers one asks.
    private func keys(newerThan moment: ContinuousClock.Instant) async throws -> SigningKeys {
        if let fetched = self.keysFetchedAt {
            let pause = Self.keyRefetchInterval - fetched.duration(to: .now)
            if pause > .zero { try await Task.sleep(for: pause) }
        }
        if let keys, let fetched = self.keysFetchedAt, fetched > moment { return keys }
        return try await self.fetchKeys()
    }

    private static func refusal(_ miss: SigningKeys.Lookup) -> SignInFailure {
        switch miss {
        case .unknownKey(let id):
            .rejected("the id_token is signed with the key '\(id)', which the provider does not list")
        case .notSigned: .rejected("the id_token's signature is wrong: no key of the provider's fits it")
        }
    }

    private func currentKeys() async throws -> SigningKeys {
        guard let keys else { return try await self.fetchKeys() }
        if let fetched = self.keysFetchedAt, fetched.duration(to: .now) > Self.keyMaximumAge {
            // While their endpoint is away, the known ones are used.
            return (try? await self.fetchKeys()) ?? keys
        }
        return keys
    }

    private func fetchKeys() async throws -> SigningKeys {
        if let keyFlight { return try await keyFlight.value }
        let flight = Task { try await self.requestKeys() }
        self.keyFlight = flight
        defer { self.keyFlight = nil }
        return try await flight.value
    }

    private func requestKeys() async throws -> SigningKeys {
        let request = OutboundRequest(
            "GET", self.document.keysURL, headers: [("accept", "application/json")], timeout: Self.requestTimeout)
        let response = try await self.send(request, to: "key endpoint")
        guard response.status == 200, let json = response.json else {
            throw SignInFailure.unavailable(
                "the key endpoint answered with HTTP \(response.status)\(response.jsonRemark)")
        }
        let keys = await SigningKeys(json, algorithm: self.settings.algorithm)
        self.keys = keys
        self.keysFetchedAt = .now
        return keys
    }

    private func send(_ request: OutboundRequest, to what: String) async throws -> OutboundResponse {
        var request = request
        request.prepare(self.settings)
        do {
            return try await self.client.send(request)
        } catch let error as OutboundError {
            throw SignInFailure.unavailable("\(what): \(error)")
        }
    }
}

extension OutboundResponse {
    /// For messages: a good status alone would puzzle.
    fileprivate var jsonRemark: String { self.status == 200 && self.json == nil ? " and no JSON" : "" }
}

extension OutboundRequest {
    fileprivate mutating func prepare(_ settings: OIDCSettings) {
        self.prepareProxy(settings.usesProxy)
        self.trustedCertificates = settings.trustedCertificates
    }

    /// Goes the way of `oidc.use_proxy`.
    mutating func prepareProxy(_ usesProxy: Bool) {
        // Only where a proxy really applies: a direct connection is one whose address is checked.
        let environment = ProxyEnvironment(ProcessInfo.processInfo.environment)
        let applies = usesProxy && WebURL(self.url).map(environment.applies) == true
        self.proxying = applies ? .environment : .direct
        // The proxy does not get to say where the identity provider is.
        self.pinsAddress = applies
    }
}
