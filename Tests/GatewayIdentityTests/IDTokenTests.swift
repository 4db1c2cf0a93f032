// SPDX-License-Identifier: Apache-2.0

import GatewayConfig
import GatewayCore
import Testing

@testable import GatewayIdentity

@Suite("id_tokens")
struct IDTokenTests {
    private static let now = Timestamp(seconds: 1_800_000_000)
    private static let good: JSONObject = [
        "iss": "https://idp", "aud": "gw", "sub": "u", "exp": 1_800_000_600, "iat": 1_800_000_000, "nonce": "n",
    ]

    private var settings: OIDCSettings {
        OIDCSettings(issuer: "https://idp", clientID: "gw", clientSecret: Secret("s"))
    }

    private func complaint(_ changes: KeyValuePairs<String, JSONValue?>, skew: Int = 0, parties: [String] = [])
        -> String?
    {
        var claims = Self.good
        for (name, value) in changes { claims[name] = value }
        var settings = self.settings
        settings.clockSkewSeconds = skew
        settings.additionalAuthorizedParties = parties
        do throws(SignInFailure) {
            try IDTokenRules(issuer: "https://idp", settings: settings).check(claims, nonce: "n", now: Self.now)
            return nil
        } catch {
            return error.description
        }
    }

    @Test("that are legal pass")
    func legalOnesPass() {
        #expect(self.complaint([:]) == nil)
        #expect(self.complaint(["aud": ["gw"]]) == nil)
        #expect(self.complaint(["aud": ["gw", "x"], "azp": "gw"]) == nil)
        #expect(self.complaint(["azp": "partner"], parties: ["partner"]) == nil)
        #expect(self.complaint(["iat": 5]) == nil)
        #expect(self.complaint(["exp": 1_799_999_995], skew: 10) == nil)
        #expect(self.complaint(["nbf": 1_800_000_005], skew: 10) == nil)
        #expect(self.complaint(["extra": ["a": [1]]]) == nil)
    }

    @Test(
        "that break a rule are refused",
        arguments: [
            ("iss", JSONValue.string("http://evil"), "iss"), ("iss", .string("https://idp/"), "iss"),
            ("iss", .null, "iss"), ("aud", .string("other"), "aud"),
            ("aud", .array([]), "aud"), ("aud", .number(5), "aud"), ("aud", .array(["gw", "x"]), "azp"),
            ("azp", .string("other"), "azp"),
            ("azp", .number(1), "azp"), ("exp", .number(1_800_000_000), "expired"),
            ("exp", .string("1900000000"), "expired"),
            ("iat", .number(4_102_444_800), "future"), ("iat", .string("now"), "future"),
            ("nbf", .number(1_800_000_001), "not valid yet"),
            ("nbf", .string("0"), "not valid yet"), ("nonce", .string("bad"), "nonce"), ("nonce", .null, "nonce"),
        ])
    func ruleBreakersAreRefused(_ name: String, _ value: JSONValue, _ word: String) {
        let complaint = self.complaint([name: value])
        #expect(complaint?.contains(word) == true, "\(name): \(complaint ?? "accepted")")
    }

    @Test("that lack a claim are refused", arguments: ["iss", "sub", "aud", "exp", "iat", "nonce"])
    func incompleteOnesAreRefused(_ name: String) {
        #expect(self.complaint([name: nil]) != nil)
    }

