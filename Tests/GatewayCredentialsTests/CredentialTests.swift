// SPDX-License-Identifier: Apache-2.0

import Foundation
import GatewayConfig
import GatewayCore
import GatewayHTTPClient
import GatewayProviders
import Synchronization
import TestSupport
import Testing

@testable import GatewayCredentials

/// A folder with files, removed afterwards.
private func withFolder(_ files: [String: String], _ body: (String) async throws -> Void) async throws {
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent("credentials-" + RandomToken.make())
    defer { try? FileManager.default.removeItem(at: folder) }
    for (name, text) in files {
        let file = folder.appendingPathComponent(name)
        try FileManager.default.createDirectory(
            at: file.deletingLastPathComponent(), withIntermediateDirectories: true)
        try Data(text.utf8).write(to: file)
    }
    try await body(folder.path)
}

private func environment(_ variables: [String: String]) -> CredentialEnvironment {
    CredentialEnvironment(
        variables: ["HOME": "/nonexistent"].merging(variables) { $1 }, client: OutboundClient(rule: .any))
}

private func aws(_ fetched: FetchedCredential) -> (String, String, String?) {
    guard case .aws(let keys) = fetched.value else { return ("", "", nil) }
    return (keys.accessKeyID, keys.secretAccessKey.reveal(), keys.sessionToken?.reveal())
}

private func bearer(_ fetched: FetchedCredential) -> String {
    guard case .bearer(let token) = fetched.value else { return "" }
    return token.reveal()
}

private let document =
    #"{"AccessKeyId":"AK","SecretAccessKey":"SK","Token":"TK","Expiration":"2030-01-01T00:00:00Z"}"#

@Suite("AWS credentials")
struct AWSCredentialTests {
    private func chain(_ variables: [String: String]) -> AWSCredentialChain {
        AWSCredentialChain(environment: environment(variables), region: "eu-west-1")
    }

