// SPDX-License-Identifier: Apache-2.0

import Crypto
import Foundation
import GatewayCore
import GatewayHTTPClient
import GatewayIdentity
import GatewayServer
import Synchronization
import TestSupport
import Testing

/// Whole sign-ins against a provider that bends one thing of what it says.
@Suite("The relying party")
struct RelyingPartyTests {
    /// One bent sign-in.
    struct Case: Sendable, CustomTestStringConvertible {
        let testDescription: String
        /// A part of the reason in the audit event; `nil` when the developer is signed in.
        let reason: String?
        var bend = Bend()
        var settings: @Sendable (inout OIDCSettings) -> Void = { _ in }
    }

    @Test(
        "is satisfied by a sound token and by nothing else",
        arguments: Case.controls + Case.issuersAndAudiences + Case.times + Case.noncesAndSubjects + Case.algorithms
            + Case.rsa + Case.headers + Case.shapes + Case.keySets + Case.answers + Case.userinfo)
    func tokens(_ test: Case) async throws {
        try await Self.withParty(test.bend, test.settings) { gateway, provider in
            let visit = try await Visit(gateway, provider)
            let page = try await visit.comeBack()
            let poll = try await gateway.poll(visit.device)
            let mints = gateway.audit.events("session.mint")
            if let reason = test.reason {
                #expect(poll.status == 400)
                #expect(poll.json == ["error": "access_denied"])
                #expect(page.status == 200)
                #expect(page.text.contains("finish signing you in</h1>"))
                #expect(mints.map { $0["result"] } == ["fail"])
                let told = mints.first?["err"]?.string ?? ""
                #expect(told.contains(reason), "\(told)")
                Self.expectNoEcho(of: provider, in: [page.text, poll.text], gateway)
            } else {
                #expect(poll.status == 200, "\(mints.first?["err"]?.string ?? "")")
                #expect(poll.json?["access_token"]?.string?.isEmpty == false)
                #expect(mints.map { $0["sub"] } == ["u-1"])
            }
            #expect(!provider.targets.contains { $0.hasPrefix("/elsewhere") })
        }
    }

    // MARK: The way back

    /// What comes back to the gateway in place of the provider's answer, and what the device hears then.
    struct Return: Sendable, CustomTestStringConvertible {
        let testDescription: String
        /// The error at the poll: `authorization_pending` where nothing was decided.
        let error: String
        /// Whether the code went to the token endpoint.
        var isExchanged = false
        var bend = Bend()
        let make: @Sendable (_ mine: Visit, _ other: Visit) async throws -> OutboundResponse
    }

    @Test("goes on for the browser, the state and the issuer it began with", arguments: Return.all)
    func callbacks(_ test: Return) async throws {
        try await Self.withParty(test.bend) { gateway, provider in
            let visit = try await Visit(gateway, provider)
            let other = try await Visit(gateway, provider)
            let page = try await test.make(visit, other)
            #expect(!page.text.contains("signed in</h1>"))
            let poll = try await gateway.poll(visit.device)
            #expect(poll.status == 400)
            #expect(poll.json == ["error": .string(test.error)])
            #expect(try await gateway.poll(other.device).json?["error"] == "authorization_pending")
            #expect(provider.targets.contains("/token") == test.isExchanged)
            #expect(!gateway.audit.events("session.mint").contains { $0["result"] == "success" })
            Self.expectNoEcho(of: provider, in: [page.text, poll.text], gateway)
        }
    }

    @Test("answers a callback once", arguments: ["before the poll", "after the poll"])
    func replays(_ when: String) async throws {
        try await Self.withParty { gateway, provider in
            let visit = try await Visit(gateway, provider)
            #expect(try await visit.comeBack().text.contains("signed in</h1>"))
            if when == "before the poll" {
                #expect(try await visit.comeBack().text.contains("finish signing you in</h1>"))
            }
            #expect(try await gateway.poll(visit.device).status == 200)
            #expect(try await visit.comeBack().text.contains("finish signing you in</h1>"))
            #expect(try await gateway.poll(visit.device).json == ["error": "expired_token"])
            #expect(gateway.audit.events("session.mint").filter { $0["result"] == "success" }.count == 1)
        }
    }

    // MARK: Refreshes

    @Test("ends a session whose refresh brings an unsound token", arguments: Case.refreshes)
    func refreshes(_ test: Case) async throws {
        try await Self.withParty(Bend(), test.settings) { gateway, provider in
            let visit = try await Visit(gateway, provider)
            _ = try await visit.comeBack()
            let token = try await gateway.poll(visit.device).json?["refresh_token"]?.string ?? ""
            provider.bend(test.bend)
            let answer = try await gateway.refresh(token)
            let told = gateway.audit.events("session.refresh").first
            if let reason = test.reason {
                #expect(answer.status == 401)
                #expect(answer.json == ["error": "invalid_grant"])
                #expect(told?["err"]?.string?.contains(reason) == true, "\(told?["err"]?.string ?? "")")
                Self.expectNoEcho(of: provider, in: [answer.text], gateway)
                provider.bend(Bend())
                #expect(try await gateway.refresh(token).status == 401, "the session came back")
            } else {
                #expect(answer.status == 200, "\(told?["err"]?.string ?? "")")
                #expect(answer.json?["access_token"]?.string?.isEmpty == false)
            }
        }
    }

    // MARK: Keys over time

    /// Longer than the gateway waits before it fetches keys again.
    private static let refetchPause = Duration.milliseconds(1200)

    @Test("takes a new key after one fetch, and the replaced one no longer")
    func rotation() async throws {
        try await Self.withParty { gateway, provider in
            #expect(try await Visit(gateway, provider).signIn() == 200)
            try await Task.sleep(for: Self.refetchPause)
            let rotated = Bend(
                draft: {
                    $0.header["kid"] = "k2"
                    $0.signer = .key(.attacker)
                }, keys: { [$0.jwk(.attacker, id: "k2")] })
            provider.bend(rotated)
            #expect(try await Visit(gateway, provider).signIn() == 200)
            #expect(provider.keyFetches == 2)
            provider.bend(Bend(keys: rotated.keys))
            #expect(try await Visit(gateway, provider).signIn() == 400)
            #expect(provider.keyFetches == 3)
            provider.bend(rotated)
            #expect(try await Visit(gateway, provider).signIn() == 200)
        }
    }

    @Test("works with the keys it has while their endpoint is away")
    func keyOutage() async throws {
        try await Self.withParty { gateway, provider in
            #expect(try await Visit(gateway, provider).signIn() == 200)
            let away = Bend(keysStep: .answer(503, "{}"))
            provider.bend(away)
            #expect(try await Visit(gateway, provider).signIn() == 200)
            #expect(provider.keyFetches == 1)
            try await Task.sleep(for: Self.refetchPause)
            var unknown = away
            unknown.draft = {
                $0.header["kid"] = "k2"
                $0.signer = .key(.attacker)
            }
            provider.bend(unknown)
            #expect(try await Visit(gateway, provider).signIn() == 400)
            #expect(gateway.audit.events("session.mint").last?["err"]?.string?.contains("HTTP 503") == true)
            provider.bend(away)
            #expect(try await Visit(gateway, provider).signIn() == 200)
        }
    }

    @Test("takes a key that the provider has begun to use since its keys were last asked for")
    func quickRotation() async throws {
        let rotated = Bend(
            draft: {
                $0.header["kid"] = "k2"
                $0.signer = .key(.attacker)
            }, keys: { [$0.jwk(.attacker, id: "k2")] })
        try await Self.withParty { gateway, provider in
            let first = try await Visit(gateway, provider).signIn()
            #expect(first == 200)
            provider.bend(rotated)
            #expect(try await Visit(gateway, provider).signIn() == 200)
            #expect(provider.keyFetches == 2)
        }
    }

