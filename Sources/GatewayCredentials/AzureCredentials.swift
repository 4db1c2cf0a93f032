// SPDX-License-Identifier: Apache-2.0

internal import Crypto
internal import CryptoExtras
internal import Foundation
internal import GatewayCore
internal import GatewayHTTPClient
internal import GatewayProviders

/// Microsoft Entra tokens of the environment's identity, in the order of DefaultAzureCredential: a client secret, a
/// certificate, a workload's identity, App Service, and the instance metadata service.
///
/// Source: <https://learn.microsoft.com/azure/developer/intro/authentication-overview>.
struct AzureCredentialSource: Sendable {
    let environment: CredentialEnvironment

    private static let resource = "https://cognitiveservices.azure.com"

    func fetch() async throws -> FetchedCredential {
        let environment = self.environment
        if let tenant = environment["AZURE_TENANT_ID"], let client = environment["AZURE_CLIENT_ID"] {
            if let secret = environment["AZURE_CLIENT_SECRET"] {
                return try await self.exchange(
                    tenant, [("client_id", client), ("client_secret", secret)], "client secret")
            }
            if let path = environment["AZURE_CLIENT_CERTIFICATE_PATH"] {
                let assertion = try self.assertion(path, tenant: tenant, client: client)
                return try await self.exchange(tenant, Self.asserted(client, assertion), "client certificate")
            }
            if let file = environment["AZURE_FEDERATED_TOKEN_FILE"] {
                let token = try environment.file(file).trimmingSpaces
                return try await self.exchange(tenant, Self.asserted(client, token), "workload identity")
            }
        }
        if let endpoint = environment["IDENTITY_ENDPOINT"], let header = environment["IDENTITY_HEADER"] {
            var query = [("api-version", "2019-08-01"), ("resource", Self.resource)]
            if let client = environment["AZURE_CLIENT_ID"] { query.append(("client_id", client)) }
            let json = try await environment.json(
                OutboundRequest(
                    "GET", endpoint + "?" + FormCoding.encode(query), headers: [("x-identity-header", header)]),
                of: "App Service's identity endpoint", isMetadata: true)
            return try Self.token(json, "App Service")
        }
        return try await self.metadata()
    }

    private static func asserted(_ client: String, _ assertion: String) -> [(String, String)] {
        [
            ("client_id", client),
            ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"),
            ("client_assertion", assertion),
        ]
    }

    private func tokenURL(_ tenant: String) -> String {
        var host = self.environment["AZURE_AUTHORITY_HOST"] ?? "https://login.microsoftonline.com"
        while host.hasSuffix("/") { host.removeLast() }
        return "\(host)/\(tenant)/oauth2/v2.0/token"
    }

    private func exchange(_ tenant: String, _ fields: [(String, String)], _ source: String) async throws
        -> FetchedCredential
    {
        let all = [("grant_type", "client_credentials"), ("scope", Self.resource + "/.default")] + fields
        let json = try await self.environment.json(.form(self.tokenURL(tenant), all), of: "Microsoft Entra")
        return try Self.token(json, source)
    }

    /// A certificate's assertion (RFC 7523): the PEM file holds the certificate and its key.
    private func assertion(_ path: String, tenant: String, client: String) throws -> String {
        let pem = try self.environment.file(path)
        guard let key = try? _RSA.Signing.PrivateKey(pemRepresentation: Self.block(pem, "PRIVATE KEY") ?? ""),
            let certificate = Self.block(pem, "CERTIFICATE"),
            let der = Data(
                base64Encoded: certificate.split(separator: "\n").filter { !$0.hasPrefix("-----") }.joined())
        else { throw CredentialFailure("AZURE_CLIENT_CERTIFICATE_PATH holds no RSA key with its certificate in PEM") }
        let now = Timestamp.now.seconds
        let header: JSONValue = [
            "alg": "RS256", "typ": "JWT", "x5t": .string(Base64URL.encode(Insecure.SHA1.hash(data: der))),
        ]
        let claims: JSONValue = [
            "iss": .string(client), "sub": .string(client), "aud": .string(self.tokenURL(tenant)),
            "jti": .string(UUID().uuidString), "iat": .integer(now), "nbf": .integer(now), "exp": .integer(now + 300),
        ]
        return try RS256.sign(header: header, claims: claims, key: key)
    }

    private static func block(_ pem: String, _ label: String) -> String? {
        guard let begin = pem.range(of: "-----BEGIN \(label)-----"), let end = pem.range(of: "-----END \(label)-----"),
            begin.upperBound < end.lowerBound
        else { return nil }
        return String(pem[begin.lowerBound..<end.upperBound])
    }

    private func metadata() async throws -> FetchedCredential {
        var host = self.environment["AZURE_POD_IDENTITY_AUTHORITY_HOST"] ?? "http://169.254.169.254"
        while host.hasSuffix("/") { host.removeLast() }
        var query = [("api-version", "2018-02-01"), ("resource", Self.resource)]
        if let client = self.environment["AZURE_CLIENT_ID"] { query.append(("client_id", client)) }
        do {
            let json = try await self.environment.json(
                OutboundRequest(
                    "GET", host + "/metadata/identity/oauth2/token?" + FormCoding.encode(query),
                    headers: [("metadata", "true")]),
                of: "Azure's instance metadata service", isMetadata: true, timeout: .seconds(3))
            return try Self.token(json, "managed identity")
        } catch let error as OutboundError {
            throw CredentialFailure("no Azure identity in the environment, and no instance metadata (\(error))")
        }
    }

    private static func token(_ json: JSONValue, _ source: String) throws -> FetchedCredential {
        guard let token = json["access_token"]?.string else {
            throw CredentialFailure("the answer for \(source) has no access_token")
        }
        // Some endpoints write numbers as text.
        func number(_ name: String) -> Double? { json[name]?.number ?? json[name]?.string.flatMap(Double.init) }
        let end =
            number("expires_in").map { Timestamp.now.advanced(bySeconds: $0) }
            ?? number("expires_on").map { Timestamp(milliseconds: Int64($0 * 1000)) }
        return FetchedCredential(
            .bearer(Secret(token)), expiresAt: end ?? Timestamp.now.advanced(bySeconds: 3600), source: source)
    }
}
