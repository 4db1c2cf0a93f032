// SPDX-License-Identifier: Apache-2.0

import CByteScan
import Foundation
import GatewayCore
import TestSupport
import Testing

@testable import GatewayRelay

@Suite("Scanning bodies")
struct BodyScannerTests {
    private let memory = BoundedMemory()

    @Test("ends strings where a parser ends them, whatever their escapes and wherever blocks of 64 bytes begin")
    func strings() {
        var state: UInt64 = 0x9E37_79B9_7F4A_7C15
        func random(_ bound: Int) -> Int {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return Int(state >> 33) % bound
        }
        let marks = [
            "\\\\", "\\", "\"", "\\n", "\\u00e9", "\\u0", "\\u00g0", "\\x", "\u{1}", "\t", "\\\"", "/", "é", "\\/",
        ]
        var (taken, refused) = (0, 0)
        for _ in 0..<20_000 {
            // Few marks in most texts, so that many are taken.
            let density = [200, 60, 12, 4][random(4)]
            var text = ""
            for _ in 0..<random(220) { text += random(density) == 0 ? marks[random(marks.count)] : "a" }
            let body = Array("{\"k\":\"\(text)\",\"model\":\"m\"}".utf8)
            let scan = body.withUnsafeBytes { try? BodyScanner.scan($0, findsNestedModels: true, listsMembers: true) }
            let parsed = try? JSONValue(parsing: body)
            #expect((scan == nil) == (parsed == nil), "\(text.debugDescription)")
            #expect(self.readsAlike(body), "\(text.debugDescription)")
            if let parsed, let scan {
                taken += 1
                if case .string(let model) = scan.model { #expect(parsed["model"]?.string == model) }
            } else {
                refused += 1
            }
        }
        #expect(taken > 2000 && refused > 2000)
    }

    /// Whether what is compiled for this processor and what is compiled for any find the same, in a text to the byte.
    private func readsAlike(_ text: [UInt8]) -> Bool {
        let copy = self.memory.end(text)
        var found: (Int32, Int32) = (0, 0)
        let word = Array("model".utf8)
        let end = cjson_value_end(copy.baseAddress, text.count, 100, word, word.count, &found.0)
        let plain = cjson_walk(copy.baseAddress, text.count, 100, word, word.count, &found.1, 0)
        return (end < 0 ? plain < 0 : end == plain && found.0 == found.1) && Self.endsAlike(copy)
    }

    /// Whether all that is compiled and that this processor can run finds the same end, if any, of a string that begins
    /// where the first value does.
    private static func endsAlike(_ text: UnsafeMutableBufferPointer<UInt8>) -> Bool {
        var ends: [Int] = []
        #if arch(x86_64)
            let start = min(#"{"k":""#.utf8.count, text.count)
            let (string, count) = (text.baseAddress! + start, text.count - start)
            ends.append(cjson_string_end_any(string, count))
            if cprocessor_is_wide() != 0 { ends.append(cjson_string_end_wide(string, count, 0)) }
            if cprocessor_is_widest() != 0 { ends.append(cjson_string_end_widest(string, count, 0)) }
        #endif
        return ends.allSatisfy { max($0, -1) == max(ends[0], -1) }
    }

    private func scan(_ text: String) throws(BodyScanError) -> BodyScan {
        try self.scan(Array(text.utf8))
    }

    private func scan(_ bytes: [UInt8]) throws(BodyScanError) -> BodyScan {
        let result: Result<BodyScan, BodyScanError> = bytes.withUnsafeBytes { raw in
            do throws(BodyScanError) {
                return .success(try BodyScanner.scan(raw, findsNestedModels: true))
            } catch {
                return .failure(error)
            }
        }
        return try result.get()
    }

    @Test("finds the model and where it stands")
    func findsTheModel() throws {
        let text = #" {"a":[1,{"x":"}"}], "model" : "claude-x", "stream":true}"#
        let scan = try self.scan(text)
        #expect(scan.model == .string("claude-x"))
        #expect(scan.streams)
        let range = try #require(scan.modelRanges.first)
        #expect(String(decoding: Array(text.utf8)[range], as: UTF8.self) == #""claude-x""#)
    }

    @Test("reads keys and values as JSON means them, however they are escaped")
    func readsEscapes() throws {
        #expect(try self.scan(#"{"mod\u0065l":"a\u0062\"c"}"#).model == .string("ab\"c"))
        #expect(try self.scan(#"{"\u006d\u006f\u0064\u0065\u006c":"x"}"#).model == .string("x"))
        #expect(try self.scan(#"{"modelx":"x","Model":"y"}"#).model == .missing)
    }

    @Test("tells missing, wrong and contradictory models apart")
    func tellsModelsApart() throws {
        #expect(try self.scan("{}").model == .missing)
        for value in ["5", "null", "[\"a\"]", "{\"model\":\"a\"}", "true"] {
            #expect(try self.scan("{\"model\":\(value)}").model == .notAString, "\(value)")
        }
        #expect(try self.scan(#"{"model":"a","model":"a"}"#).hasConflictingModels == false)
        #expect(try self.scan(#"{"model":"a","model":"a"}"#).modelRanges.count == 2)
        #expect(try self.scan(#"{"model":"a","mod\u0065l":"b"}"#).hasConflictingModels)
        #expect(try self.scan(#"{"model":"a","model":5}"#).hasConflictingModels)
        #expect(try self.scan(#"{"model":5,"model":"a"}"#).hasConflictingModels)
    }

    @Test("lists nested models with their paths, but not those that are data")
    func listsNestedModels() throws {
        let scan = try self.scan(
            #"{"model":"m","fallbacks":[{"model":"a"},{"model":5}],"tools":[{"model":"b","input_schema":{"model":"no","x":[{"model":"no"}]}},{"input":{"model":"no"}}],"c":{"d":[[{"model":null}]],"model":{"model":"e"}},"messages":[{"content":[{"input":[{"model":"no"}],"model":"f"}]}]}"#
        )
        #expect(
            scan.nestedModels == [
                .init(path: "fallbacks[0].model", model: "a"), .init(path: "fallbacks[1].model", model: nil),
                .init(path: "tools[0].model", model: "b"), .init(path: "c.model.model", model: "e"),
                .init(path: "messages[0].content[0].model", model: "f"),
            ])
    }

    @Test("finds duplicated nested models, each of them")
    func findsNestedDuplicates() throws {
        let scan = try self.scan(#"{"model":"m","f":{"model":"a","model":"b"}}"#)
        #expect(scan.nestedModels.map(\.model) == ["a", "b"])
    }

    @Test(
        "refuses what is not JSON",
        arguments: [
            "", " ", "{", "{\"a\":1,}", "{\"a\":1 \"b\":2}", "{\"a\":01}", "{\"a\":1.}", "{\"a\":tru}",
            "{\"a\":\"\u{1}\"}", "{\"a\":\"\\x\"}",
            "{\"a\":\"\\u12g4\"}", "{} x", "{}{}", "\u{FEFF}{}", "{a:1}", "{\"a\":NaN}", "{\"a\":[1,]}", "{\"a\":[,]}",
            "{\"a\":-}", "{,}",
            "{\"a\":1e}", "{\"a\" :}", "{]", "[}", "{\"a\":\"", "nonsense", "/**/{}",
        ])
    func refusesWhatIsNotJSON(_ text: String) {
        #expect(throws: BodyScanError.invalidJSON) { try self.scan(text) }
    }

    @Test("refuses JSON that is no object", arguments: ["[]", "\"x\"", "5", "null", " [1] "])
    func refusesOtherValues(_ text: String) {
        #expect(throws: BodyScanError.notAnObject) { try self.scan(text) }
    }

    @Test("lets bytes pass that are not UTF-8, and deep nesting up to its bound")
    func letsOddBytesPass() throws {
        #expect(
            try self.scan(Array(#"{"model":"m","x":""#.utf8) + [0xFF, 0xC3] + Array("\"}".utf8)).model == .string("m"))
        let deep = String(repeating: "[", count: 5000) + String(repeating: "]", count: 5000)
        #expect(try self.scan("{\"model\":\"m\",\"x\":\(deep)}").model == .string("m"))
        #expect(throws: BodyScanError.invalidJSON) { try self.scan("{\"x\":" + String(repeating: "[", count: 20_000)) }
    }

    @Test("knows of each open container whether it is an object, however many there are", arguments: 1...200)
    func remembersContainers(_ depth: Int) throws {
        let areObjects = (0..<depth).map { ($0 &* 2_654_435_761) >> 7 & 1 == 1 }
        let opening = areObjects.map { $0 ? "{\"k\":" : "[" }.joined()
        let closing = Array(areObjects.reversed().map { $0 ? "}" : "]" }.joined().utf8)
        func body(_ closing: [UInt8]) -> [UInt8] { Array("{\"model\":\"m\",\"x\":\(opening)0".utf8) + closing + [0x7D] }
        #expect(try self.scan(body(closing)).model == .string("m"))
        #expect(self.readsAlike(body(closing)))
        for place in [0, depth / 2, depth - 1] {
            var wrong = closing
            wrong[place] ^= 0x20
            #expect(throws: BodyScanError.invalidJSON) { try self.scan(body(wrong)) }
            #expect(self.readsAlike(body(wrong)))
        }
    }

    /// Special bytes at every offset of the eight-byte steps.
    @Test("finds the end of a string at every offset", arguments: 0..<24)
    func findsStringEnds(_ length: Int) throws {
        let text = String(repeating: "x", count: length)
        #expect(try self.scan("{\"model\":\"\(text)m\"}").model == .string(text + "m"))
        #expect(try self.scan("{\"a\":\"\(text)\\\"\",\"model\":\"m\"}").model == .string("m"))
        #expect(throws: BodyScanError.invalidJSON) { try self.scan("{\"a\":\"\(text)\u{1F}xxxxxxxxx\"}") }
    }

    /// The paths of the nested models of a value.
    private static func models(in value: JSONValue, at path: String) -> [String] {
        switch value {
        case .array(let elements):
            return elements.enumerated().flatMap { self.models(in: $1, at: "\(path)[\($0)]") }
        case .object(let object):
            return object.members.flatMap { key, value -> [String] in
                let inner = path + "." + key
                guard key == "model" else { return key == "input" ? [] : self.models(in: value, at: inner) }
                switch value {
                case .object: return self.models(in: value, at: inner)
                case .null: return []
                default: return [inner]
                }
            }
        default: return []
        }
    }

    /// The scanner and the parser must agree on what is JSON, and on the model that any parser would read.
    @Test("agrees with a parser on random and damaged texts", arguments: 0..<3000)
    func agreesWithAParser(_ seed: Int) {
        var state = UInt64(seed) &+ 0x1234_5678
        func random(_ bound: Int) -> Int {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return Int(state >> 33) % bound
        }
        let scalars = ["1", "-0.5e+3", "true", "null", "\"a\"", "\"\\u0041\\n\"", "\"model\"", "\"é🎉\"", "{}", "[]"]
        /// Long enough for every way in which strings are read, and for the seams between them.
        func text() -> String {
            let escapes = ["\\n", "\\\"", "\\\\", "\\u00e9", "\\\\\\\"", "é"]
            return "\""
                + (0..<random(5)).map { _ in
                    String(repeating: "x", count: random(300)) + escapes[random(escapes.count)]
                }.joined() + "\""
        }
        func value(_ depth: Int) -> String {
            switch depth > 0 ? random(5) : 0 {
            case 0, 1: return scalars[random(scalars.count)]
            case 4: return text()
            case 2: return "[" + (0..<random(4)).map { _ in value(depth - 1) }.joined(separator: " , ") + "]"
            default:
                let keys = ["\"model\"", "\"mod\\u0065l\"", "\"input\"", "\"x\"", "\"stream\""]
                return "{"
                    + (0..<random(4)).map { _ in "\(keys[random(keys.count)]) :\(value(depth - 1))" }.joined(
                        separator: ",") + "}"
            }
        }
        var bytes = Array("{\"model\":\"m\",\"x\":\(value(4)),\"stream\":true}".utf8)
        if seed % 2 == 1 {
            for _ in 0...random(3) {
                let damage = Array("{}[]\",:\\ 0ntf\u{0}".utf8)
                bytes[random(bytes.count)] = damage[random(damage.count)]
            }
        }
        #expect(self.readsAlike(bytes), "\(String(decoding: bytes, as: UTF8.self))")
        let parsed = try? JSONValue(parsing: bytes, maximumDepth: 1000)
        do throws(BodyScanError) {
            let scan = try self.scan(bytes)
            guard case .object(let object)? = parsed else {
                Issue.record("accepted \(String(decoding: bytes, as: UTF8.self))")
                return
            }
            switch object["model"] {
            case nil: #expect(scan.model == .missing)
            case .string(let model)?: #expect(scan.hasConflictingModels || scan.model == .string(model))
            default: #expect(scan.hasConflictingModels || scan.model == .notAString)
            }
            // Of a key that stands twice the parser keeps one value, so the scanner may have found more.
            let paths = Set(scan.nestedModels.map(\.path))
            for (key, value) in object.members where key != "model" && key != "input" {
                #expect(
                    paths.isSuperset(of: Self.models(in: value, at: key)), "\(String(decoding: bytes, as: UTF8.self))")
            }
        } catch {
            switch parsed {
            case .object?: Issue.record("refused \(String(decoding: bytes, as: UTF8.self))")
            case nil: #expect(error == .invalidJSON)
            default: #expect(error == .notAnObject)
            }
        }
    }
}