    @Test("asks for keys once a second at most, however many tokens name unknown ones")
    func keyStorm() async throws {
        try await Self.withParty { gateway, provider in
            let start = ContinuousClock.now
            for number in 0..<3 {
                provider.bend(Bend(draft: { $0.header["kid"] = .string("made-up-\(number)") }))
                let status = try await Visit(gateway, provider).signIn()
                #expect(status == 400)
            }
            #expect(provider.keyFetches <= 2 + Int((ContinuousClock.now - start).components.seconds))
        }
    }

    // MARK: Discovery

    @Test("does not start with a provider that describes itself wrongly", arguments: Case.discoveries)
    func discovery(_ test: Case) async throws {
        let failure = await #expect(throws: BootFailure.self) {
            try await Self.withParty(test.bend, test.settings) { _, _ in }
        }
        #expect(failure?.description.contains(test.reason ?? "") == true, "\(failure?.description ?? "")")
    }

    // MARK: Helpers

    static func withParty(
        _ bend: Bend = Bend(), _ configure: @Sendable (inout OIDCSettings) -> Void = { _ in },
        _ body: (TestGateway, BentProvider) async throws -> Void,
    ) async throws {
        let provider = BentProvider(bend)
        try await provider.start()
        let stand = FakeIdentityProvider()
        var settings = TestGateway.settings(
            provider: stand, upstreams: ["http://127.0.0.1:9"], port: try FreePort.take())
        settings.oidc.issuer = provider.url
        configure(&settings.oidc)
        do {
            let gateway = try await TestGateway.start(settings, provider: stand)
            do {
                try await body(gateway, provider)
            } catch {
                _ = await gateway.gateway.stop(within: .zero)
                throw error
            }
            _ = await gateway.gateway.stop(within: .zero)
        } catch {
            await provider.stop()
            throw error
        }
        await provider.stop()
    }

    /// Nothing that the provider has issued may stand in an answer or in an audit event.
    static func expectNoEcho(of provider: BentProvider, in texts: [String], _ gateway: TestGateway) {
        let events = ["device.callback", "session.mint", "session.refresh"].flatMap(gateway.audit.events)
        let texts = texts + events.map { String(decoding: $0.line, as: UTF8.self) }
        for secret in provider.secrets {
            #expect(!texts.contains { $0.contains(secret) }, "\(secret.prefix(40)) was echoed")
        }
    }
}

// MARK: - A browser

extension RelyingPartyTests {
    /// A browser with its cookie, on its way back from the provider.
    struct Visit: Sendable {
        let gateway: TestGateway
        let device: String
        let cookie: String
        let state: String
        let code: String

        init(_ gateway: TestGateway, _ provider: BentProvider) async throws {
            self.gateway = gateway
            let codes = try await gateway.startDevice()
            self.device = codes.device
            let page = try await gateway.form(
                "/device", [("user_code", codes.user)], headers: [("sec-fetch-site", "same-origin")])
            self.cookie = String(page.header("set-cookie")?.prefix { $0 != ";" } ?? "")
            let query = page.header("location")?.split(separator: "?", maxSplits: 1).last ?? ""
            let fields = FormCoding.firstValues(Array(query.utf8))
            self.state = fields["state"] ?? ""
            self.code = provider.consent(fields)
        }

        func comeBack(
            _ method: String = "GET", _ fields: [(String, String)]? = nil, cookie: String? = nil,
        ) async throws -> OutboundResponse {
            let query = FormCoding.encode(fields ?? [("code", self.code), ("state", self.state)])
            return try await self.gateway.send(
                method, "/oauth/callback?" + query, headers: [("cookie", cookie ?? self.cookie)])
        }

        /// Comes back with parameters besides the right ones.
        func comeBack(adding more: (String, String)) async throws -> OutboundResponse {
            try await self.comeBack("GET", [("code", self.code), ("state", self.state)] + [more])
        }

        /// - Returns: The status of the poll.
        func signIn() async throws -> Int {
            _ = try await self.comeBack()
            return try await self.gateway.poll(self.device).status
        }
    }
}

// MARK: - A provider

extension RelyingPartyTests {
    /// What a provider does otherwise than it should.
    struct Bend: Sendable {
        var draft: @Sendable (inout Draft) -> Void = { _ in }
        var keys: @Sendable (Keys) async throws -> [JSONValue] = { [$0.jwk(.p256, id: "k1")] }
        /// In place of the key set.
        var keysStep: ScriptedServer.Step?
        /// Over the right answer of the token endpoint.
        var answer: @Sendable (inout JSONObject) -> Void = { _ in }
        /// In place of it.
        var answerStep: (@Sendable (_ right: String) -> ScriptedServer.Step)?
        var discovery: @Sendable (inout JSONObject) -> Void = { _ in }
        var discoveryStep: ScriptedServer.Step?
        var userinfoStep = ScriptedServer.Step.answer(404, "{}")
        var checksPKCE = true
    }

    /// A token before it is signed.
    struct Draft: Sendable {
        let now: Int64
        let issuer: String
        let keys: Keys
        var header: JSONObject = ["alg": "ES256", "kid": "k1"]
        var claims: JSONObject
        var headerText: @Sendable (String) -> String = { $0 }
        var payloadText: @Sendable (String) -> String = { $0 }
        var payloadPart: @Sendable (String) -> String = { Base64URL.encode(Array($0.utf8)) }
        var signer = Signer.key(.p256)
        /// The whole token, as it is sent.
        var finish: @Sendable (String) -> String = { $0 }

        func token() async throws -> String {
            let header = self.headerText(JSONValue.object(self.header).text())
            let payload = self.payloadText(JSONValue.object(self.claims).text())
            let input = Base64URL.encode(Array(header.utf8)) + "." + self.payloadPart(payload)
            let signature = try await self.signer.sign(input, self.keys)
            return self.finish(input + "." + Base64URL.encode(signature))
        }
    }

    enum Signer: Sendable {
        case key(Keys.Name)
        case secret(String)
        /// The PEM of an RSA public key as a secret.
        case rsaPublicPEM
        case bytes([UInt8])
        /// The right signature, changed.
        case bent(@Sendable ([UInt8]) -> [UInt8])

        func sign(_ input: String, _ keys: Keys) async throws -> [UInt8] {
            switch self {
            case .key(let name): return try await keys.sign(input, name)
            case .bent(let change): return change(try await keys.sign(input, .p256))
            case .bytes(let bytes): return bytes
            case .secret(let text): return Self.code(input, text)
            case .rsaPublicPEM: return Self.code(input, try await RSAKey.standard.value.publicPEM)
            }
        }

        private static func code(_ input: String, _ secret: String) -> [UInt8] {
            let key = SymmetricKey(data: Data(secret.utf8))
            return Array(HMAC<SHA256>.authenticationCode(for: Data(input.utf8), using: key))
        }
    }

    struct Keys: Sendable {
        enum Name: Sendable {
            case p256
            case attacker
            case p384
            case ed25519
            case rsa
            case smallRSA
        }

        let p256 = P256.Signing.PrivateKey()
        let attacker = P256.Signing.PrivateKey()
        let p384 = P384.Signing.PrivateKey()
        let ed25519 = Curve25519.Signing.PrivateKey()

        func sign(_ input: String, _ name: Name) async throws -> [UInt8] {
            let data = Data(input.utf8)
            return switch name {
            case .p256: Array(try self.p256.signature(for: data).rawRepresentation)
            case .attacker: Array(try self.attacker.signature(for: data).rawRepresentation)
            case .p384: Array(try self.p384.signature(for: data).rawRepresentation)
            case .ed25519: Array(try self.ed25519.signature(for: data))
            case .rsa: try await RSAKey.standard.value.sign(input)
            case .smallRSA: try await RSAKey.small.value.sign(input)
            }
        }

