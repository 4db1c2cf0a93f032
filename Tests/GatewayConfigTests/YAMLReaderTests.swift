// SPDX-License-Identifier: Apache-2.0

import Foundation
import GatewayConfig
import GatewayCore
import Testing

@Suite("Reading YAML")
struct YAMLReaderTests {
    private func read(_ text: String, _ variables: [String: String]? = [:]) -> (ConfigNode?, [String]) {
        var report = ConfigReport()
        let expansion = variables.map { SecretExpansion.resolving($0) } ?? .skipping
        let node = YAMLReader.read(text, expanding: expansion, into: &report)
        return (node, report.sorted.map { $0.line(inFile: "f") })
    }

    @Test(
        "resolves scalars as YAML 1.2 does",
        arguments: [
            ("true", "true"), ("True", "true"), ("yes", "\"yes\""), ("~", "null"), ("", "null"), ("010", "10"),
            ("0o10", "8"),
            ("0x10", "16"), ("+5", "5"), ("1e3", "1000"), ("'5'", "\"5\""), ("2026-11-23", "\"2026-11-23\""),
            ("1_000", "\"1_000\""),
            ("1.0", "1"), ("-", "[null]"), ("!!str 5", "\"5\""), ("1.2.3", "\"1.2.3\""), ("-.5", "-0.5"),
        ])
    func resolvesScalars(_ text: String, _ json: String) throws {
        let (node, faults) = self.read("k: \(text == "-" ? "\n  -" : text)\n")
        #expect(faults.isEmpty)
        #expect(try #require(node?["k"]).json.text() == json)
    }

    @Test("knows where everything stands")
    func knowsPositions() throws {
        let (node, _) = self.read("a:\n  b:\n    - x\n    -   y: 1\n")
        let item = try #require(node?["a"]?["b"]?.list.last?["y"])
        #expect(item.position == ConfigPosition(line: 4, column: 12))
        #expect(item.path.description == "a.b[1].y")
    }

    @Test("merges anchors, the own keys winning")
    func mergesAnchors() {
        let (node, faults) = self.read("a: &x {p: 1, q: 2}\nb:\n  <<: *x\n  q: 3\n")
        #expect(faults.isEmpty)
        #expect(node?["b"]?.json.text() == #"{"p":1,"q":3}"#)
    }

    @Test(
        "says where the YAML is broken",
        arguments: [
            ("a: [1\nb: 2", "f:2:"), ("a:\n\tb: 1", "f:2:"), ("a: *nope", "f:1:"),
            ("---\na: 1\n---\nb: 2", "f:1:1: the file holds 2 documents"),
            ("a: 1\nb: 2\na: 3", "a: the key is written more than once"),
        ])
    func locatesBrokenYAML(_ text: String, _ start: String) throws {
        let (_, faults) = self.read(text)
        #expect(faults.count == 1)
        #expect(try #require(faults.first).contains(start), "\(faults)")
    }

    @Test("replaces variables and reports every missing one")
    func expandsVariables() {
        let (node, faults) = self.read("a: x${V}y$${V}\nb: ${NO}\nc: [\"${ALSO_NO}\"]\n", ["V": "1${W}"])
        #expect(node?["a"]?.string == "x1${W}y$1${W}")
        #expect(faults.map { $0.prefix(7) } == ["f:2:4: ", "f:3:5: "])
        #expect(faults[0].contains("NO is not defined"))
    }

    @Test(
        "warns about what looks like a variable and is none",
        arguments: ["${V:+x}", "${ V }", "${V-x}", "${}", "a ${V"])
    func warnsAboutLookalikes(_ text: String) {
        let (node, faults) = self.read("a: \"\(text)\"\n", ["V": "1"])
        #expect(node?["a"]?.string == text)
        #expect(faults.count == 1)
        #expect(faults.first?.contains("warning") == true)
    }

    @Test("gives a default where a variable is missing or empty, and files anywhere in a value")
    func expandsDefaultsAndFiles() throws {
        let path = FileManager.default.temporaryDirectory.appendingPathComponent(RandomToken.make()).path
        try Data("\u{FEFF} from ${V} file\n".utf8).write(to: URL(fileURLWithPath: path))
        defer { try? FileManager.default.removeItem(atPath: path) }
        let (node, faults) = self.read(
            "a: ${NO:-x y}\nb: ${EMPTY:-z}\nc: ${V:-z}\nd: <${file:\(path)}>${NO:-}\n", ["V": "1", "EMPTY": ""])
        #expect(faults.isEmpty)
        #expect(["a", "b", "c", "d"].map { node?[$0]?.string } == ["x y", "z", "1", "<from ${V} file>"])
    }

    @Test("leaves secrets alone when asked to")
    func skipsSecrets() {
        let (node, faults) = self.read("a: ${V}\nb: ${file:/nope}\n", nil)
        #expect(faults.isEmpty)
        #expect(node?["a"]?.isUnresolved == true)
        #expect(node?["b"]?.isUnresolved == true)
    }

    @Test("refuses a file that unfolds without end")
    func refusesBombs() {
        var text = "a0: &a0 [x, x, x, x, x, x, x, x]\n"
        for level in 1..<9 {
            let items = Array(repeating: "*a\(level - 1)", count: 8).joined(separator: ", ")
            text += "a\(level): &a\(level) [\(items)]\n"
        }
        let (node, faults) = self.read(text)
        #expect(node == nil)
        #expect(faults.count == 1)
    }

    @Test("never crashes", arguments: 0..<400)
    func neverCrashes(_ seed: Int) {
        var bytes = Array(
            "listen: {host: 127.0.0.1, port: 1}\noidc:\n  issuer: \"https://x\"\n  scopes: [openid, a]\nx: &a ${V}\ny: *a\n"
                .utf8)
        var state = UInt64(seed) &* 6_364_136_223_846_793_005 &+ 1
        for _ in 0..<6 {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            bytes[Int(state >> 33) % bytes.count] = UInt8(truncatingIfNeeded: state >> 20)
        }
        _ = self.read(String(decoding: bytes, as: UTF8.self))
    }
}
