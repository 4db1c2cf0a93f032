// SPDX-License-Identifier: Apache-2.0

internal import Crypto
internal import Foundation
internal import GatewayCore
internal import GatewayRelay
internal import NIOCore
internal import NIOHTTP1
internal import Synchronization

/// The OpenID provider of `claude gateway --dev`: whoever opens its page picks who to be. It listens on a loopback port
/// of its own and exists only in that mode.
final class DevIdentityProvider: PlainResponder {
    struct User: Sendable {
        let id: String
        let name: String
        let groups: [String]

        var email: String { "\(self.id)@example.com" }
    }

    static let users = [
        User(id: "ada", name: "Ada Lovelace", groups: ["engineering", "admins"]),
        User(id: "grace", name: "Grace Hopper", groups: ["engineering"]),
        User(id: "blaise", name: "Blaise Pascal", groups: ["contractors"]),
    ]
    static let clientID = "dev-gateway"

    private struct Code: Sendable {
        let user: String
        let nonce: String?
        let challenge: String?
        let redirectURI: String
    }

    private struct State {
        var codes: [String: Code] = [:]
        var refreshTokens: [String: String] = [:]
    }

    let clientSecret = Secret(RandomToken.make())
    private let key = P256.Signing.PrivateKey()
    private let issuer: Mutex<String>
    private let state = Mutex(State())

    init() {
        self.issuer = Mutex("")
    }

    /// Known only once the port is.
    func setIssuer(_ url: String) {
        self.issuer.withLock { $0 = url }
    }

    private var issuerURL: String { self.issuer.withLock { $0 } }

    func immediateAnswer(to request: PlainRequest) -> PlainResponse? { nil }

    func respond(to request: PlainRequest) async -> PlainResponse {
        let query = FormCoding.firstValues(Array(request.query.utf8))
        switch (request.method, request.path) {
        case (.GET, "/.well-known/openid-configuration"): return .json(.ok, self.metadata)
        case (.GET, "/keys"): return .json(.ok, self.publicKeys)
        case (.GET, "/authorize"): return self.picker(query)
        case (.GET, "/authorize/as"): return self.authorize(query)
        case (.POST, "/token"): return self.token(FormCoding.firstValues(Array(request.body.readableBytesView)))
        default: return .text(.notFound, "not found")
        }
    }

    private var metadata: JSONValue {
        let issuer = self.issuerURL
        return [
            "issuer": .string(issuer), "authorization_endpoint": .string(issuer + "/authorize"),
            "token_endpoint": .string(issuer + "/token"), "jwks_uri": .string(issuer + "/keys"),
            "response_types_supported": ["code"], "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["ES256"], "code_challenge_methods_supported": ["S256"],
            "token_endpoint_auth_methods_supported": ["client_secret_post"],
        ]
    }

    private var publicKeys: JSONValue {
        let raw = Array(self.key.publicKey.rawRepresentation)
        return [
            "keys": [
                [
                    "kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": "dev",
                    "x": .string(Base64URL.encode(raw.prefix(32))), "y": .string(Base64URL.encode(raw.suffix(32))),
                ]
            ]
        ]
    }

    private func picker(_ query: [String: String]) -> PlainResponse {
        guard query["client_id"] == Self.clientID, let back = query["redirect_uri"].flatMap(WebURL.init),
            back.isLoopback
        else {
            return .text(.badRequest, "This provider serves only the gateway that started it.")
        }
        let links = Self.users.map { user -> [String: String] in
            var fields = [("user", user.id)]
            for name in ["redirect_uri", "state", "nonce", "code_challenge"] {
                if let value = query[name] { fields.append((name, value)) }
            }
            return [
                "href": "/authorize/as?" + FormCoding.encode(fields), "name": user.name,
                "about": "\(user.email) · \(user.groups.joined(separator: ", "))",
            ]
        }
        return DevPages.picker(links)
    }

    private func authorize(_ query: [String: String]) -> PlainResponse {
        guard let user = query["user"], Self.users.contains(where: { $0.id == user }),
            let redirectURI = query["redirect_uri"], WebURL(redirectURI)?.isLoopback == true
        else { return .text(.badRequest, "unknown user") }
        let code = RandomToken.make()
        self.state.withLock {
            $0.codes[code] = Code(
                user: user, nonce: query["nonce"], challenge: query["code_challenge"], redirectURI: redirectURI)
        }
        let location = redirectURI + "?" + FormCoding.encode([("code", code), ("state", query["state"] ?? "")])
        return PlainResponse(status: .found, headers: ["location": location], body: .bytes(ByteBuffer()))
    }

    private func token(_ form: [String: String]) -> PlainResponse {
        guard form["client_id"] == Self.clientID, form["client_secret"] == self.clientSecret.reveal() else {
            return .oauthError(.unauthorized, "invalid_client")
        }
        switch form["grant_type"] {
        case "authorization_code":
            guard let code = self.state.withLock({ $0.codes.removeValue(forKey: form["code"] ?? "") }),
                code.redirectURI == form["redirect_uri"],
                code.challenge == Base64URL.encode(SHA256.hash(data: Data((form["code_verifier"] ?? "").utf8)))
            else { return .oauthError(.badRequest, "invalid_grant") }
            return self.tokens(for: code.user, nonce: code.nonce)
        case "refresh_token":
            guard let user = self.state.withLock({ $0.refreshTokens.removeValue(forKey: form["refresh_token"] ?? "") })
            else {
                return .oauthError(.badRequest, "invalid_grant")
            }
            return self.tokens(for: user, nonce: nil)
        default: return .oauthError(.badRequest, "unsupported_grant_type")
        }
    }

    private func tokens(for id: String, nonce: String?) -> PlainResponse {
        guard let user = Self.users.first(where: { $0.id == id }) else {
            return .oauthError(.badRequest, "invalid_grant")
        }
        let now = Timestamp.now.seconds
        var claims: JSONObject = [
            "iss": .string(self.issuerURL), "aud": .string(Self.clientID), "sub": .string("dev-" + user.id),
            "email": .string(user.email), "email_verified": true, "name": .string(user.name),
            "groups": .array(user.groups.map(JSONValue.string)), "iat": .integer(now), "exp": .integer(now + 3600),
        ]
        claims["nonce"] = nonce.map(JSONValue.string)
        let header: JSONValue = ["alg": "ES256", "typ": "JWT", "kid": "dev"]
        let signed = Base64URL.encode(header.bytes()) + "." + Base64URL.encode(JSONValue.object(claims).bytes())
        guard let signature = try? self.key.signature(for: Data(signed.utf8)) else {
            return .oauthError(.internalServerError, "server_error")
        }
        let refresh = RandomToken.make()
        self.state.withLock { $0.refreshTokens[refresh] = id }
        return .oauth(
            .ok,
            [
                "access_token": .string(RandomToken.make()), "token_type": "Bearer", "expires_in": 3600,
                "refresh_token": .string(refresh),
                "id_token": .string(signed + "." + Base64URL.encode(signature.rawRepresentation)),
            ])
    }
}
