// SPDX-License-Identifier: Apache-2.0

import GatewayCore
import Testing

@testable import GatewayMetering

@Suite("The usage member of a passing JSON object")
struct UsageFinderTests {
    private func find(_ pieces: [ArraySlice<UInt8>]) -> [UInt8] {
        var finder = UsageFinder()
        for piece in pieces { piece.withUnsafeBytes { finder.receive($0) } }
        return finder.value
    }

    private func find(_ text: String) -> String {
        String(decoding: self.find([Array(text.utf8)[...]]), as: UTF8.self)
    }

    @Test(
        "is found at the top level, and nowhere else",
        arguments: [
            (#"{"usage":{"a":1}}"#, #"{"a":1}"#),
            (#"{"type":"message","usage":{"a":1},"x":2}"#, #"{"a":1}"#),
            (#"{"x":{"usage":{"a":1}},"usage":{"a":2}}"#, #"{"a":2}"#),
            (#"{"x":[{"usage":{"a":1}}]}"#, ""),
            (#"{"x":[[],{}],"usage":[{"usage":{"a":1}}]}"#, #"[{"usage":{"a":1}}]"#),
            (#"[{"usage":{"a":1}}]"#, ""),
            (#"["usage",{"a":1}]"#, ""),
            (#""usage""#, ""),
            ("", ""),
            ("{}", ""),
            // The name as a value, and names that are nearly it.
            (#"{"x":"usage","y":{"a":1}}"#, ""),
            (#"{"usages":1,"usag":2,"Usage":3,"":4,"usage ":5," usage":6}"#, ""),
            (#"{"x":"\"usage\":{\"a\":1}"}"#, ""),
            (#"{"x\"usage":1,"usage\"":2,"\"usage\":":3,"\\":4,"usage\\":5}"#, ""),
            (#"{"x\\":1,"usage":2}"#, "2"),
            (#"{"x":"}{][,:","usage":{"b":"}]\"\\"}}"#, #"{"b":"}]\"\\"}"#),
            ("{\n \"usage\" :\t{ \"a\" : 1 }\r\n}", #"{ "a" : 1 }"#),
            (#"{"usage":null}"#, "null"),
            (#"{"usage":"x,\"y}"}"#, #""x,\"y}""#),
        ])
    func places(_ text: String, _ expected: String) {
        #expect(self.find(text).trimmed == expected)
    }

    @Test(
        "is the last of several",
        arguments: [
            (#"{"usage":{"a":1},"usage":{"a":2}}"#, #"{"a":2}"#),
            (#"{"usage":{"a":1},"x":{"usage":{"a":3}},"usage":{"a":2},"y":0}"#, #"{"a":2}"#),
            (#"{"usage":{"a":1},"usage":null}"#, "null"),
            (#"{"usage":{"a":1},"usage":"","usage":[]}"#, "[]"),
        ])
    func lastCounts(_ text: String, _ expected: String) throws {
        let found = self.find(text)
        #expect(found == expected)
        #expect(try JSONValue(parsing: found) == JSONValue(parsing: text)["usage"])
    }

    @Test("is what a parser of the whole finds, in objects of all kinds and pieces of all sizes")
    func agreesWithParser() throws {
        var generator = RandomObjects(seed: 4711)
        var found = 0
        for _ in 0..<3000 {
            let object = generator.object()
            let whole = try JSONValue(parsing: object.text)
            let text = String(decoding: self.find(generator.pieces(Array(object.text.utf8))), as: UTF8.self)
            try #require(text.trimmed == object.usage, "\(object.text)")
            guard let expected = whole["usage"] else {
                try #require(text.isEmpty, "\(object.text)")
                continue
            }
            try #require(try JSONValue(parsing: text) == expected, "\(object.text)")
            found += 1
        }
        // Otherwise the objects have shown nothing.
        #expect(found > 500 && found < 2900, "\(found)")
    }

    @Test("has no text of a body that ends before it, and never half an object that reads as a whole one")
    func truncated() throws {
        let text = #"{"x":["usage",{"usage":{"a":9}}],"usage":{"input_tokens":12,"b":{"c":"}"}} ,"y":"z"}"#
        let bytes = Array(text.utf8)
        let whole = try #require(try JSONValue(parsing: text)["usage"])
        var complete = 0
        for count in bytes.indices {
            let found = self.find([bytes[..<count]])
            guard !found.isEmpty, let value = try? JSONValue(parsing: found) else { continue }
            try #require(value == whole, "\(String(decoding: bytes[..<count], as: UTF8.self))")
            complete += 1
        }
        #expect(complete > 5)
    }

    @Test("is found behind nesting that no parser follows")
    func deepNesting() {
        let depth = 1_000_000
        for (open, close) in [("[", "]"), (#"{"usage":"#, "}")] {
            var text = #"{"x":"#
            text += String(repeating: open, count: depth)
            text += "1"
            text += String(repeating: close, count: depth)
            #expect(self.find(text + #","usage":{"a":1}}"#) == #"{"a":1}"#)
        }
    }

    @Test("is given up when it is longer than any usage, and the next one is read")
    func tooLong() {
        let limit = 1 << 16
        func usage(_ length: Int) -> String { "\"" + String(repeating: "x", count: length - 2) + "\"" }
        #expect(self.find(#"{"usage":\#(usage(limit))}"#) == usage(limit))
        #expect(self.find(#"{"usage":\#(usage(limit + 1))}"#).isEmpty)
        #expect(self.find(#"{"usage":{"a":1},"usage":\#(usage(limit + 1)),"x":2}"#).isEmpty)
        #expect(self.find(#"{"usage":\#(usage(limit + 1)),"usage":{"a":1}}"#) == #"{"a":1}"#)
        let deep = String(repeating: #"{"usage":"#, count: limit)
        #expect(self.find(#"{"usage":"# + deep).isEmpty)
    }

    @Test(
        "makes nothing of what is not JSON, and takes no harm from it",
        arguments: [
            "}}}}", "]]]{", "{:::", "{,,,,", #"{"usage"}"#, #"{"usage":"#, "{usage:1}", "\"\\", "{\"usage", "\0\u{FF}",
        ])
    func survives(_ text: String) {
        #expect(self.find(text).isEmpty)
    }

    @Test("takes no harm from random bytes in random pieces")
    func survivesNoise() {
        var generator = RandomObjects(seed: 99)
        let alphabet = Array(#"{}[]":,\usage 1"#.utf8) + [0, 0x0A, 0xC3, 0xFF]
        for _ in 0..<2000 {
            let bytes = (0..<generator.below(200)).map { _ in alphabet[generator.below(alphabet.count)] }
            let whole = self.find([bytes[...]])
            #expect(self.find(generator.pieces(bytes)) == whole, "\(bytes)")
        }
    }

    @Test("does not stop a meter when its nesting is hostile: the answer is an estimate")
    func meterEstimates() {
        let text = #"{"usage":{"x":\#(String(repeating: "[", count: 5000))\#(String(repeating: "]", count: 5000))}}"#
        var meter = UsageMeter(.json)
        Array(text.utf8).withUnsafeBytes { meter.receive($0) }
        let reading = meter.finish()
        #expect((reading.knowsInput, reading.knowsOutput) == (false, false))
        #expect(reading.usage.output == (text.utf8.count + 3) / 4)
    }
}

extension String {
    fileprivate var trimmed: String {
        String(self.drop(while: \.isWhitespace).reversed().drop(while: \.isWhitespace).reversed())
    }
}

/// JSON objects with all that a search for a member could stumble over, from a seed.
private struct RandomObjects {
    private var state: UInt64

    init(seed: UInt64) {
        self.state = seed
    }

    /// SplitMix64.
    mutating func below(_ bound: Int) -> Int {
        self.state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = self.state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return Int((mixed ^ (mixed >> 31)) % UInt64(max(1, bound)))
    }

    private mutating func pick(_ choices: [String]) -> String { choices[self.below(choices.count)] }

    private mutating func space() -> String {
        self.below(3) > 0 ? "" : self.pick([" ", "\n", "\t", "\r\n", "  "])
    }

    private mutating func string() -> String {
        let parts = [
            "", "usage", "a", "\\\"", "\\\\", "\\n", "\\u0022", "\\u005c", "{", "}", "[", "]", ",", ":", "é", "😀",
            "\\/",
            "\\ud83d\\ude00", "message",
        ]
        return "\"" + (0..<self.below(5)).map { _ in self.pick(parts) }.joined() + "\""
    }

    private mutating func value(depth: Int) -> String {
        switch self.below(depth > 4 ? 5 : 8) {
        case 0: return self.pick(["true", "false", "null"])
        case 1: return self.pick(["0", "-1.5e-3", "12", "1e400", "100000000"])
        case 2, 3, 4: return self.string()
        case 5: return self.array(depth: depth + 1)
        default: return self.members(depth: depth + 1).text
        }
    }

    private mutating func array(depth: Int) -> String {
        let items = (0..<self.below(4)).map { _ in self.space() + self.value(depth: depth) + self.space() }
        return "[" + items.joined(separator: ",") + "]"
    }

    /// An object, and the text of its last `usage`.
    private mutating func members(depth: Int) -> (text: String, usage: String) {
        var usage = ""
        let members = (0..<self.below(6)).map { _ -> String in
            let name = self.below(4) == 0 ? "\"usage\"" : self.string()
            let value = self.value(depth: depth)
            if name == "\"usage\"" { usage = value }
            return self.space() + name + self.space() + ":" + self.space() + value + self.space()
        }
        return ("{" + members.joined(separator: ",") + "}", usage)
    }

    mutating func object() -> (text: String, usage: String) {
        let (text, usage) = self.members(depth: 0)
        return (self.space() + text + self.space(), usage)
    }

    mutating func pieces(_ bytes: [UInt8]) -> [ArraySlice<UInt8>] {
        var (pieces, at) = ([ArraySlice<UInt8>](), 0)
        let longest = 1 + self.below(40)
        while at < bytes.count {
            let end = min(bytes.count, at + self.below(longest + 1))
            pieces.append(bytes[at..<end])
            at = end
        }
        return pieces
    }
}