    @Test("come from variables, a Bedrock key first")
    func variables() async throws {
        let found = try await self.chain([
            "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_SESSION_TOKEN": "c",
        ]).fetch()
        #expect(aws(found) == ("a", "b", "c"))
        #expect(
            bearer(try await self.chain(["AWS_BEARER_TOKEN_BEDROCK": "t", "AWS_ACCESS_KEY_ID": "a"]).fetch()) == "t")
    }

    @Test("come from profiles, with a process and a role behind them")
    func profiles() async throws {
        let xml = """
            <AssumeRoleResponse><AssumeRoleResult><Credentials><AccessKeyId>R</AccessKeyId><SecretAccessKey>S</SecretAccessKey>
            <SessionToken>T</SessionToken><Expiration>2030-01-01T00:00:00Z</Expiration></Credentials></AssumeRoleResult></AssumeRoleResponse>
            """
        let sts = try await ScriptedServer { _ in [.answer(200, xml)] }
        let files = [
            ".aws/credentials": "[default]\naws_access_key_id = d\naws_secret_access_key = e\n",
            ".aws/config":
                "# comment\n[profile tool]\ncredential_process = printf '%s' '{\"Version\":1,\"AccessKeyId\":\"P\",\"SecretAccessKey\":\"Q\"}'\n[profile role]\nrole_arn = arn:aws:iam::123456789012:role/r\nsource_profile = default\nexternal_id = ext\n",
        ]
        try await withFolder(files) { home in
            let all = ["HOME": home, "AWS_ENDPOINT_URL_STS": sts.url + "/"]
            func fetch(_ more: [String: String]) async throws -> FetchedCredential {
                try await self.chain(all.merging(more) { $1 }).fetch()
            }
            #expect(aws(try await fetch([:])) == ("d", "e", nil))
            #expect(aws(try await fetch(["AWS_PROFILE": "tool"])) == ("P", "Q", nil))
            // A named profile wins over variables.
            let role = try await fetch(["AWS_PROFILE": "role", "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "y"])
            #expect(aws(role) == ("R", "S", "T"))
            #expect(role.expiresAt == Timestamp(iso8601: "2030-01-01T00:00:00Z"))
            let seen = try #require(sts.seen.first)
            #expect(seen.form["Action"] == "AssumeRole")
            #expect(seen.form["ExternalId"] == "ext")
            #expect(seen.header("authorization")?.contains("Credential=d/") == true)
            await #expect(throws: CredentialFailure.self) { try await fetch(["AWS_PROFILE": "none"]) }
        }
        await sts.stop()
    }

    @Test("come from a web identity, a container, and the instance")
    func platforms() async throws {
        let server = try await ScriptedServer { seen in
            switch (seen.method, seen.target) {
            case ("PUT", "/latest/api/token"): [.answer(200, "tok")]
            case (_, "/latest/meta-data/iam/security-credentials/"): [.answer(200, "my-role\n")]
            case (_, "/latest/meta-data/iam/security-credentials/my-role"):
                [seen.header("x-aws-ec2-metadata-token") == "tok" ? .answer(200, document) : .answer(401, "")]
            case (_, "/creds"): [seen.header("authorization") == "Basic z" ? .answer(200, document) : .answer(401, "")]
            default:
                [
                    .answer(
                        200,
                        "<AccessKeyId>W</AccessKeyId><SecretAccessKey>X</SecretAccessKey><SessionToken>Y&amp;Z</SessionToken>"
                    )
                ]
            }
        }
        try await withFolder(["token": "jwt\n", "auth": "Basic z\n"]) { folder in
            let web = try await self.chain([
                "AWS_ROLE_ARN": "arn:aws:iam::1:role/x", "AWS_WEB_IDENTITY_TOKEN_FILE": folder + "/token",
                "AWS_ENDPOINT_URL_STS": server.url + "/",
            ]).fetch()
            #expect(aws(web) == ("W", "X", "Y&Z"))
            #expect(server.seen.last?.form["WebIdentityToken"] == "jwt")
            let pod = try await self.chain([
                "AWS_CONTAINER_CREDENTIALS_FULL_URI": server.url + "/creds",
                "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": folder + "/auth",
            ]).fetch()
            #expect(aws(pod) == ("AK", "SK", "TK"))
            let instance = try await self.chain(["AWS_EC2_METADATA_SERVICE_ENDPOINT": server.url]).fetch()
            #expect(aws(instance) == ("AK", "SK", "TK"))
            #expect(instance.source == "instance metadata")
        }
        await #expect(throws: CredentialFailure.self) {
            try await self.chain(["AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://evil.example/creds"]).fetch()
        }
        await #expect(throws: CredentialFailure.self) {
            try await self.chain(["AWS_EC2_METADATA_DISABLED": "true"]).fetch()
        }
        await server.stop()
    }

    @Test("are examined: which link of the chain answered, and whose keys they are")
    func examination() async throws {
        let sts = try await ScriptedServer { seen in
            guard seen.header("authorization")?.contains("Credential=d/") == true else {
                return [.answer(403, "<Error><Code>InvalidClientTokenId</Code></Error>")]
            }
            return [.answer(200, "<Arn>arn:aws:iam::1:user/gw</Arn>")]
        }
        func examine(_ key: String, _ auth: String = "") async throws -> String? {
            var found: String?
            try await withFolder([".aws/credentials": "[work]\naws_access_key_id = \(key)\naws_secret_access_key = e\n"]
            ) {
                var report = ConfigReport()
                let node = try #require(
                    YAMLReader.read(
                        "{ provider: bedrock, region: eu-west-1\(auth) }", expanding: .skipping, into: &report))
                found = try await UpstreamCredentials.examine(
                    #require(UpstreamSettings(node)),
                    environment([
                        "HOME": $0, "AWS_PROFILE": "work", "AWS_ENDPOINT_URL_STS": sts.url + "/",
                    ]))
            }
            return found
        }
        #expect(try await examine("d") == "profile work (arn:aws:iam::1:user/gw)")
        let error = await #expect(throws: CredentialFailure.self) { try await examine("x") }
        #expect(error?.description.contains("InvalidClientTokenId") == true)
        #expect(try await examine("d", ", auth: { aws_bearer_token: t }") == nil)
        await sts.stop()
    }

    @Test("of a role are one set for each developer's session")
    func roles() async throws {
        let count = Mutex(0)
        let sts = try await ScriptedServer { _ in
            let number = count.withLock { value -> Int in
                value += 1
                return value
            }
            return [
                .answer(
                    200,
                    "<AccessKeyId>K\(number)</AccessKeyId><SecretAccessKey>s</SecretAccessKey><SessionToken>t</SessionToken><Expiration>2030-01-01T00:00:00Z</Expiration>"
                )
            ]
        }
        let role = AWSRole(arn: "arn:aws:iam::123456789012:role/r", externalID: nil, sessionName: .email)
        let base = RefreshingCredential {
            FetchedCredential(
                .aws(.init(accessKeyID: "b", secretAccessKey: Secret("c"), sessionToken: nil)), expiresAt: nil,
                source: "x")
        }
        let credential = AWSRoleCredential(
            role: role, base: base,
            tokens: AWSSecurityTokens(environment: environment(["AWS_ENDPOINT_URL_STS": sts.url + "/"]), region: "r"))
        let anna = Principal(subject: "1", email: "anna müller@example.com")
        let ben = Principal(subject: "2", email: "ben@example.com")
        let first = try await credential.resolve(for: anna)
        #expect(try await credential.resolve(for: anna) == first)
        #expect(try await credential.resolve(for: ben) != first)
        #expect(credential.ready(for: anna, now: .now) == first)
        #expect(sts.seen.map { $0.form["RoleSessionName"] } == ["anna-m-ller@example.com", "ben@example.com"])
        await sts.stop()
    }
}

