// SPDX-License-Identifier: Apache-2.0

internal import Crypto
internal import CryptoExtras
internal import Foundation
internal import GatewayCore
internal import GatewayHTTPClient
internal import GatewayProviders

/// Google access tokens: of a key file, or application default credentials.
///
/// Source: <https://cloud.google.com/docs/authentication/application-default-credentials>.
struct GoogleCredentialSource: Sendable {
    let environment: CredentialEnvironment
    let authentication: GoogleAuthentication

    /// Google's own, except in tests; a key file's `token_uri` is not believed.
    var tokenURL = "https://oauth2.googleapis.com/token"

    static let scope = "https://www.googleapis.com/auth/cloud-platform"

    func fetch() async throws -> FetchedCredential {
        switch self.authentication {
        case .accessToken(let token): return FetchedCredential(.bearer(token), expiresAt: nil, source: "access_token")
        case .serviceAccount(let path): return try await self.file(path, source: "service_account_json")
        case .ambient: break
        }
        if let path = self.environment["GOOGLE_APPLICATION_CREDENTIALS"] {
            return try await self.file(path, source: "GOOGLE_APPLICATION_CREDENTIALS")
        }
        let folder = self.environment["CLOUDSDK_CONFIG"] ?? self.environment.home + "/.config/gcloud"
        let path = folder + "/application_default_credentials.json"
        if self.environment.optionalFile(path) != nil {
            return try await self.file(path, source: "application_default_credentials.json")
        }
        return try await self.metadata()
    }

    private func file(_ path: String, source: String) async throws -> FetchedCredential {
        let json = try JSONValue(parsing: Array(try self.environment.file(path).utf8))
        switch json["type"]?.string {
        case "service_account": return try await self.serviceAccount(json, source: source)
        case "authorized_user": return try await self.authorizedUser(json, source: source)
        case "external_account": return try await self.externalAccount(json, source: source)
        default:
            throw CredentialFailure(
                "\(path.singleLine) is not a service account's, a user's or an external account's file")
        }
    }

    private func serviceAccount(_ json: JSONValue, source: String) async throws -> FetchedCredential {
        guard let email = json["client_email"]?.string, let pem = json["private_key"]?.string,
            let key = try? _RSA.Signing.PrivateKey(pemRepresentation: pem)
        else { throw CredentialFailure("the service account's file lacks client_email or a private_key") }
        let now = Timestamp.now.seconds
        let header: JSONValue = ["alg": "RS256", "typ": "JWT"]
        let claims: JSONValue = [
            "iss": .string(email), "scope": .string(Self.scope), "aud": .string(self.tokenURL), "iat": .integer(now),
            "exp": .integer(now + 3600),
        ]
        let assertion = try RS256.sign(header: header, claims: claims, key: key)
        return try await self.exchange(
            [("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer"), ("assertion", assertion)], source: source)
    }

    private func authorizedUser(_ json: JSONValue, source: String) async throws -> FetchedCredential {
        guard let id = json["client_id"]?.string, let secret = json["client_secret"]?.string,
            let refresh = json["refresh_token"]?.string
        else { throw CredentialFailure("the user's file lacks client_id, client_secret or refresh_token") }
        return try await self.exchange(
            [
                ("grant_type", "refresh_token"), ("client_id", id), ("client_secret", secret),
                ("refresh_token", refresh),
            ], source: source)
    }

    private func exchange(_ fields: [(String, String)], source: String) async throws -> FetchedCredential {
        let json = try await self.environment.json(
            .form(self.tokenURL, fields), of: "Google's token endpoint")
        return try Self.token(json, source: source)
    }

    private static func token(_ json: JSONValue, source: String) throws -> FetchedCredential {
        guard let token = json["access_token"]?.string else {
            throw CredentialFailure("Google's answer has no access_token")
        }
        let life = Double(json["expires_in"]?.integer ?? 3600)
        return FetchedCredential(
            .bearer(Secret(token)), expiresAt: Timestamp.now.advanced(bySeconds: life), source: source)
    }