    /// RFC 7515 appendix A.2 (RS256) and A.3 (ES256): <https://www.rfc-editor.org/rfc/rfc7515#appendix-A.2>.
    @Test("are verified by the published vectors")
    func publishedVectors() async throws {
        let payload = "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ"
        let rsaKey: JSONValue = [
            "keys": [
                [
                    "kty": "RSA",
                    "n":
                        "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ",
                    "e": "AQAB",
                ]
            ]
        ]
        let rsaToken =
            "eyJhbGciOiJSUzI1NiJ9.\(payload).cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw"
        let rsa = await SigningKeys(rsaKey, algorithm: "RS256")
        #expect(try await rsa.verify(rsaToken)["iss"] == "joe")

        let ecKey: JSONValue = [
            "keys": [
                [
                    "kty": "EC", "crv": "P-256", "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
                    "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
                ]
            ]
        ]
        let ecToken =
            "eyJhbGciOiJFUzI1NiJ9.\(payload).DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q"
        let ec = await SigningKeys(ecKey, algorithm: "ES256")
        #expect(try await ec.verify(ecToken)["iss"] == "joe")

        // Among several keys, a token that names none is verified by whichever has signed it.
        var other = try #require(rsaKey["keys"]?.array?.first?.object)
        other["n"] = .string("0\(other["n"]?.string?.dropFirst() ?? "")")
        for id: JSONValue? in [nil, "b"] {
            var key = try #require(rsaKey["keys"]?.array?.first?.object)
            key["kid"] = id
            other["kid"] = id == nil ? nil : "a"
            let several = await SigningKeys(["keys": [.object(other), .object(key)]], algorithm: "RS256")
            #expect(try await several.verify(rsaToken)["iss"] == "joe")
        }
        await #expect(throws: SigningKeys.Lookup.self, "what may be a key's replacement asks for the keys again") {
            try await SigningKeys(["keys": [.object(other)]], algorithm: "RS256").verify(rsaToken)
        }

        // The right signature under another algorithm, another key, or with one byte changed.
        await #expect(throws: (any Error).self) { try await SigningKeys(rsaKey, algorithm: "PS256").verify(rsaToken) }
        await #expect(throws: (any Error).self) { try await rsa.verify(ecToken) }
        await #expect(throws: (any Error).self) {
            try await rsa.verify(rsaToken.replacing("cC4hiUPoj9", with: "cC4hiUPoj8"))
        }
        await #expect(throws: (any Error).self) { try await rsa.verify("eyJhbGciOiJub25lIn0.\(payload).") }
    }

    @Test("are refused for keys that do not fit")
    func ignoresUnfitKeys() async {
        let keys = await SigningKeys(
            [
                "keys": [
                    ["kty": "oct", "k": "AA"], ["kty": "RSA", "use": "enc", "n": "AA", "e": "AQAB"],
                    ["kty": "RSA", "n": "AQ", "e": "AQAB"], 5,
                ]
            ],
            algorithm: "RS256")
        await #expect(throws: (any Error).self) { try await keys.verify("eyJhbGciOiJSUzI1NiIsImtpZCI6ImEifQ.e30.AA") }
    }

    @Test("with critical extensions are refused")
    func refusesCrit() async {
        let header = Base64URL.encode(Array(#"{"alg":"RS256","crit":["x"],"x":1}"#.utf8))
        let error = await #expect(throws: SignInFailure.self) {
            try await SigningKeys(["keys": []], algorithm: "RS256").verify("\(header).e30.AA")
        }
        #expect(error?.description.contains("critical") == true)
    }
}

@Suite("Claims")
struct IdentityClaimsTests {
    private func settings(_ change: (inout OIDCSettings) -> Void = { _ in }) -> OIDCSettings {
        var settings = OIDCSettings(issuer: "https://idp", clientID: "gw", clientSecret: Secret("s"))
        change(&settings)
        return settings
    }

    @Test(
        "of groups come in every shape",
        arguments: [
            (JSONValue.string("one"), ["one"]), (.array(["a", "", 5, "b c"]), ["a", "b c"]), (.null, nil),
            (.object(["a": 1]), nil), (.string("a,b"), ["a,b"]),
            (.string(""), nil), (.array([]), []), (.number(5), nil),
        ] as [(JSONValue, [String]?)])
    func groups(_ value: JSONValue, _ want: [String]?) throws {
        #expect(try IdentityClaims(["sub": "u", "groups": value], settings: self.settings()).groups == want)
    }

