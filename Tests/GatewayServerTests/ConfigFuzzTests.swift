// SPDX-License-Identifier: Apache-2.0

import Foundation
import GatewayConfig
import GatewayCore
import GatewayServer
import Testing

/// Hostile input for the reader: whatever stands in a file, the answer comes at once and is a verdict.
/// `GATEWAY_FUZZ_ROUNDS` makes it longer.
@Suite("Damaged files")
struct ConfigFuzzTests {
    private static let rounds = ProcessInfo.processInfo.environment["GATEWAY_FUZZ_ROUNDS"].flatMap { Int($0) } ?? 400

    /// xorshift64*: the same sequence everywhere.
    private struct Generator: RandomNumberGenerator {
        var state: UInt64

        mutating func next() -> UInt64 {
            self.state ^= self.state >> 12
            self.state ^= self.state << 25
            self.state ^= self.state >> 27
            return self.state &* 2_685_821_657_736_338_717
        }
    }

    private static let tokens: [String] = [
        "${", "}", "${A}", "${file:/x}", "${A:-", "&a ", "*a", "<<: *a", "!!", "!!binary ", "? ", "- ", ": ", "|", ">-",
        "%", "---", "...", "\t", "\u{FEFF}", "\0", "\u{202E}", "[", "]", "{", "}", "\"", "'", "\\", "0x", "1e999",
        "-.inf", "\r", "\n\n", "\u{85}", "é", "😀", "null", "~", "[[[[[[[[", "#",
    ]

    @Test("get a verdict, whatever they hold", arguments: 1...16)
    func damaged(_ seed: Int) throws {
        var generator = Generator(state: UInt64(seed) &* 0x9E37_79B9_7F4A_7C15)
        let cases = ConfigCase.all
        for _ in 0..<Self.rounds {
            var bytes = Array(cases.randomElement(using: &generator)!.text.utf8)
            for _ in 0..<Int.random(in: 1...6, using: &generator) {
                let place = bytes.isEmpty ? 0 : Int.random(in: 0..<bytes.count, using: &generator)
                switch Int.random(in: 0..<5, using: &generator) {
                case 0 where !bytes.isEmpty: bytes[place] = UInt8.random(in: 0...255, using: &generator)
                case 1: bytes.insert(contentsOf: Self.tokens.randomElement(using: &generator)!.utf8, at: place)
                case 2 where !bytes.isEmpty: bytes.removeSubrange(place..<min(bytes.count, place + 20))
                case 3: bytes.insert(contentsOf: bytes[place..<min(bytes.count, place + 60)], at: place)
                default: bytes = Array(bytes.prefix(place + 1))
                }
            }
            try self.check(Data(bytes))
        }
    }

    @Test("that unfold without end are refused in time")
    func bombs() throws {
        let laughs = (1...30).map {
            "a\($0): &x\($0) [\(Array(repeating: "*x\($0 - 1)", count: 9).joined(separator: ","))]"
        }
        try self.check(Data(("a0: &x0 [1]\n" + laughs.joined(separator: "\n")).utf8))
        try self.check(Data(String(repeating: "[", count: 100_000).utf8))
        try self.check(Data(String(repeating: "{a: ", count: 20_000).utf8))
        try self.check(Data(("a: " + String(repeating: "${", count: 200_000)).utf8))
        try self.check(Data((0..<20_000).map { "k\($0): v" }.joined(separator: "\n").utf8))
        try self.check(Data(String(repeating: "- - ", count: 10_000).utf8))
    }

    private func check(_ data: Data) throws {
        let begin = ContinuousClock.now
        let file = ConfigurationFile(
            path: "f", text: data, .running(["A": "b", "GATEWAY_POSTGRES_URL": "postgres://x/y"], allowsLoopback: true))
        // A hang is what this looks for; a busy machine may take a while.
        #expect(begin.duration(to: .now) < .seconds(10), "\(String(decoding: data.prefix(300), as: UTF8.self))")
        #expect((file.settings == nil) == !file.report.errors.isEmpty)
        for fault in file.report.sorted {
            #expect(!fault.line(inFile: "f").contains("\n"), "a fault of several lines")
        }
        // What is accepted says the same after a round trip through another notation.
        guard let root = file.root, file.settings != nil else { return }
        let text = root.json.text()
        let again = ConfigurationFile(
            path: "f", text: Data(text.replacing("${", with: "$").utf8), .running([:], allowsLoopback: true))
        if !text.contains("${") {
            #expect(again.root?.json.text() == text)
            #expect(again.settings != nil, "\(again.report.errors.map { $0.line(inFile: "f") })")
        }
    }
}
