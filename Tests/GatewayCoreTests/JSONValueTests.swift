// SPDX-License-Identifier: Apache-2.0

import GatewayCore
import Testing

@Suite("JSON values")
struct JSONValueTests {
    /// What `String(x)` gives in JavaScript (ECMA-262 §6.1.6.1.20).
    @Test(
        "write numbers as JavaScript does",
        arguments: [
            (0.0, "0"), (-0.0, "0"), (1.0, "1"), (-5.5, "-5.5"), (0.1, "0.1"), (1e21, "1e+21"),
            (1e20, "100000000000000000000"),
            (1e-6, "0.000001"), (1e-7, "1e-7"), (123456789012345680000.0, "123456789012345680000"),
            (1.5e300, "1.5e+300"),
            (Double.leastNonzeroMagnitude, "5e-324"), (0.000123, "0.000123"), (9007199254740993.0, "9007199254740992"),
            (1234.5678, "1234.5678"),
        ])
    func writesNumbersAsJavaScriptDoes(_ value: Double, _ text: String) {
        #expect(JSONValue.number(value).text() == text)
    }

    @Test("sort keys as a JavaScript object orders them")
    func sortsKeysCanonically() {
        let value: JSONValue = ["b": 1, "10": 2, "9": 3, "a": ["z": 1, "y": 2], "1a": 4, "01": 5, "😀": 6, "Ａ": 7]
        #expect(
            value.text(order: .canonical)
                == #"{"9":3,"10":2,"01":5,"1a":4,"a":{"y":2,"z":1},"b":1,"😀":6,"Ａ":7}"#)
        #expect(value.text().hasPrefix(#"{"b":1,"10":2"#))
    }

    @Test("escape only what must be escaped")
    func escapesMinimally() {
        let value = JSONValue.string("\"\\/\u{8}\u{c}\n\r\t\u{1}\u{2028}é")
        #expect(value.text() == "\"\\\"\\\\/\\b\\f\\n\\r\\t\\u0001\u{2028}é\"")
    }

    @Test("read what they wrote", arguments: 0..<200)
    func survivesARoundTrip(_ seed: Int) throws {
        var generator = SeededGenerator(seed: UInt64(seed))
        let value = JSONValue.random(depth: 4, using: &generator)
        #expect(try JSONValue(parsing: value.text()) == value)
        #expect(try JSONValue(parsing: value.prettyText()) == value)
    }

    @Test(
        "refuse what is not JSON",
        arguments: [
            "", " ", "{", "[1,]", "{\"a\":1,}", "01", "1.", ".5", "+1", "tru", "nul", "\"\u{1}\"", "\"\\x\"",
            "\"\\u12\"", "[1 2]",
            "{\"a\" 1}", "{a:1}", "1 2", "\u{FEFF}1", "NaN", "[,1]", "'a'", "\"a",
        ])
    func refusesWhatIsNotJSON(_ text: String) {
        #expect(throws: JSONError.self) { try JSONValue(parsing: text) }
    }

    @Test("refuse nesting that would exhaust the stack")
    func refusesDeepNesting() {
        #expect(throws: JSONError.self) { try JSONValue(parsing: String(repeating: "[", count: 100_000)) }
    }

    @Test("read surrogate pairs, and lone surrogates as replacement characters")
    func readsSurrogates() throws {
        #expect(try JSONValue(parsing: #""\ud83c\udf89""#) == .string("🎉"))
        #expect(try JSONValue(parsing: #""\ud83cx""#) == .string("\u{FFFD}x"))
    }

    @Test("never crash on damaged input", arguments: 0..<300)
    func surviveDamage(_ seed: Int) {
        var generator = SeededGenerator(seed: UInt64(seed))
        var bytes = Array(JSONValue.random(depth: 4, using: &generator).text().utf8)
        for _ in 0..<4 where !bytes.isEmpty {
            bytes[Int.random(in: bytes.indices, using: &generator)] = UInt8.random(in: .min ... .max, using: &generator)
        }
        _ = try? JSONValue(parsing: bytes)
    }
}

/// A repeatable generator (SplitMix64).
struct SeededGenerator: RandomNumberGenerator {
    private var state: UInt64

    init(seed: UInt64) {
        self.state = seed &* 0x9E37_79B9_7F4A_7C15 &+ 1
    }

    mutating func next() -> UInt64 {
        self.state &+= 0x9E37_79B9_7F4A_7C15
        var z = self.state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }
}

extension JSONValue {
    static func random(depth: Int, using generator: inout SeededGenerator) -> JSONValue {
        let strings = ["", "a", "é\"\\", "line\nbreak", "🎉", "model", "0"]
        switch Int.random(in: 0..<(depth > 0 ? 7 : 5), using: &generator) {
        case 0: return .null
        case 1: return .bool(Bool.random(using: &generator))
        case 2: return .number(Double(Int.random(in: -1000...1000, using: &generator)))
        case 3: return .number(Double.random(in: -1e9...1e9, using: &generator))
        case 4: return .string(strings.randomElement(using: &generator)!)
        case 5:
            return .array(
                (0..<Int.random(in: 0..<4, using: &generator)).map { _ in .random(depth: depth - 1, using: &generator) }
            )
        default:
            var object = JSONObject()
            for _ in 0..<Int.random(in: 0..<4, using: &generator) {
                object[strings.randomElement(using: &generator)!] = .random(depth: depth - 1, using: &generator)
            }
            return .object(object)
        }
    }
}
