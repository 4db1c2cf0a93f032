// SPDX-License-Identifier: Apache-2.0

internal import Crypto
internal import Foundation
package import GatewayCore
internal import Synchronization

/// An OpenID provider on loopback that signs with ES256 and does what a test tells it to.
package final class FakeIdentityProvider: Sendable {
    package struct Behaviour: Sendable {
        /// Claims of the id_token, over the standard ones; `nil` values remove a claim.
        package var claims: [String: JSONValue?] = [:]
        /// An answer of the token endpoint in place of tokens.
        package var tokenError: (status: Int, body: String)?
        package var tokenDelay = Duration.zero
        package var issuesRefreshToken = true
    }

    private struct State {
        var behaviour = Behaviour()
        var codes: [String: (nonce: String, challenge: String)] = [:]
        var refreshTokens: Set<String> = []
        var refreshes = 0
        var issuer = ""
    }

    private let state = Mutex(State())
    private let key = P256.Signing.PrivateKey()
    private let server = Mutex<ScriptedServer?>(nil)

    package static let clientID = "gw"
    package static let clientSecret = "gw-secret"

    package init() {}

    package func start() async throws {
        let server = try await ScriptedServer { [self] request in [await self.answer(request)] }
        self.server.withLock { $0 = server }
        self.state.withLock { $0.issuer = server.url }
    }

    package func stop() async {
        await self.server.withLock { $0 }?.stop()
    }

    package var url: String { self.state.withLock { $0.issuer } }
    /// How many refresh grants arrived.
    package var refreshes: Int { self.state.withLock { $0.refreshes } }

    package func behave(_ change: @Sendable (inout Behaviour) -> Void) {
        self.state.withLock { change(&$0.behaviour) }
    }

    /// The browser's visit: the callback's path and query for an authorization URL.
    package func consent(_ location: String) -> String {
        let query = location.split(separator: "?", maxSplits: 1).last.map { Array($0.utf8) } ?? []
        let fields = FormCoding.firstValues(query)
        let code = RandomToken.make()
        self.state.withLock { $0.codes[code] = (fields["nonce"] ?? "", fields["code_challenge"] ?? "") }
        let back = WebURL(fields["redirect_uri"] ?? "")?.path ?? ""
        return back + "?" + FormCoding.encode([("code", code), ("state", fields["state"] ?? "")])
    }

    private func answer(_ request: ScriptedServer.Seen) async -> ScriptedServer.Step {
        let issuer = self.url
        switch request.target {
        case "/.well-known/openid-configuration":
            return .answer(
                200,
                JSONValue.object([
                    "issuer": .string(issuer), "authorization_endpoint": .string(issuer + "/authorize"),
                    "token_endpoint": .string(issuer + "/token"), "jwks_uri": .string(issuer + "/keys"),
                    "token_endpoint_auth_methods_supported": ["client_secret_post"],
                ]).text())
        case "/keys":
            let raw = Array(self.key.publicKey.rawRepresentation)
            return .answer(
                200,
                JSONValue.object([
                    "keys": [
                        [
                            "kty": "EC", "crv": "P-256", "alg": "ES256", "kid": "k1",
                            "x": .string(Base64URL.encode(raw.prefix(32))),
                            "y": .string(Base64URL.encode(raw.suffix(32))),
                        ]
                    ]
                ]).text())
        case "/token": return await self.token(request.form)
        default: return .answer(404, "{}")
        }
    }

    private func token(_ form: [String: String]) async -> ScriptedServer.Step {
        let behaviour = self.state.withLock { $0.behaviour }
        try? await Task.sleep(for: behaviour.tokenDelay)
        if form["grant_type"] == "refresh_token" { self.state.withLock { $0.refreshes += 1 } }
        if let error = behaviour.tokenError { return .answer(error.status, error.body) }
        guard form["client_secret"] == Self.clientSecret else { return .answer(401, #"{"error":"invalid_client"}"#) }
        var nonce: String?
        if form["grant_type"] == "refresh_token" {
            // Rotation: each refresh token works once.
            guard self.state.withLock({ $0.refreshTokens.remove(form["refresh_token"] ?? "") }) != nil else {
                return .answer(400, #"{"error":"invalid_grant"}"#)
            }
        } else {
            let challenge = Base64URL.encode(SHA256.hash(data: Data((form["code_verifier"] ?? "").utf8)))
            guard let code = self.state.withLock({ $0.codes.removeValue(forKey: form["code"] ?? "") }),
                code.challenge == challenge
            else { return .answer(400, #"{"error":"invalid_grant"}"#) }
            nonce = code.nonce
        }
        let now = Timestamp.now.seconds
        var claims: JSONObject = [
            "iss": .string(self.url), "aud": .string(Self.clientID), "sub": "u-1", "email": "dev@example.com",
            "email_verified": true, "name": "Dev One", "groups": ["eng"], "iat": .integer(now),
            "exp": .integer(now + 600),
        ]
        claims["nonce"] = nonce.map(JSONValue.string)
        for (name, value) in behaviour.claims { claims[name] = value }
        let signed =
            Base64URL.encode(JSONValue.object(["alg": "ES256", "kid": "k1"]).bytes()) + "."
            + Base64URL.encode(JSONValue.object(claims).bytes())
        guard let signature = try? self.key.signature(for: Data(signed.utf8)) else { return .answer(500, "{}") }
        var answer: JSONObject = [
            "access_token": "at", "token_type": "Bearer", "expires_in": 600,
            "id_token": .string(signed + "." + Base64URL.encode(signature.rawRepresentation)),
        ]
        if behaviour.issuesRefreshToken {
            let refresh = RandomToken.make()
            self.state.withLock { _ = $0.refreshTokens.insert(refresh) }
            answer["refresh_token"] = .string(refresh)
        }
        return .answer(200, JSONValue.object(answer).text())
    }
}