        /// The public key, but for RSA's.
        func jwk(_ name: Name, id: String?, _ more: JSONObject = [:]) -> JSONValue {
            func point(_ curve: String, _ raw: Data) -> JSONObject {
                let half = raw.count / 2
                return [
                    "kty": "EC", "crv": .string(curve), "x": .string(Base64URL.encode(raw.prefix(half))),
                    "y": .string(Base64URL.encode(raw.suffix(half))),
                ]
            }
            var key: JSONObject =
                switch name {
                case .attacker: point("P-256", self.attacker.publicKey.rawRepresentation)
                case .p384: point("P-384", self.p384.publicKey.rawRepresentation)
                case .ed25519:
                    [
                        "kty": "OKP", "crv": "Ed25519",
                        "x": .string(Base64URL.encode(self.ed25519.publicKey.rawRepresentation)),
                    ]
                default: point("P-256", self.p256.publicKey.rawRepresentation)
                }
            key["kid"] = id.map(JSONValue.string)
            for (name, value) in more.members { key[name] = value }
            return .object(key)
        }

        /// The public key that the provider signs with.
        var pem: String { self.p256.publicKey.pemRepresentation }
    }

    /// An RSA key that openssl makes and signs with.
    struct RSAKey: Sendable {
        static let standard = Task { try await offPool { try RSAKey(bits: 2048) } }
        static let small = Task { try await offPool { try RSAKey(bits: 1024) } }

        let pem: String
        let publicPEM: String
        let modulus: String

        init(bits: Int) throws {
            self.pem = String(decoding: try Self.openssl(["genrsa", String(bits)]), as: UTF8.self)
            self.publicPEM = String(
                decoding: try Self.openssl(["rsa", "-pubout", "-in", "KEY"], key: self.pem), as: UTF8.self)
            let line = String(
                decoding: try Self.openssl(["rsa", "-noout", "-modulus", "-in", "KEY"], key: self.pem), as: UTF8.self)
            let digits = line.split(separator: "=").last?.trimmingCharacters(in: .whitespacesAndNewlines) ?? ""
            self.modulus = Base64URL.encode(Hexadecimal.decode(digits.lowercased()) ?? [])
        }

        /// PKCS #1 v1.5 with SHA-256.
        func sign(_ input: String) async throws -> [UInt8] {
            try await offPool {
                try Self.openssl(["dgst", "-sha256", "-sign", "KEY", "INPUT"], key: self.pem, input: input)
            }
        }

        func jwk(id: String?) -> JSONValue {
            var key: JSONObject = ["kty": "RSA", "n": .string(self.modulus), "e": "AQAB"]
            key["kid"] = id.map(JSONValue.string)
            return .object(key)
        }

        private static func openssl(_ arguments: [String], key: String = "", input: String = "") throws -> [UInt8] {
            let folder = NSTemporaryDirectory() + "/rsa-\(RandomToken.make())"
            try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
            defer { try? FileManager.default.removeItem(atPath: folder) }
            try Data(key.utf8).write(to: URL(fileURLWithPath: folder + "/KEY"))
            try Data(input.utf8).write(to: URL(fileURLWithPath: folder + "/INPUT"))
            let process = Process()
            process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
            process.arguments = ["openssl"] + arguments
            process.currentDirectoryURL = URL(fileURLWithPath: folder)
            let pipe = Pipe()
            process.standardOutput = pipe
            process.standardError = FileHandle.nullDevice
            try process.run()
            let data = pipe.fileHandleForReading.readDataToEndOfFile()
            process.waitUntilExit()
            guard process.terminationStatus == 0 else { throw POSIXError(.EINVAL) }
            return Array(data)
        }
    }

    /// An OpenID provider on loopback that is right but for its `Bend`.
    final class BentProvider: Sendable {
        private struct State {
            var bend: Bend
            var codes: [String: (nonce: String, challenge: String)] = [:]
            var secrets: [String] = [FakeIdentityProvider.clientSecret]
            var targets: [String] = []
            var url = ""
        }

        private let state: Mutex<State>
        private let keys = Keys()
        private let server = Mutex<ScriptedServer?>(nil)

        init(_ bend: Bend) {
            self.state = Mutex(State(bend: bend))
        }

        func start() async throws {
            let server = try await ScriptedServer { [self] request in [await self.answer(request)] }
            self.server.withLock { $0 = server }
            self.state.withLock { $0.url = server.url }
        }

        func stop() async {
            await self.server.withLock { $0 }?.stop()
        }

        var url: String { self.state.withLock { $0.url } }
        /// Tokens and codes that were issued, and their telling parts.
        var secrets: [String] { self.state.withLock { $0.secrets } }
        /// What was asked for, in order.
        var targets: [String] { self.state.withLock { $0.targets } }
        var keyFetches: Int { self.targets.filter { $0 == "/keys" }.count }

        func bend(_ bend: Bend) {
            self.state.withLock { $0.bend = bend }
        }

        /// A code for an authorization request.
        func consent(_ fields: [String: String]) -> String {
            let code = RandomToken.make()
            self.state.withLock {
                $0.codes[code] = (fields["nonce"] ?? "", fields["code_challenge"] ?? "")
                $0.secrets.append(code)
            }
            return code
        }