    /// Workload identity federation (RFC 8693): a token of another identity is exchanged, and a service account is
    /// impersonated with the result where the file says so.
    private func externalAccount(_ json: JSONValue, source: String) async throws -> FetchedCredential {
        guard let audience = json["audience"]?.string, let type = json["subject_token_type"]?.string,
            let url = json["token_url"]?.string, let credentialSource = json["credential_source"]
        else { throw CredentialFailure("the external account's file lacks audience, subject_token_type or token_url") }
        let subject = try await self.subjectToken(credentialSource)
        let fields = [
            ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"), ("audience", audience),
            ("scope", Self.scope), ("requested_token_type", "urn:ietf:params:oauth:token-type:access_token"),
            ("subject_token_type", type), ("subject_token", subject),
        ]
        let exchanged = try Self.token(
            try await self.environment.json(.form(url, fields), of: "Google's security token service"), source: source)
        guard let impersonation = json["service_account_impersonation_url"]?.string,
            case .bearer(let token) = exchanged.value
        else { return exchanged }
        let request = OutboundRequest(
            "POST", impersonation,
            headers: [("authorization", "Bearer " + token.reveal()), ("content-type", "application/json")],
            body: JSONValue.object(["scope": [.string(Self.scope)]]).bytes())
        let answer = try await self.environment.json(request, of: "Google's IAM credentials service")
        guard let made = answer["accessToken"]?.string else {
            throw CredentialFailure("Google's IAM credentials service gave no token")
        }
        return FetchedCredential(
            .bearer(Secret(made)), expiresAt: answer["expireTime"]?.string.flatMap(Timestamp.init(iso8601:)),
            source: source)
    }

    private func subjectToken(_ source: JSONValue) async throws -> String {
        let text: String
        if let file = source["file"]?.string {
            text = try self.environment.file(file)
        } else if let url = source["url"]?.string {
            let headers = (source["headers"]?.object?.members ?? []).map {
                (name: $0.key, value: $0.value.string ?? "")
            }
            let response = try await self.environment.send(
                OutboundRequest("GET", url, headers: headers), isMetadata: true)
            guard response.status == 200 else {
                throw CredentialFailure("the source of the subject token answered with HTTP \(response.status)")
            }
            text = response.text
        } else {
            throw CredentialFailure("the external account's credential_source has neither file nor url")
        }
        guard source["format"]?["type"]?.string == "json" else { return text.trimmingSpaces }
        let field = source["format"]?["subject_token_field_name"]?.string ?? ""
        guard let token = (try? JSONValue(parsing: Array(text.utf8)))?[field]?.string else {
            throw CredentialFailure("the subject token's document has no \(field.singleLine)")
        }
        return token
    }

    private func metadata() async throws -> FetchedCredential {
        let host = self.environment["GCE_METADATA_HOST"] ?? "metadata.google.internal"
        let url = "http://\(host)/computeMetadata/v1/instance/service-accounts/default/token"
        do {
            let json = try await self.environment.json(
                OutboundRequest("GET", url, headers: [("metadata-flavor", "Google")]), of: "Google's metadata server",
                isMetadata: true, timeout: .seconds(3))
            return try Self.token(json, source: "metadata server")
        } catch let error as OutboundError {
            throw CredentialFailure("no application default credentials, and no metadata server (\(error))")
        }
    }
}

/// A compact JWS with RS256 (RFC 7515 §7.1).
enum RS256 {
    static func sign(header: JSONValue, claims: JSONValue, key: _RSA.Signing.PrivateKey) throws -> String {
        let input = Base64URL.encode(header.bytes()) + "." + Base64URL.encode(claims.bytes())
        let signature = try key.signature(for: SHA256.hash(data: Data(input.utf8)), padding: .insecurePKCS1v1_5)
        return input + "." + Base64URL.encode(signature.rawRepresentation)
    }
}