    @Test("are found by JSON Pointer, and a dotted name is a name")
    func pointers() throws {
        let claims: JSONObject = ["sub": "u", "realm": ["roles/x": ["r1"], "list": [["deep"]]], "a.b": ["dotted"]]
        #expect(
            try IdentityClaims(claims, settings: self.settings { $0.groupsClaim = "/realm/roles~1x" }).groups == ["r1"])
        #expect(
            try IdentityClaims(claims, settings: self.settings { $0.groupsClaim = "/realm/list/0" }).groups == ["deep"])
        #expect(try IdentityClaims(claims, settings: self.settings { $0.groupsClaim = "a.b" }).groups == ["dotted"])
        #expect(try IdentityClaims(claims, settings: self.settings { $0.groupsClaim = "/nope" }).groups == nil)
    }

    @Test("of e-mail: the first that is there decides")
    func emails() throws {
        let settings = self.settings { $0.emailClaims = ["upn", "email"] }
        #expect(try IdentityClaims(["sub": "u", "upn": .null, "email": "e"], settings: settings).email == "e")
        #expect(try IdentityClaims(["sub": "u", "upn": 5, "email": "e"], settings: settings).email == nil)
        #expect(try IdentityClaims(["sub": "u", "upn": "", "email": "e"], settings: settings).email == "")
    }

    @Test(
        "admit by domain and group",
        arguments: [
            ("a@EXAMPLE.com", true), ("a@sub.example.com", false), ("a@example.com.", false), ("example.com", false),
            ("a@b@example.com", true),
            ("a@evil.test", false), ("", false),
        ])
    func domains(_ email: String, _ isAdmitted: Bool) throws {
        let settings = self.settings { $0.allowedEmailDomains = ["example.com"] }
        let claims = try IdentityClaims(["sub": "u", "email": .string(email)], settings: settings)
        #expect(((try? claims.principal(settings: settings)) != nil) == isAdmitted)
    }

    @Test(
        "of an unverified address are refused",
        arguments: [
            (JSONValue.bool(false), false), (.string("false"), false), (.number(0), false), (.null, true),
            (.bool(true), true),
        ])
    func verification(_ value: JSONValue, _ isAdmitted: Bool) throws {
        let claims = try IdentityClaims(
            ["sub": "u", "email": "e@x", "email_verified": value], settings: self.settings())
        #expect(((try? claims.principal(settings: self.settings())) != nil) == isAdmitted)
    }

    @Test("from userinfo bring their own verification")
    func userinfo() throws {
        var claims = try IdentityClaims(["sub": "u", "email_verified": true, "name": "N"], settings: self.settings())
        try claims.fill(
            from: IdentityClaims(
                ["sub": "u", "email": "e@x", "email_verified": false, "name": "No", "groups": ["g"]],
                settings: self.settings()))
        #expect((claims.email, claims.name, claims.groups) == ("e@x", "N", ["g"]))
        #expect(throws: SignInFailure.self) { try claims.principal(settings: self.settings()) }
    }

    @Test("without a subject are nobody's", arguments: [JSONValue.null, "", 5])
    func subjects(_ value: JSONValue) {
        #expect(throws: SignInFailure.self) { try IdentityClaims(["sub": value], settings: self.settings()) }
    }

    @Test(
        "of discovery must name their issuer",
        arguments: [
            ("https://idp", true), ("https://idp/", true), ("https://other", false), ("", false),
        ])
    func discovery(_ issuer: String, _ isAccepted: Bool) {
        let json: JSONValue = [
            "issuer": .string(issuer), "authorization_endpoint": "https://idp/a", "token_endpoint": "https://idp/t",
            "jwks_uri": "https://idp/k",
        ]
        let document = try? DiscoveryDocument(json, settings: self.settings(), rule: AddressGuard(allowsLoopback: true))
        #expect((document != nil) == isAccepted)
    }

    @Test(
        "of discovery may not point inside",
        arguments: ["javascript:alert(1)", "http://169.254.169.254/t", "ftp://x", ""])
    func discoveryEndpoints(_ url: String) {
        for name in ["authorization_endpoint", "token_endpoint", "jwks_uri"] {
            var json: JSONObject = [
                "issuer": "https://idp", "authorization_endpoint": "https://idp/a", "token_endpoint": "https://idp/t",
                "jwks_uri": "https://idp/k",
            ]
            json[name] = .string(url)
            #expect(throws: SignInFailure.self) {
                try DiscoveryDocument(
                    .object(json), settings: self.settings(), rule: AddressGuard(allowsLoopback: true))
            }
        }
    }
}