        private func answer(_ request: ScriptedServer.Seen) async -> ScriptedServer.Step {
            let bend = self.state.withLock {
                $0.targets.append(request.target)
                return $0.bend
            }
            switch request.target {
            case "/.well-known/openid-configuration":
                var document: JSONObject = [
                    "issuer": .string(self.url), "authorization_endpoint": .string(self.url + "/authorize"),
                    "token_endpoint": .string(self.url + "/token"), "jwks_uri": .string(self.url + "/keys"),
                    "userinfo_endpoint": .string(self.url + "/userinfo"),
                    "token_endpoint_auth_methods_supported": ["client_secret_post"],
                ]
                bend.discovery(&document)
                return bend.discoveryStep ?? .answer(200, JSONValue.object(document).text())
            case "/keys":
                if let step = bend.keysStep { return step }
                guard let keys = try? await bend.keys(self.keys) else { return .answer(500, "{}") }
                return .answer(200, JSONValue.object(["keys": .array(keys)]).text())
            case "/token":
                return (try? await self.token(request.form, bend)) ?? .answer(500, #"{"error":"broken_fake"}"#)
            case "/userinfo": return bend.userinfoStep
            default: return .answer(404, "{}")
            }
        }

        private func token(_ form: [String: String], _ bend: Bend) async throws -> ScriptedServer.Step {
            guard form["client_secret"] == FakeIdentityProvider.clientSecret else {
                return .answer(401, #"{"error":"invalid_client"}"#)
            }
            let now = Timestamp.now.seconds
            var draft = Draft(
                now: now, issuer: self.url, keys: self.keys,
                claims: [
                    "iss": .string(self.url), "aud": .string(FakeIdentityProvider.clientID), "sub": "u-1",
                    "email": "dev@example.com", "email_verified": true, "name": "Dev One", "groups": ["eng"],
                    "iat": .integer(now), "exp": .integer(now + 600),
                ])
            if form["grant_type"] != "refresh_token" {
                let challenge = Base64URL.encode(SHA256.hash(data: Data((form["code_verifier"] ?? "").utf8)))
                guard let code = self.state.withLock({ $0.codes.removeValue(forKey: form["code"] ?? "") }),
                    code.challenge == challenge || !bend.checksPKCE
                else { return .answer(400, #"{"error":"invalid_grant"}"#) }
                draft.claims["nonce"] = .string(code.nonce)
            }
            bend.draft(&draft)
            let token = try await draft.token()
            var answer: JSONObject = [
                "access_token": .string(RandomToken.make()), "token_type": "Bearer", "expires_in": 600,
                "id_token": .string(token), "refresh_token": .string(RandomToken.make()),
            ]
            let parts = token.split(separator: ".").dropFirst().map(String.init)
            let issued = parts + ["access_token", "id_token", "refresh_token"].compactMap { answer[$0]?.string }
            self.state.withLock { $0.secrets += issued.filter { $0.utf8.count > 20 } }
            bend.answer(&answer)
            let right = JSONValue.object(answer).text()
            return bend.answerStep?(right) ?? .answer(200, right)
        }
    }
}

// MARK: - Cases

extension RelyingPartyTests.Case {
    typealias Bend = RelyingPartyTests.Bend
    typealias Draft = RelyingPartyTests.Draft
    typealias RSAKey = RelyingPartyTests.RSAKey

    /// A token that is wrong somewhere.
    static func token(
        _ name: String, _ reason: String?, settings: @escaping @Sendable (inout OIDCSettings) -> Void = { _ in },
        _ draft: @escaping @Sendable (inout Draft) -> Void,
    ) -> Self {
        Self(testDescription: name, reason: reason, bend: Bend(draft: draft), settings: settings)
    }

    private static func keySet(
        _ name: String, _ reason: String, _ keys: @escaping @Sendable (RelyingPartyTests.Keys) -> [JSONValue],
    ) -> Self {
        Self(testDescription: name, reason: reason, bend: Bend(keys: keys))
    }

    /// A token of an RSA algorithm, where the provider lists `keys`.
    private static func rsa(
        _ name: String, _ reason: String?, asked: String = "RS256", named: String = "RS256",
        signer: RelyingPartyTests.Signer = .key(.rsa),
        keys: @escaping @Sendable () async throws -> [JSONValue] = { [try await RSAKey.standard.value.jwk(id: "k1")] },
    ) -> Self {
        Self(
            testDescription: name, reason: reason,
            bend: Bend(
                draft: {
                    $0.header["alg"] = .string(named)
                    $0.signer = signer
                }, keys: { _ in try await keys() }), settings: { $0.algorithm = asked })
    }

    private static func keySet(_ name: String, _ reason: String, step: ScriptedServer.Step) -> Self {
        Self(testDescription: name, reason: reason, bend: Bend(keysStep: step))
    }

    private static func answer(
        _ name: String, _ reason: String, _ change: @escaping @Sendable (inout JSONObject) -> Void,
    ) -> Self {
        Self(testDescription: name, reason: reason, bend: Bend(answer: change))
    }

    private static func instead(
        _ name: String, _ reason: String, _ step: @escaping @Sendable (_ right: String) -> ScriptedServer.Step,
    ) -> Self {
        Self(testDescription: name, reason: reason, bend: Bend(answerStep: step))
    }

    private static func userinfo(_ name: String, _ reason: String?, _ step: ScriptedServer.Step) -> Self {
        Self(
            testDescription: name, reason: reason,
            bend: Bend(draft: { $0.claims["groups"] = nil }, userinfoStep: step),
            settings: { $0.usesUserinfo = true })
    }

    private static func discovery(
        _ name: String, _ reason: String, _ change: @escaping @Sendable (inout JSONObject) -> Void,
    ) -> Self {
        Self(testDescription: name, reason: reason, bend: Bend(discovery: change))
    }

    private static func discovery(_ name: String, _ reason: String, step: ScriptedServer.Step) -> Self {
        Self(testDescription: name, reason: reason, bend: Bend(discoveryStep: step))
    }

    /// Sound ones, so that refusing everything is no way to pass.
    static let controls: [Self] = [
        token("control: nothing bent", nil) { _ in },
        token("control: aud is a list of the gateway alone", nil) { $0.claims["aud"] = ["gw"] },
        token("control: aud is a list and azp the gateway", nil) {
            $0.claims["aud"] = ["api", "gw"]
            $0.claims["azp"] = "gw"
        },
        token(
            "control: azp is a party that the operator named", nil, settings: { $0.additionalAuthorizedParties = ["p"] }
        ) { $0.claims["azp"] = "p" },
        token("control: exp within the clock skew", nil, settings: { $0.clockSkewSeconds = 60 }) {
            $0.claims["exp"] = .integer($0.now - 30)
        },
        token("control: nbf within the clock skew", nil, settings: { $0.clockSkewSeconds = 60 }) {
            $0.claims["nbf"] = .integer($0.now + 30)
        },
        token("control: an unknown header parameter", nil) { $0.header["typ"] = "JWT" },
        token("control: an unknown claim", nil) { $0.claims["x"] = ["y": [1, 2]] },
        token("control: the last of two iss is right", nil) {
            $0.payloadText = { #"{"iss":"https://evil.example","# + $0.dropFirst() }
        },
        token("control: the last of two alg is right", nil) {
            $0.headerText = { #"{"alg":"none","# + $0.dropFirst() }
        },
        Self(
            testDescription: "control: no kid, several keys, signed by one", reason: nil,
            bend: Bend(
                draft: { $0.header["kid"] = nil }, keys: { [$0.jwk(.attacker, id: "a"), $0.jwk(.p256, id: "b")] })),
        Self(
            testDescription: "control: ES384", reason: nil,
            bend: Bend(
                draft: {
                    $0.header["alg"] = "ES384"
                    $0.signer = .key(.p384)
                }, keys: { [$0.jwk(.p384, id: "k1")] }), settings: { $0.algorithm = "ES384" }),
        Self(
            testDescription: "control: EdDSA", reason: nil,
            bend: Bend(
                draft: {
                    $0.header["alg"] = "EdDSA"
                    $0.signer = .key(.ed25519)
                }, keys: { [$0.jwk(.ed25519, id: "k1")] }), settings: { $0.algorithm = "EdDSA" }),
    ]

    static let issuersAndAudiences: [Self] = [
        token("iss missing", "lacks the claim iss") { $0.claims["iss"] = nil },
        token("iss null", "unexpected iss") { $0.claims["iss"] = .null },
        token("iss of another", "unexpected iss") { $0.claims["iss"] = "https://evil.example" },
        token("iss with a trailing slash", "unexpected iss") { $0.claims["iss"] = .string($0.issuer + "/") },
        token("iss in another case", "unexpected iss") { $0.claims["iss"] = .string($0.issuer.uppercased()) },
        token("iss without its scheme", "unexpected iss") {
            $0.claims["iss"] = .string(String($0.issuer.dropFirst(7)))
        },
        token("iss a list of the right one", "unexpected iss") { $0.claims["iss"] = [.string($0.issuer)] },
        token("iss twice, the last of another", "unexpected iss") {
            $0.payloadText = { $0.dropLast() + #","iss":"https://evil.example"}"# }
        },
        token("aud missing", "lacks the claim aud") { $0.claims["aud"] = nil },
        token("aud null", "aud mismatch") { $0.claims["aud"] = .null },
        token("aud of another", "aud mismatch") { $0.claims["aud"] = "other" },
        token("aud in another case", "aud mismatch") { $0.claims["aud"] = "GW" },
        token("aud that begins with the gateway's", "aud mismatch") { $0.claims["aud"] = "gw-other" },
        token("aud of several in one text", "aud mismatch") { $0.claims["aud"] = "gw other" },
        token("aud a list without the gateway", "aud mismatch") { $0.claims["aud"] = ["api", "other"] },
        token("aud an empty list", "aud mismatch") { $0.claims["aud"] = [] },
        token("aud a list in a list", "aud mismatch") { $0.claims["aud"] = [["gw"]] },
        token("aud a list with a number", "aud mismatch") { $0.claims["aud"] = ["gw", 5] },
        token("aud a number", "aud mismatch") { $0.claims["aud"] = 5 },
        token("aud an object", "aud mismatch") { $0.claims["aud"] = ["gw": true] },
        token("aud twice, the last of another", "aud mismatch") {
            $0.payloadText = { $0.dropLast() + #","aud":"other"}"# }
        },
        token("aud of several, no azp", "no azp") { $0.claims["aud"] = ["gw", "other"] },
        token("aud of several, azp another", "azp mismatch") {
            $0.claims["aud"] = ["gw", "other"]
            $0.claims["azp"] = "other"
        },
        token("azp another", "azp mismatch") { $0.claims["azp"] = "other" },
        token("azp a list", "azp mismatch") { $0.claims["azp"] = ["gw"] },
        token("azp a number", "azp mismatch") { $0.claims["azp"] = 1 },
        token("azp empty", "azp mismatch") { $0.claims["azp"] = "" },
    ]

    static let times: [Self] = [
        token("exp missing", "lacks the claim exp") { $0.claims["exp"] = nil },
        token("exp null", "has expired") { $0.claims["exp"] = .null },
        token("exp past", "has expired") { $0.claims["exp"] = .integer($0.now - 1000) },
        token("exp this very second", "has expired") { $0.claims["exp"] = .integer($0.now) },
        token("exp past the clock skew", "has expired", settings: { $0.clockSkewSeconds = 60 }) {
            $0.claims["exp"] = .integer($0.now - 60)
        },
        token("exp negative", "has expired") { $0.claims["exp"] = .integer(-$0.now) },
        token("exp a text", "has expired") { $0.claims["exp"] = .string(String($0.now + 600)) },
        token("exp true", "has expired") { $0.claims["exp"] = true },
        token("exp twice, the last past", "has expired") { $0.payloadText = { $0.dropLast() + #","exp":5}"# } },
        token("iat missing", "lacks the claim iat") { $0.claims["iat"] = nil },
        token("iat null", "issued in the future") { $0.claims["iat"] = .null },
        token("iat an hour ahead", "issued in the future") { $0.claims["iat"] = .integer($0.now + 3600) },
        token("iat in milliseconds", "issued in the future") { $0.claims["iat"] = .integer($0.now * 1000) },
        token("iat a text", "issued in the future") { $0.claims["iat"] = .string(String($0.now)) },
        token("nbf ahead", "not valid yet") { $0.claims["nbf"] = .integer($0.now + 60) },
        token("nbf ahead of the clock skew", "not valid yet", settings: { $0.clockSkewSeconds = 60 }) {
            $0.claims["nbf"] = .integer($0.now + 120)
        },
        token("nbf a text", "not valid yet") { $0.claims["nbf"] = .string(String($0.now)) },
        token("nbf null", "not valid yet") { $0.claims["nbf"] = .null },
    ]

    static let noncesAndSubjects: [Self] = [
        token("nonce missing", "nonce") { $0.claims["nonce"] = nil },
        token("nonce of another sign-in", "nonce") { $0.claims["nonce"] = .string(RandomToken.make()) },
        token("nonce in another case", "nonce") {
            $0.claims["nonce"] = .string(($0.claims["nonce"]?.string ?? "").uppercased())
        },
        token("nonce empty", "nonce") { $0.claims["nonce"] = "" },
        token("nonce a number", "nonce") { $0.claims["nonce"] = 7 },
        token("nonce null", "nonce") { $0.claims["nonce"] = .null },
        token("nonce a list of the right one", "nonce") { $0.claims["nonce"] = [$0.claims["nonce"] ?? .null] },
        token("nonce twice, the last another", "nonce") { $0.payloadText = { $0.dropLast() + #","nonce":"n"}"# } },
        token("sub missing", "lacks the claim sub") { $0.claims["sub"] = nil },
        token("sub empty", "lack `sub`") { $0.claims["sub"] = "" },
        token("sub a number", "lack `sub`") { $0.claims["sub"] = 1000 },
        token("sub null", "lack `sub`") { $0.claims["sub"] = .null },
        token("sub a list", "lack `sub`") { $0.claims["sub"] = ["u-1"] },
        token("sub too long", "longer than 255") { $0.claims["sub"] = .string(String(repeating: "a", count: 256)) },
        token("sub with a NUL", "NUL") { $0.claims["sub"] = "u\u{0}1" },
        token("groups elsewhere, nobody to ask", "too many") {
            $0.claims["groups"] = nil
            $0.claims["_claim_names"] = ["groups": "src1"]
        },
        token("email verified by a word that is no yes", "not verified") { $0.claims["email_verified"] = "no" },
        token("email not verified", "not verified") { $0.claims["email_verified"] = false },
        token("email not verified, as text", "not verified") { $0.claims["email_verified"] = "False" },
        token("email of another domain", "domain not allowed", settings: { $0.allowedEmailDomains = ["example.com"] }) {
            $0.claims["email"] = "dev@example.com.evil.example"
        },
        token("email of two domains", "domain not allowed", settings: { $0.allowedEmailDomains = ["example.com"] }) {
            $0.claims["email"] = "dev@example.com@evil.example"
        },
        token("email missing", "no email address", settings: { $0.allowedEmailDomains = ["example.com"] }) {
            $0.claims["email"] = nil
        },
        token("groups without the allowed one", "not a member", settings: { $0.allowedGroups = ["Eng"] }) { _ in },
        token("groups an object", "not a member", settings: { $0.allowedGroups = ["eng"] }) {
            $0.claims["groups"] = ["eng": true]
        },
    ]

    static let algorithms: [Self] =
        ["none", "None", "NONE", "nOnE", "", "es256", "ES256 "].map { name in
            token("alg '\(name)', unsigned", "unexpected alg") {
                $0.header["alg"] = .string(name)
                $0.signer = .bytes([])
            }
        } + [
            token("alg missing", "unexpected alg") { $0.header["alg"] = nil },
            token("alg null", "unexpected alg") { $0.header["alg"] = .null },
            token("alg a list", "unexpected alg") { $0.header["alg"] = ["ES256"] },
            token("alg none, well signed", "unexpected alg") { $0.header["alg"] = "none" },
            token("alg twice, the last none", "unexpected alg") {
                $0.headerText = { $0.dropLast() + #","alg":"none"}"# }
                $0.signer = .bytes([])
            },
            token("alg HS256 with the public key's PEM as secret", "unexpected alg") {
                $0.header["alg"] = "HS256"
                $0.signer = .secret($0.keys.pem)
            },
            token("alg HS256 with the client secret", "unexpected alg") {
                $0.header["alg"] = "HS256"
                $0.signer = .secret(FakeIdentityProvider.clientSecret)
            },
            token("alg HS256 with an empty secret", "unexpected alg") {
                $0.header["alg"] = "HS256"
                $0.signer = .secret("")
            },
            token("alg ES256 over a code of the public key's PEM", "signature is wrong") {
                $0.signer = .secret($0.keys.pem)
            },
            token("alg ES256 over a code of the client secret", "signature is wrong") {
                $0.signer = .secret(FakeIdentityProvider.clientSecret)
            },
            Self(
                testDescription: "alg ES384, well signed with a listed key", reason: "unexpected alg",
                bend: Bend(
                    draft: {
                        $0.header["alg"] = "ES384"
                        $0.signer = .key(.p384)
                    }, keys: { [$0.jwk(.p384, id: "k1")] })),
            Self(
                testDescription: "alg EdDSA, well signed with a listed key", reason: "unexpected alg",
                bend: Bend(
                    draft: {
                        $0.header["alg"] = "EdDSA"
                        $0.signer = .key(.ed25519)
                    }, keys: { [$0.jwk(.ed25519, id: "k1")] })),
            Self(
                testDescription: "alg ES256 under a P-384 key", reason: "does not list",
                bend: Bend(draft: { $0.signer = .key(.p384) }, keys: { [$0.jwk(.p384, id: "k1")] })),
            token("alg RS256 under an EC key", "does not list", settings: { $0.algorithm = "RS256" }) {
                $0.header["alg"] = "RS256"
            },
        ]

    static let rsa: [Self] = [
        rsa("control: RS256", nil),
        rsa("RS256 by another key", "signature is wrong", signer: .key(.smallRSA)),
        rsa("RS256 by a key of 1024 bits", "does not list", signer: .key(.smallRSA)) {
            [try await RSAKey.small.value.jwk(id: "k1")]
        },
        rsa("RS256 signature named PS256", "unexpected alg", named: "PS256"),
        rsa("RS256 signature named and asked for as PS256", "signature is wrong", asked: "PS256", named: "PS256"),
        rsa("RS256 signature named and asked for as RS512", "signature is wrong", asked: "RS512", named: "RS512"),
        rsa("RS256 where ES256 is asked for", "unexpected alg", asked: "ES256"),
        rsa("ES256 signature named RS256", "signature is wrong", signer: .key(.p256)),
        rsa("ES256 where RS256 is asked for", "unexpected alg", named: "ES256", signer: .key(.p256)),
        rsa("HS256 with the RSA key's PEM as secret", "unexpected alg", named: "HS256", signer: .rsaPublicPEM),
        rsa("RS256 over a code of the RSA key's PEM", "signature is wrong", signer: .rsaPublicPEM),
        rsa("RS256 unsigned", "signature is wrong", signer: .bytes([])),
        rsa("RS256 by a key without its exponent", "does not list") {
            var key = try await RSAKey.standard.value.jwk(id: "k1").object ?? [:]
            key["e"] = nil
            return [.object(key)]
        },
        rsa("RS256 by a key that is listed for encryption", "does not list") {
            var key = try await RSAKey.standard.value.jwk(id: "k1").object ?? [:]
            key["use"] = "enc"
            return [.object(key)]
        },
        rsa("RS256 by a key that is listed for RSA-OAEP", "does not list") {
            var key = try await RSAKey.standard.value.jwk(id: "k1").object ?? [:]
            key["alg"] = "RSA-OAEP"
            return [.object(key)]
        },
    ]

    static let headers: [Self] =
        [
            ("unknown", "nobody's", "does not list"), ("empty", "", "does not list"),
            ("a path", "../../../../dev/null", "does not list"),
            ("a query", "k1' OR '1'='1", "does not list"), ("in another case", "K1", "does not list"),
            ("of 10 kB", String(repeating: "k", count: 10_000), "does not list"),
        ].map { (name: String, id: String, reason: String) in
            token("kid \(name)", reason) { $0.header["kid"] = .string(id) }
        } + [
            token("kid a number", "no key of the provider's fits") { $0.header["kid"] = 1 },
            token("kid of a listed key, signed by another", "signature is wrong") { $0.signer = .key(.attacker) },
            Self(
                testDescription: "kid missing, several keys, signed by none", reason: "signature is wrong",
                bend: Bend(
                    draft: {
                        $0.header["kid"] = nil
                        $0.signer = .key(.attacker)
                    }, keys: { [$0.jwk(.p256, id: "a"), $0.jwk(.p384, id: "b"), $0.jwk(.p256, id: nil)] })),
            Self(
                testDescription: "kid of one listed key, signed by another listed one", reason: "signature is wrong",
                bend: Bend(
                    draft: { $0.signer = .key(.attacker) },
                    keys: { [$0.jwk(.p256, id: "k1"), $0.jwk(.attacker, id: "k2")] })),
            token("crit", "critical extensions") {
                $0.header["crit"] = ["exp"]
                $0.header["exp"] = 5
            },
            token("crit empty", "critical extensions") { $0.header["crit"] = [] },
            token("crit null", "critical extensions") { $0.header["crit"] = .null },
            token("crit b64, payload not encoded", "not JSON") {
                $0.header["crit"] = ["b64"]
                $0.header["b64"] = false
                $0.payloadPart = { $0.replacing(".", with: "") }
            },
            token("crit b64, payload encoded", "critical extensions") {
                $0.header["crit"] = ["b64"]
                $0.header["b64"] = false
            },
            token("b64 false, payload not encoded", "not JSON") {
                $0.header["b64"] = false
                $0.payloadPart = { $0.replacing(".", with: "") }
            },
            token("jwk of the attacker", "signature is wrong") {
                $0.header["jwk"] = $0.keys.jwk(.attacker, id: "k1")
                $0.signer = .key(.attacker)
            },
            token("jwk of the attacker, no kid", "signature is wrong") {
                $0.header["kid"] = nil
                $0.header["jwk"] = $0.keys.jwk(.attacker, id: nil)
                $0.signer = .key(.attacker)
            },
            token("jku of the attacker", "does not list") {
                $0.header["kid"] = "evil"
                $0.header["jku"] = .string($0.issuer + "/elsewhere")
                $0.signer = .key(.attacker)
            },
            token("x5u of the attacker", "signature is wrong") {
                $0.header["x5u"] = .string($0.issuer + "/elsewhere")
                $0.signer = .key(.attacker)
            },
            token("x5c of the attacker", "signature is wrong") {
                $0.header["x5c"] = [.string(Base64.encode(Array($0.keys.attacker.publicKey.derRepresentation)))]
                $0.signer = .key(.attacker)
            },
        ]

    static let shapes: [Self] = [
        token("no parts", "three parts") { $0.finish = { _ in "token" } },
        token("empty", "three parts") { $0.finish = { _ in "" } },
        token("two parts", "three parts") { $0.finish = { String($0[..<($0.lastIndex(of: ".") ?? $0.endIndex)]) } },
        token("four parts", "three parts") { $0.finish = { $0 + ".e30" } },
        token("five parts, as if encrypted", "three parts") { $0.finish = { $0 + ".e30.e30" } },
        token("three empty parts", "not JSON") { $0.finish = { _ in ".." } },
        token("over 1 MB", "three parts") { $0.claims["x"] = .string(String(repeating: "x", count: 1 << 20)) },
        token("signature empty", "signature is wrong") { $0.signer = .bytes([]) },
        token("signature of zeros", "signature is wrong") { $0.signer = .bytes(Array(repeating: 0, count: 64)) },
        token("signature cut", "signature is wrong") { $0.signer = .bent { $0.dropLast() } },
        token("signature with a byte more", "signature is wrong") { $0.signer = .bent { $0 + [0] } },
        token("signature with a bit flipped", "signature is wrong") {
            $0.signer = .bent { [$0[0] ^ 1] + $0.dropFirst() }
        },
        token("signature in DER", "signature is wrong") {
            $0.signer = .bent {
                Array((try? P256.Signing.ECDSASignature(rawRepresentation: $0).derRepresentation) ?? Data())
            }
        },
        token("signature not base64url", "signature is wrong") { $0.finish = { $0.dropLast() + "!" } },
        token("signature with a line break", "signature is wrong") { $0.finish = { $0 + "\n" } },
        token("header changed after signing", "signature is wrong") {
            $0.finish = { token in
                let rest = token.drop { $0 != "." }
                return Base64URL.encode(Array(#"{"alg":"ES256","kid":"k1","typ":"JWT"}"#.utf8)) + rest
            }
        },
        token("payload changed after signing", "signature is wrong") {
            $0.finish = { token in
                let parts = token.split(separator: ".").map(String.init)
                let text = String(decoding: Base64URL.decode(parts[1]) ?? [], as: UTF8.self)
                let changed = text.replacing(#""u-1""#, with: #""u-2""#)
                return "\(parts[0]).\(Base64URL.encode(Array(changed.utf8))).\(parts[2])"
            }
        },
        token("payload with characters of other base64", "not JSON") { $0.payloadPart = { _ in "e30+" } },
        token("payload of an impossible length", "not JSON") { $0.payloadPart = { _ in "e" } },
        token("payload padded in its middle", "not JSON") { $0.payloadPart = { _ in "e=30" } },
        token("payload empty", "not JSON") { $0.payloadText = { _ in "" } },
        token("payload a list", "not JSON") { $0.payloadText = { "[\($0)]" } },
        token("payload a text", "not JSON") { $0.payloadText = { _ in #""claims""# } },
        token("payload null", "not JSON") { $0.payloadText = { _ in "null" } },
        token("payload with text after it", "not JSON") { $0.payloadText = { $0 + "{}" } },
        token("payload with a comma too many", "not JSON") { $0.payloadText = { $0.dropLast() + ",}" } },
        token("payload nested deeply", "not JSON") {
            let deep = String(repeating: "[", count: 5000) + String(repeating: "]", count: 5000)
            $0.payloadText = { $0.dropLast() + #","x":\#(deep)}"# }
        },
        token("header a list", "unexpected alg") { $0.headerText = { "[\($0)]" } },
        token("header no JSON", "not JSON") { $0.headerText = { _ in "alg=ES256" } },
    ]

    static let keySets: [Self] = [
        keySet("key set empty", "does not list") { _ in [] },
        keySet("key set without keys", "does not list", step: .answer(200, "{}")),
        keySet("key set whose keys are no list", "does not list", step: .answer(200, #"{"keys":{"k1":{}}}"#)),
        keySet("key set a list", "does not list", step: .answer(200, "[]")),
        keySet("key set no JSON", "key endpoint", step: .answer(200, "<html>")),
        keySet("key set over 4 MB", "more than", step: .answer(200, String(repeating: " ", count: 5 << 20) + "{}")),
        keySet("key set not found", "HTTP 404", step: .answer(404, #"{"keys":[]}"#)),
        keySet("key set with a server's error", "HTTP 500", step: .answer(500, "{}")),
        keySet(
            "key set elsewhere", "HTTP 302", step: .answer(302, "{}", headers: [("location", "/elsewhere/keys")])),
        keySet("key set whose connection breaks", "key endpoint", step: .reset),
        keySet("key for encryption", "does not list") { [$0.jwk(.p256, id: "k1", ["use": "enc"])] },
        keySet("key for another algorithm", "does not list") { [$0.jwk(.p256, id: "k1", ["alg": "ES384"])] },
        keySet("key for key agreement", "does not list") { [$0.jwk(.p256, id: "k1", ["alg": "ECDH-ES"])] },
        keySet("key on another curve by name", "does not list") { [$0.jwk(.p256, id: "k1", ["crv": "P-384"])] },
        keySet("key on the curve of coins", "does not list") { [$0.jwk(.p256, id: "k1", ["crv": "secp256k1"])] },
        keySet("key off the curve", "does not list") {
            [$0.jwk(.p256, id: "k1", ["y": .string(Base64URL.encode(Array(repeating: 1, count: 32)))])]
        },
        keySet("key without y", "does not list") { [$0.jwk(.p256, id: "k1", ["y": .null])] },
        keySet("key of another type by name", "does not list") { [$0.jwk(.p256, id: "k1", ["kty": "RSA"])] },
        keySet("key that is symmetric", "does not list") { _ in
            [["kty": "oct", "kid": "k1", "alg": "ES256", "k": .string(Base64URL.encode(Array("gw-secret".utf8)))]]
        },
        Self(
            testDescription: "key that is symmetric, and a code made with it", reason: "unexpected alg",
            bend: Bend(
                draft: {
                    $0.header["alg"] = "HS256"
                    $0.signer = .secret("gw-secret")
                },
                keys: { _ in
                    [
                        [
                            "kty": "oct", "kid": "k1", "alg": "HS256",
                            "k": .string(Base64URL.encode(Array("gw-secret".utf8))),
                        ]
                    ]
                })),
        keySet("key of somebody else", "signature is wrong") { [$0.jwk(.attacker, id: "k1")] },
    ]

    static let answers: [Self] = [
        instead("answer invalid_grant", "invalid_grant") { _ in .answer(400, #"{"error":"invalid_grant"}"#) },
        instead("answer invalid_client", "invalid_client") { _ in .answer(401, #"{"error":"invalid_client"}"#) },
        instead("answer of an error with 200", "access_denied") { _ in .answer(200, #"{"error":"access_denied"}"#)
        },
        instead("answer of an error beside tokens", "HTTP 400") { .answer(400, $0) },
        instead("answer of tokens with 500", "HTTP 500") { .answer(500, $0) },
        instead("answer of tokens with 201", "HTTP 201") { .answer(201, $0) },
        instead("answer in HTML", "HTTP 200") { _ in .answer(200, "<html><body>Sign in</body></html>") },
        instead("answer in HTML with 502", "HTTP 502") { _ in .answer(502, "<html>") },
        instead("answer empty", "HTTP 200") { _ in .answer(200, "") },
        instead("answer a list", "without an id_token") { .answer(200, "[\($0)]") },
        instead("answer a text", "without an id_token") { _ in .answer(200, #""id_token""#) },
        instead("answer cut", "token endpoint") { .answer(200, String($0.dropLast(9))) },
        instead("answer over 4 MB", "more than") { .answer(200, String(repeating: " ", count: 5 << 20) + $0) },
        instead("answer elsewhere", "HTTP 302") { .answer(302, $0, headers: [("location", "/elsewhere")]) },
        instead("answer elsewhere with the form", "HTTP 307") {
            .answer(307, $0, headers: [("location", "/elsewhere")])
        },
        instead("answer whose connection breaks", "token endpoint") { _ in .reset },
        answer("id_token missing", "without an id_token") { $0["id_token"] = nil },
        answer("id_token null", "without an id_token") { $0["id_token"] = .null },
        answer("id_token a number", "without an id_token") { $0["id_token"] = 5 },
        answer("id_token a list", "without an id_token") { $0["id_token"] = [$0["id_token"] ?? .null] },
        answer("id_token in the access token's place", "without an id_token") {
            $0["access_token"] = $0["id_token"]
            $0["id_token"] = nil
        },
        answer("access token in the id_token's place", "three parts") { $0["id_token"] = $0["access_token"] },
        answer("an access token alone", "without an id_token") { $0 = ["access_token": "a", "token_type": "Bearer"] },
    ]

    static let userinfo: [Self] = [
        userinfo("control: userinfo of the same subject", nil, .answer(200, #"{"sub":"u-1","groups":["eng"]}"#)),
        userinfo("userinfo of another subject", "another subject", .answer(200, #"{"sub":"u-2","groups":["eng"]}"#)),
        userinfo("userinfo of a subject in another case", "another subject", .answer(200, #"{"sub":"U-1"}"#)),
        userinfo("userinfo without a subject", "lack `sub`", .answer(200, #"{"groups":["eng"]}"#)),
        userinfo("userinfo whose subject is a number", "lack `sub`", .answer(200, #"{"sub":1}"#)),
        userinfo("userinfo a list", "HTTP 200", .answer(200, #"[{"sub":"u-1"}]"#)),
        userinfo("userinfo a JWT", "HTTP 200", .answer(200, "e30.e30.e30")),
        userinfo("userinfo refused", "HTTP 401", .answer(401, #"{"sub":"u-1","groups":["eng"]}"#)),
        userinfo(
            "userinfo elsewhere", "HTTP 302",
            .answer(302, #"{"sub":"u-1"}"#, headers: [("location", "/elsewhere/userinfo")])),
        Self(
            testDescription: "userinfo without an access token", reason: "no access token",
            bend: Bend(
                draft: { $0.claims["groups"] = nil }, answer: { $0["access_token"] = nil },
                userinfoStep: .answer(200, #"{"sub":"u-1"}"#)), settings: { $0.usesUserinfo = true }),
        Self(
            testDescription: "userinfo with an address that is not verified", reason: "not verified",
            bend: Bend(
                draft: { $0.claims["email"] = nil },
                userinfoStep: .answer(200, #"{"sub":"u-1","email":"dev@example.com","email_verified":false}"#)),
            settings: { $0.usesUserinfo = true }),
    ]

    static let refreshes: [Self] = [
        token("control: nothing bent", nil) { _ in },
        token("control: a nonce that nobody asked for", nil) { $0.claims["nonce"] = "n" },
        Self(
            testDescription: "control: no id_token, and userinfo of the same subject", reason: nil,
            bend: Bend(answer: { $0["id_token"] = nil }, userinfoStep: .answer(200, #"{"sub":"u-1"}"#))),
        token("sub of another", "another subject") { $0.claims["sub"] = "u-2" },
        token("sub in another case", "another subject") { $0.claims["sub"] = "U-1" },
        token("sub missing", "lacks the claim sub") { $0.claims["sub"] = nil },
        token("sub empty", "lack `sub`") { $0.claims["sub"] = "" },
        token("sub a number", "lack `sub`") { $0.claims["sub"] = 1 },
        token("iss of another", "unexpected iss") { $0.claims["iss"] = "https://evil.example" },
        token("aud of another", "aud mismatch") { $0.claims["aud"] = "other" },
        token("azp of another", "azp mismatch") { $0.claims["azp"] = "other" },
        token("exp past", "has expired") { $0.claims["exp"] = .integer($0.now - 1) },
        token("alg none", "unexpected alg") {
            $0.header["alg"] = "none"
            $0.signer = .bytes([])
        },
        token("signed by another", "signature is wrong") { $0.signer = .key(.attacker) },
        token("group lost", "not a member", settings: { $0.allowedGroups = ["eng"] }) { $0.claims["groups"] = [] },
        token("domain changed", "domain not allowed", settings: { $0.allowedEmailDomains = ["example.com"] }) {
            $0.claims["email"] = "dev@evil.example"
        },
        Self(
            testDescription: "no id_token, and userinfo of another subject", reason: "another subject",
            bend: Bend(answer: { $0["id_token"] = nil }, userinfoStep: .answer(200, #"{"sub":"u-2"}"#))),
        Self(
            testDescription: "no id_token, and userinfo without a subject", reason: "lack `sub`",
            bend: Bend(answer: { $0["id_token"] = nil }, userinfoStep: .answer(200, "{}"))),
    ]

    static let discoveries: [Self] =
        ["issuer", "authorization_endpoint", "token_endpoint", "jwks_uri"].flatMap { name in
            [
                discovery("\(name) missing", "lacks \(name)") { $0[name] = nil },
                discovery("\(name) empty", "lacks \(name)") { $0[name] = "" },
                discovery("\(name) a number", "lacks \(name)") { $0[name] = 5 },
            ]
        }
        + ["authorization_endpoint", "token_endpoint", "jwks_uri", "userinfo_endpoint"].flatMap { name in
            [
                discovery("\(name) a script", "\(name) is not") { $0[name] = "javascript:alert(1)" },
                discovery("\(name) a file", "\(name) is not") { $0[name] = "file:///etc/passwd" },
                discovery("\(name) inside a cloud", "\(name) points at") {
                    $0[name] = "http://169.254.169.254/latest/meta-data"
                },
            ]
        } + [
            discovery("issuer another", "of the issuer") { $0["issuer"] = "https://evil.example" },
            discovery("issuer in another case", "of the issuer") {
                $0["issuer"] = .string(($0["issuer"]?.string ?? "").uppercased())
            },
            discovery("issuer longer", "of the issuer") {
                $0["issuer"] = .string(($0["issuer"]?.string ?? "") + "/tenant")
            },
            discovery("document a list", "not a JSON object", step: .answer(200, "[]")),
            discovery("document no JSON", "not JSON", step: .answer(200, "<html>")),
            discovery("document not found", "HTTP 404", step: .answer(404, "{}")),
            discovery(
                "document elsewhere", "HTTP 302", step: .answer(302, "{}", headers: [("location", "/elsewhere")])),
        ]
}

extension RelyingPartyTests.Return {
    static let all: [Self] = [
        Self(testDescription: "state missing", error: "authorization_pending") { mine, _ in
            try await mine.comeBack("GET", [("code", mine.code)])
        },
        Self(testDescription: "state empty", error: "authorization_pending") { mine, _ in
            try await mine.comeBack("GET", [("code", mine.code), ("state", "")])
        },
        Self(testDescription: "state made up", error: "authorization_pending") { mine, _ in
            try await mine.comeBack("GET", [("code", mine.code), ("state", RandomToken.make())])
        },
        Self(testDescription: "state with a character changed", error: "authorization_pending") { mine, _ in
            let middle = mine.state.index(mine.state.startIndex, offsetBy: mine.state.count / 2)
            var state = mine.state
            state.replaceSubrange(middle...middle, with: state[middle] == "A" ? "B" : "A")
            return try await mine.comeBack("GET", [("code", mine.code), ("state", state)])
        },
        Self(testDescription: "state of another browser", error: "authorization_pending") { mine, other in
            try await mine.comeBack("GET", [("code", mine.code), ("state", other.state)])
        },
        Self(testDescription: "cookie of another browser", error: "authorization_pending") { mine, other in
            try await mine.comeBack(cookie: other.cookie)
        },
        Self(testDescription: "cookie missing", error: "authorization_pending") { mine, _ in
            try await mine.comeBack(cookie: "")
        },
        Self(testDescription: "cookie empty", error: "authorization_pending") { mine, _ in
            try await mine.comeBack(cookie: "gw_dev=")
        },
        Self(testDescription: "code missing", error: "authorization_pending") { mine, _ in
            try await mine.comeBack("GET", [("state", mine.state)])
        },
        Self(testDescription: "nothing at all", error: "authorization_pending") { mine, _ in
            try await mine.comeBack("GET", [])
        },
        Self(testDescription: "HEAD, as a prefetcher sends it", error: "authorization_pending") { mine, _ in
            try await mine.comeBack("HEAD")
        },
        Self(testDescription: "POST", error: "authorization_pending") { mine, _ in try await mine.comeBack("POST") },
        Self(testDescription: "code made up", error: "access_denied", isExchanged: true) { mine, _ in
            try await mine.comeBack("GET", [("code", RandomToken.make()), ("state", mine.state)])
        },
        Self(testDescription: "code of another sign-in", error: "access_denied", isExchanged: true) { mine, other in
            try await mine.comeBack("GET", [("code", other.code), ("state", mine.state)])
        },
        Self(
            testDescription: "code of another sign-in, at a provider without PKCE", error: "access_denied",
            isExchanged: true, bend: RelyingPartyTests.Bend(checksPKCE: false)
        ) { mine, other in try await mine.comeBack("GET", [("code", other.code), ("state", mine.state)]) },
        Self(testDescription: "error access_denied", error: "access_denied") { mine, _ in
            try await mine.comeBack("GET", [("error", "access_denied"), ("state", mine.state)])
        },
        Self(testDescription: "error beside a code", error: "access_denied") { mine, _ in
            try await mine.comeBack(adding: ("error", "server_error"))
        },
        Self(testDescription: "error from another browser", error: "authorization_pending") { mine, other in
            try await mine.comeBack(
                "GET", [("error", "access_denied"), ("state", mine.state)], cookie: other.cookie)
        },
        Self(testDescription: "error without a state", error: "authorization_pending") { mine, _ in
            try await mine.comeBack("GET", [("error", "access_denied")])
        },
        Self(testDescription: "iss of another, a mix-up", error: "access_denied") { mine, _ in
            try await mine.comeBack(adding: ("iss", "https://evil.example"))
        },
        Self(testDescription: "iss empty", error: "access_denied") { mine, _ in
            try await mine.comeBack(adding: ("iss", ""))
        },
        Self(
            testDescription: "iss missing though promised", error: "access_denied",
            bend: RelyingPartyTests.Bend(discovery: { $0["authorization_response_iss_parameter_supported"] = true })
        ) { mine, _ in try await mine.comeBack() },
    ]
}
