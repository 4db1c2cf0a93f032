// SPDX-License-Identifier: Apache-2.0

import Foundation
import GatewayCore
import Testing

@testable import GatewayIdentity

@Suite("The gateway's bearers")
struct SessionTokenTests {
    private static let secret = "0123456789abcdef0123456789abcdef"
    private let tokens = SessionTokens(settings: SessionSettings(secrets: [Secret(secret)]), issuer: "https://gw")
    private let now = Timestamp(seconds: 1_800_000_000)
    private let principal = Principal(subject: "Ünï\n", email: "a@x", name: "A", groups: ["g", "h i"])

    private func claims(_ token: String) throws -> JSONValue {
        let part = token.split(separator: ".")[1]
        return try JSONValue(parsing: #require(Base64URL.decode(part)))
    }

    /// The token with other claims and a fresh signature, as only a holder of the secret could make it.
    private func resigned(_ change: (inout JSONObject) -> Void, header: JSONValue? = nil, secret: String = secret)
        throws -> String
    {
        guard case .object(var claims) = try self.claims(self.tokens.mint(for: self.principal, now: self.now)) else {
            return ""
        }
        change(&claims)
        let settings = SessionSettings(secrets: [Secret(secret)])
        return SigningHelper.sign(
            header ?? ["alg": "HS256", "kid": .string(SessionTokens.keyID(Array(settings.secrets[0].reveal().utf8)))],
            .object(claims), secret)
    }

    @Test("carry the claims in their order")
    func carryTheClaims() throws {
        let token = self.tokens.mint(for: self.principal, now: self.now)
        #expect(
            try self.claims(token).text()
                == #"{"sub":"Ünï\n","email":"a@x","name":"A","groups":["g","h i"],"aud":"claude-gateway","iat":1800000000,"exp":1800003600,"iss":"https://gw"}"#
        )
        let verified = try #require(self.tokens.verify(token, now: self.now))
        #expect(verified.principal == self.principal)
        #expect(verified.expiresAt == 1_800_003_600)
    }

    @Test("end at their expiry, to the second")
    func end() {
        let token = self.tokens.mint(for: self.principal, now: self.now)
        #expect(self.tokens.verify(token, now: Timestamp(milliseconds: 1_800_003_599_999)) != nil)
        #expect(self.tokens.verify(token, now: Timestamp(seconds: 1_800_003_600)) == nil)
    }

    @Test("are refused when anything about them is wrong")
    func areRefused() throws {
        #expect(
            try self.tokens.verify(self.resigned { _ in }, now: self.now) != nil, "the helper signs as the gateway does"
        )
        let changes: [(String, (inout JSONObject) -> Void)] = [
            ("no exp", { $0["exp"] = nil }), ("text exp", { $0["exp"] = "9999999999" }),
            ("huge exp", { $0["exp"] = 1e300.json }),
            ("no sub", { $0["sub"] = nil }), ("empty sub", { $0["sub"] = "" }), ("number sub", { $0["sub"] = 5 }),
            ("other aud", { $0["aud"] = "other" }), ("no aud", { $0["aud"] = nil }),
            ("other iss", { $0["iss"] = "https://gw/" }),
            ("no iss", { $0["iss"] = nil }), ("future nbf", { $0["nbf"] = 1_800_000_001 }),
            ("text nbf", { $0["nbf"] = "0" }),
        ]
        for (name, change) in changes {
            #expect(try self.tokens.verify(self.resigned(change), now: self.now) == nil, "\(name)")
        }
        for header: JSONValue in [
            ["alg": "none"], ["alg": "HS512"], ["alg": "HS256", "kid": "nope"], ["alg": "HS256", "kid": 5],
        ] {
            #expect(try self.tokens.verify(self.resigned({ _ in }, header: header), now: self.now) == nil)
        }
        #expect(
            try self.tokens.verify(self.resigned({ _ in }, secret: String(repeating: "x", count: 32)), now: self.now)
                == nil)
        let token = self.tokens.mint(for: self.principal, now: self.now)
        for bad in ["", ".", "..", "a.b.c", token + ".x", String(token.dropLast()), token.replacing(".", with: "")] {
            #expect(self.tokens.verify(bad, now: self.now) == nil)
        }
    }

    @Test("of every damaged byte are refused", arguments: 0..<64)
    func areRefusedWhenDamaged(_ seed: Int) {
        var bytes = Array(self.tokens.mint(for: self.principal, now: self.now).utf8)
        let index = seed * 5 % (bytes.count - 1)
        bytes[index] = bytes[index] == UInt8(ascii: "A") ? UInt8(ascii: "B") : UInt8(ascii: "A")
        #expect(self.tokens.verify(String(decoding: bytes, as: UTF8.self), now: self.now) == nil)
    }

    @Test("of an old secret are accepted while it is listed")
    func rotate() {
        let old = self.tokens.mint(for: self.principal, now: self.now)
        let new = SessionTokens(
            settings: SessionSettings(secrets: [Secret(String(repeating: "n", count: 32)), Secret(Self.secret)]),
            issuer: "https://gw")
        #expect(new.verify(old, now: self.now) != nil)
        #expect(self.tokens.verify(new.mint(for: self.principal, now: self.now), now: self.now) == nil)
    }
}

