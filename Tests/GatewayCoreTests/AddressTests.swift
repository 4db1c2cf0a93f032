// SPDX-License-Identifier: Apache-2.0

import GatewayCore
import Testing

@Suite("Addresses")
struct AddressTests {
    @Test(
        "are read in every usual form",
        arguments: [
            ("10.2.3.4", "10.2.3.4"), ("10.02.3.4", "10.2.3.4"), ("::ffff:10.2.3.4", "10.2.3.4"),
            ("2001:DB8:0::1", "2001:db8::1"),
            ("fe80::1%eth0", "fe80::1"),
        ])
    func areRead(_ text: String, _ normal: String) {
        #expect(IPAddress(text)?.description == normal)
    }

    @Test(
        "are refused when they are none",
        arguments: ["", "10.2.3", "10.2.3.256", "1.2.3.4.5", "host", "10.2.3.-1", ":::", "1..2.3"])
    func areRefused(_ text: String) {
        #expect(IPAddress(text) == nil)
    }

    @Test(
        "are guarded in every notation of a URL",
        arguments: [
            "[64:ff9b::a9fe:a9fe]", "[64:ff9b::169.254.169.254]", "[2002:a9fe:a9fe::1]", "[::169.254.169.254]",
            "169.254.169.254", "2852039166", "0xa9fea9fe", "0251.0376.0251.0376", "169.254.43518",
            "[::ffff:169.254.169.254]",
            "fd00:ec2::254", "[fe80::1]", "metadata.google.internal", "METADATA.google.internal.", "168.63.129.16",
            "100.100.100.200", "192.0.0.192", "instance-data",
        ])
    func areGuardedInEveryNotation(_ host: String) {
        #expect(AddressGuard(allowsLoopback: true).refusal(ofHost: host) != nil)
    }

    @Test(
        "of loopback are refused unless allowed",
        arguments: ["127.0.0.1", "127.1", "0x7f.1", "2130706433", "[::1]", "::", "0.0.0.0", "::ffff:127.0.0.1"])
    func guardsLoopback(_ host: String) {
        #expect(AddressGuard(allowsLoopback: false).refusal(ofHost: host) == .loopback)
        #expect(AddressGuard(allowsLoopback: true).refusal(ofHost: host) == nil)
    }

    @Test(
        "of ordinary hosts pass",
        arguments: ["10.0.0.1", "api.anthropic.com", "192.168.1.1", "2001:db8::1", "metadata.example.com"])
    func passesOrdinaryHosts(_ host: String) {
        #expect(AddressGuard(allowsLoopback: false).refusal(ofHost: host) == nil)
    }

    @Test("belong to networks by their prefix")
    func belongToNetworks() throws {
        let net = try #require(IPNetwork("10.0.0.1/8"))
        #expect(try net.contains(#require(IPAddress("10.255.0.1"))))
        #expect(try !net.contains(#require(IPAddress("11.0.0.1"))))
        #expect(try #require(IPNetwork("0.0.0.0/0")).contains(#require(IPAddress("8.8.8.8"))))
        #expect(try #require(IPNetwork("2001:db8::/33")).contains(#require(IPAddress("2001:db8:7fff::1"))))
        #expect(try !#require(IPNetwork("2001:db8::/33")).contains(#require(IPAddress("2001:db8:8000::1"))))
        #expect(try #require(IPNetwork("::ffff:10.0.0.0/104")).contains(#require(IPAddress("10.9.9.9"))))
        for bad in ["10.0.0.0/33", "10.0.0/8", "10.0.0.0/", "10.0.0.0/-1", " 10.0.0.0", "", "*", "name"] {
            #expect(IPNetwork(bad) == nil, "\(bad)")
        }
    }

    @Test(
        "URLs are taken apart",
        arguments: [
            ("https://Gw.Example.com/base/?q=1#f", "https://gw.example.com", "/base/?q=1"),
            ("http://[2001:DB8::1]:8080", "http://[2001:db8::1]:8080", ""), ("HTTPS://h:443/x", "https://h", "/x"),
            ("http://u:p@h:80?x", "http://h", "/?x"),
        ])
    func takesURLsApart(_ text: String, _ origin: String, _ target: String) throws {
        let url = try #require(WebURL(text))
        #expect(url.origin == origin)
        #expect(url.target == target)
    }