@Suite("Google credentials")
struct GoogleCredentialTests {
    private static let key = try! String(
        contentsOf: URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent("test-key.pem"),
        encoding: .utf8)

    @Test("come from a service account, a user, a federation and the metadata server")
    func sources() async throws {
        let server = try await ScriptedServer { seen in
            if seen.target.hasPrefix("/computeMetadata") {
                return [
                    seen.header("metadata-flavor") == "Google"
                        ? .answer(200, #"{"access_token":"meta","expires_in":100}"#) : .answer(403, "")
                ]
            }
            if seen.target == "/impersonate" {
                return [.answer(200, #"{"accessToken":"as-sa","expireTime":"2030-01-01T00:00:00Z"}"#)]
            }
            return [.answer(200, #"{"access_token":"made","expires_in":3600}"#)]
        }
        let account = JSONValue.object([
            "type": "service_account", "client_email": "sa@p.iam.gserviceaccount.com",
            "private_key": .string(Self.key), "token_uri": "http://evil.example/token",
        ])
        try await withFolder([
            "sa.json": account.text(), "token": "subject\n",
            "user.json": #"{"type":"authorized_user","client_id":"c","client_secret":"s","refresh_token":"r"}"#,
        ]) { folder in
            func source(_ authentication: GoogleAuthentication, _ variables: [String: String] = [:])
                -> GoogleCredentialSource
            {
                var source = GoogleCredentialSource(
                    environment: environment(variables), authentication: authentication)
                source.tokenURL = server.url + "/token"
                return source
            }
            #expect(bearer(try await source(.serviceAccount(path: folder + "/sa.json")).fetch()) == "made")
            let assertion = try #require(server.seen.last?.form["assertion"])
            let claims = try JSONValue(
                parsing: try #require(Base64URL.decode(assertion.split(separator: ".")[1])))
            #expect(claims["iss"] == "sa@p.iam.gserviceaccount.com")
            #expect(claims["aud"] == .string(server.url + "/token"))
            #expect((claims["exp"]?.integer ?? 0) - (claims["iat"]?.integer ?? 0) == 3600)
            if Oracle.isThere { try await self.compare(assertion, account, tokenURL: server.url + "/token") }

            let user = source(.ambient, ["GOOGLE_APPLICATION_CREDENTIALS": folder + "/user.json"])
            #expect(bearer(try await user.fetch()) == "made")
            #expect(server.seen.last?.form["grant_type"] == "refresh_token")

            let external = JSONValue.object([
                "type": "external_account", "audience": "aud", "subject_token_type": "urn:x",
                "token_url": .string(server.url + "/sts"),
                "service_account_impersonation_url": .string(server.url + "/impersonate"),
                "credential_source": ["file": .string(folder + "/token")],
            ])
            try Data(external.text().utf8).write(to: URL(fileURLWithPath: folder + "/ext.json"))
            let federated = source(.ambient, ["GOOGLE_APPLICATION_CREDENTIALS": folder + "/ext.json"])
            #expect(bearer(try await federated.fetch()) == "as-sa")
            #expect(server.seen.contains { $0.form["subject_token"] == "subject" })

            let metadata = source(.ambient, ["GCE_METADATA_HOST": "127.0.0.1:\(server.port)"])
            #expect(bearer(try await metadata.fetch()) == "meta")
        }
        await server.stop()
    }
}

extension GoogleCredentialTests {
    /// The assertion must be one that google-auth accepts, and say what google-auth's own says.
    private func compare(_ assertion: String, _ account: JSONValue, tokenURL: String) async throws {
        let input = JSONValue.object([
            "assertion": .string(assertion), "account": account, "token_uri": .string(tokenURL),
            "scope": "https://www.googleapis.com/auth/cloud-platform",
        ])
        let answer = try await Oracle.ask("oracle.py", ["assertion"], input: input.bytes())
        for name in ["iss", "scope"] { #expect(answer["claims"]?[name] == answer["theirs"]?[name]) }
        #expect(answer["header"]?["alg"] == answer["their_header"]?["alg"])
    }
}

@Suite("Azure credentials")
struct AzureCredentialTests {
    @Test("come from a secret, a workload's identity, App Service and the instance")
    func sources() async throws {
        let server = try await ScriptedServer { seen in
            if seen.target.hasPrefix("/identity") {
                return [
                    seen.header("x-identity-header") == "h"
                        ? .answer(200, #"{"access_token":"app","expires_on":"1893456000"}"#) : .answer(403, "{}")
                ]
            }
            if seen.target.hasPrefix("/metadata/identity/oauth2/token") {
                return [.answer(200, #"{"access_token":"imds","expires_in":"3599"}"#)]
            }
            return [
                .answer(
                    200,
                    #"{"access_token":"\#(seen.form["client_assertion"] == "fed" ? "fed" : "secret")","expires_in":60}"#
                )
            ]
        }
        try await withFolder(["fed": "fed\n"]) { folder in
            func fetch(_ variables: [String: String]) async throws -> FetchedCredential {
                let base = ["AZURE_AUTHORITY_HOST": server.url, "AZURE_POD_IDENTITY_AUTHORITY_HOST": server.url]
                return try await AzureCredentialSource(environment: environment(base.merging(variables) { $1 })).fetch()
            }
            let client = ["AZURE_TENANT_ID": "t", "AZURE_CLIENT_ID": "c"]
            #expect(bearer(try await fetch(client.merging(["AZURE_CLIENT_SECRET": "s"]) { $1 })) == "secret")
            #expect(server.seen.last?.target == "/t/oauth2/v2.0/token")
            #expect(server.seen.last?.form["scope"] == "https://cognitiveservices.azure.com/.default")
            #expect(
                bearer(try await fetch(client.merging(["AZURE_FEDERATED_TOKEN_FILE": folder + "/fed"]) { $1 })) == "fed"
            )
            let app = try await fetch(["IDENTITY_ENDPOINT": server.url + "/identity", "IDENTITY_HEADER": "h"])
            #expect(bearer(app) == "app")
            #expect(app.expiresAt?.seconds == 1_893_456_000)
            #expect(bearer(try await fetch([:])) == "imds")
        }
        await server.stop()
    }
}

@Suite("Fetched credentials")
struct RefreshingCredentialTests {
    private let nobody = Principal(subject: "x")

    @Test("are fetched once for many callers, kept, and renewed ahead of their end")
    func flights() async throws {
        let count = Mutex(0)
        let credential = RefreshingCredential {
            try await Task.sleep(for: .milliseconds(50))
            let number = count.withLock { value -> Int in
                value += 1
                return value
            }
            return FetchedCredential(
                .bearer(Secret("t\(number)")), expiresAt: Timestamp.now.advanced(bySeconds: 1000), source: "test")
        }
        #expect(credential.ready(for: self.nobody, now: .now) == nil)
        let values = try await withThrowingTaskGroup(of: ResolvedCredential.self) { group in
            for _ in 0..<20 { group.addTask { try await credential.resolve(for: self.nobody) } }
            return try await group.reduce(into: []) { $0.append($1) }
        }
        #expect(Set(values.map { "\($0 == .bearer(Secret("t1")))" }) == ["true"])
        #expect(count.withLock { $0 } == 1)
        // Still good, and being renewed behind the caller's back.
        let later = Timestamp.now.advanced(bySeconds: 900)
        #expect(credential.ready(for: self.nobody, now: later) == .bearer(Secret("t1")))
        #expect(await eventually { credential.ready(for: self.nobody, now: .now) == .bearer(Secret("t2")) })
        credential.invalidate(.bearer(Secret("t2")))
        #expect(credential.ready(for: self.nobody, now: .now) == nil)
        #expect(try await credential.resolve(for: self.nobody) == .bearer(Secret("t3")))
    }

    @Test("serve until they truly expire while renewals fail")
    func failures() async throws {
        let fails = Mutex(false)
        let credential = RefreshingCredential {
            if fails.withLock({ $0 }) { throw CredentialFailure("no") }
            return FetchedCredential(
                .bearer(Secret("a")), expiresAt: Timestamp.now.advanced(bySeconds: 1000), source: "test")
        }
        _ = try await credential.resolve(for: self.nobody)
        fails.withLock { $0 = true }
        let start = Timestamp.now
        #expect(credential.ready(for: self.nobody, now: start.advanced(bySeconds: 900)) == .bearer(Secret("a")))
        #expect(credential.ready(for: self.nobody, now: start.advanced(bySeconds: 990)) == .bearer(Secret("a")))
        #expect(credential.ready(for: self.nobody, now: start.advanced(bySeconds: 1001)) == nil)
        credential.invalidate(.bearer(Secret("a")))
        await #expect(throws: CredentialFailure.self) { try await credential.resolve(for: self.nobody) }
    }
}