extension Double {
    fileprivate var json: JSONValue { .number(self) }
}

@Suite("Sealed texts")
struct SealerTests {
    private let sealer = Sealer(settings: SessionSettings(secrets: [Secret(String(repeating: "a", count: 32))]))

    @Test("open only whole, for their purpose, and under a known secret")
    func openOnlyWhole() {
        let text = self.sealer.seal(["a": 1], for: .state)
        #expect(self.sealer.open(text, for: .state) == ["a": 1])
        #expect(self.sealer.open(text, for: .refreshToken) == nil)
        #expect(self.sealer.seal(["a": 1], for: .state) != text, "the same text twice")
        for index in stride(from: 0, to: text.count, by: 7) {
            var bytes = Array(text.utf8)
            bytes[index] = bytes[index] == 0x41 ? 0x42 : 0x41
            #expect(self.sealer.open(String(decoding: bytes, as: UTF8.self), for: .state) == nil)
        }
        let other = Sealer(settings: SessionSettings(secrets: [Secret(String(repeating: "b", count: 32))]))
        #expect(other.open(text, for: .state) == nil)
        let both = Sealer(
            settings: SessionSettings(secrets: [
                Secret(String(repeating: "b", count: 32)), Secret(String(repeating: "a", count: 32)),
            ]))
        #expect(both.open(text, for: .state) == ["a": 1])
        for bad in ["", "x", "made-up", String(repeating: "A", count: 100)] {
            #expect(self.sealer.open(bad, for: .state) == nil)
        }
    }
}

@Suite("Device grants")
struct DeviceGrantTests {
    private let start = Timestamp(seconds: 1000)

    @Test("pace polls by the last one that counted")
    func pacePolls() {
        var grant = DeviceGrant(userCode: "BBBB-CCCC", requestedFrom: "ip", requestedAt: self.start)
        #expect(grant.poll(at: self.start) == .pending)
        #expect(grant.poll(at: self.start.advanced(bySeconds: 3.9)) == .slowDown)
        #expect(grant.poll(at: self.start.advanced(bySeconds: 4.0)) == .pending)
        #expect(grant.poll(at: self.start.advanced(bySeconds: 7.9)) == .slowDown)
        grant.state = .approved("x")
        #expect(grant.poll(at: self.start.advanced(bySeconds: 7.95)) == .approved("x"))
        grant.state = .denied
        #expect(grant.poll(at: self.start.advanced(bySeconds: 7.96)) == .denied)
    }

    @Test("survive their row", arguments: [DeviceGrant.State.pending, .denied, .approved("sealed")])
    func surviveTheirRow(_ state: DeviceGrant.State) {
        var grant = DeviceGrant(userCode: "BBBB-CCCC", requestedFrom: "::1", requestedAt: self.start)
        grant.lastPoll = self.start
        grant.state = state
        #expect(DeviceGrant(text: grant.text) == grant)
    }

    @Test(
        "have codes that people can type",
        arguments: [
            ("bcdf-ghjk", "BCDF-GHJK"), ("B.C.D.F GHJK", "BCDF-GHJK"), (" bcdfghjk ", "BCDF-GHJK"), ("BCDFGHJ", nil),
            ("BCDFGHJKK", nil),
            ("ＢＣＤＦＧＨＪＫ", nil), ("", nil), ("1234-5678", nil),
        ])
    func normalise(_ typed: String, _ code: String?) {
        #expect(DeviceCodes.normalise(typed) == code)
    }

    @Test("have codes of the right letters")
    func drawCodes() {
        for _ in 0..<200 {
            #expect(
                DeviceCodes.makeUserCode().wholeMatch(of: /[BCDFGHJKMNPQRSTVWXYZ]{4}-[BCDFGHJKMNPQRSTVWXYZ]{4}/) != nil)
        }
    }
}