    @Test(
        "URLs that are none are refused",
        arguments: [
            "", "gw.example.com", "ftp://x", "https://", "http://a b", "http://h:99999", "javascript:alert(1)",
            "https://a.com; script-src *", "http://[::1",
        ])
    func refusesBadURLs(_ text: String) {
        #expect(WebURL(text) == nil)
    }
}

@Suite("Small values")
struct SmallValueTests {
    /// RFC 4648 §10.
    @Test(
        "encode in base64, and are decoded",
        arguments: [
            ("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg=="), ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ])
    func encodesBase64(_ text: String, _ encoded: String) {
        #expect(Base64.encode(Array(text.utf8)) == encoded)
        #expect(Base64.decode(encoded) == Array(text.utf8))
        #expect(Base64URL.decode(encoded) == Array(text.utf8))
    }

    @Test("refuse base64url that cannot be", arguments: ["a", "a+b", "ab/c", "Zg==Zg", "é"])
    func refusesBadBase64(_ text: String) {
        #expect(Base64URL.decode(text) == nil)
    }

    @Test("take a client's request id only when it is plain")
    func takesPlainRequestIDs() {
        #expect(RequestID(chosenByClient: "Abc-1_2.3").description == "Abc-1_2.3")
        for bad in ["", "a:b", "a b", "a\"b", "é", String(repeating: "x", count: 65)] {
            let id = RequestID(chosenByClient: bad).description
            #expect(id.wholeMatch(of: /[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}/) != nil)
        }
        #expect(RequestID() != RequestID())
    }

    @Test("write ids of times digit by digit")
    func timeOrderedIDs() {
        var numbers = SystemRandomNumberGenerator()
        for _ in 0..<500 {
            let time = Int64.random(in: 0..<(1 << 48), using: &numbers)
            let id = TimeOrderedID.make(now: Timestamp(milliseconds: time))
            let digits = String(time, radix: 16)
            let padded = String(repeating: "0", count: 12 - digits.count) + digits
            #expect(id.filter { $0 != "-" }.prefix(12) == padded)
            #expect(id.wholeMatch(of: /[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}/) != nil)
        }
    }

    @Test("suggest the nearest word, and nothing far-fetched")
    func suggests() {
        #expect(Suggestion.nearest(to: "permisions", in: ["permissions", "model", "env"]) == "permissions")
        #expect(Suggestion.nearest(to: "upstraems", in: ["upstreams", "listen"]) == "upstreams")
        #expect(Suggestion.nearest(to: "zzz", in: ["env", "model"]) == nil)
    }

    @Test("decode forms with the first value of a name")
    func decodesForms() {
        let fields = FormCoding.firstValues(Array("a=1&a=2&b=%C3%A9+x&c&d=%zz&=e".utf8))
        #expect(fields == ["a": "1", "b": "é x", "c": "", "d": "%zz", "": "e"])
        #expect(FormCoding.encode([("a b", "é&=")]) == "a%20b=%C3%A9%26%3D")
    }

    @Test("keep text on one line")
    func keepsTextOnOneLine() {
        #expect("a\nb\u{202E}\u{1B}[1m".singleLine == "a\\nb\\u{202e}\\u{1b}[1m")
        #expect("bad\nname\té".printableASCII(limit: 128) == "badname")
        #expect(String(repeating: "x", count: 9).printableASCII(limit: 4) == "xxxx...")
    }

    @Test("print times in ISO 8601")
    func printsTimes() {
        #expect(Timestamp(milliseconds: 1_764_000_000_007).description == "2025-11-24T16:00:00.007Z")
    }

    @Test("never print a secret")
    func neverPrintsASecret() {
        let secret = Secret("hunter2")
        var dumped = ""
        dump(secret, to: &dumped)
        #expect(!"\(secret) \(String(reflecting: secret)) \(dumped)".contains("hunter2"))
        // Nor the lines that a secret is sent in: their bytes would be numbers.
        let lines = FieldBlock([("x-api-key", secret.reveal())])
        dumped = ""
        dump(lines, to: &dumped)
        let number = String(UInt8(ascii: "h"))
        #expect(!"\(lines) \(String(reflecting: lines)) \(dumped)".contains(number))
    }
}
