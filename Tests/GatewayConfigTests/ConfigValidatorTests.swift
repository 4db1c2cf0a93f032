// SPDX-License-Identifier: Apache-2.0

import GatewayConfig
import Testing

@Suite("Configuration faults")
struct ConfigValidatorTests {
    private static let section = ConfigSection(
        [
            ConfigKey("name", .string(minimum: 1), required: true, "Its name."),
            ConfigKey("count", .integer(above: 0, maximum: 9), "How many."),
            ConfigKey("on", .boolean, "Whether."),
            ConfigKey("mode", .choice(["fast", "slow"]), "How."),
            ConfigKey(
                "secret", .either([.string(minimum: 8), .list(of: .string(minimum: 8), minimum: 1)]), "A secret."),
            ConfigKey(
                "items", .list(of: .section(ConfigSection([ConfigKey("id", .string(), required: true, "An id.")]))),
                "Items."),
        ],
        rules: [
            { node, report in
                if node["on"]?.boolean == true, node["count"] == nil {
                    report.error(node, "needs count when on is true.")
                }
            }
        ])

    private func faults(_ text: String) -> [String] {
        var report = ConfigReport()
        if let node = YAMLReader.read(text, expanding: .resolving(["S": "short"]), into: &report) {
            ConfigValidator.validate(node, as: Self.section, into: &report)
        }
        return report.sorted.map { $0.line(inFile: "f") }
    }

    @Test("are all reported, in file order, with their remedy")
    func areAllReported() {
        let faults = self.faults("nmae: x\ncount: 10\non: \"true\"\nmode: quick\nitems:\n  - {}\n  - id: 5\nother: 1\n")
        #expect(
            faults == [
                "f:1:1: nmae: is not a known key; did you mean name?",
                "f:1:1: name: is required. Its name.",
                "f:2:8: count: must be at most 9.",
                "f:3:5: on: expected true or false, found a string; write true or false without quotes.",
                "f:4:7: mode: is not a known value; write one of fast, slow.",
                "f:6:5: items[0].id: is required. An id.",
                "f:7:9: items[1].id: expected text, found a number; put it in quotes.",
                "f:8:1: other: is not a known key; known keys here are name, count, on, mode, secret, items.",
            ])
    }

    @Test("never show a secret")
    func neverShowASecret() {
        let faults = self.faults("name: n\nsecret: ${S}\n")
        #expect(faults.count == 1)
        #expect(faults[0].contains("check the variable or file it comes from"))
        #expect(!faults[0].contains("short"))
    }

    @Test("of a missing variable or file are told once", arguments: ["${NO}", "${file:/nope}", "${file:nope}"])
    func missingSecretsAreToldOnce(_ text: String) {
        let faults = self.faults("name: n\nsecret: \"\(text)\"\n")
        #expect(faults.count == 1, "\(faults)")
    }

    @Test("of rules over several keys come beside those of single keys")
    func rulesComeToo() {
        #expect(self.faults("name: n\non: true\n") == ["f:1:1: needs count when on is true."])
        #expect(self.faults("name: 5\non: true\n").count == 2)
    }

    @Test(
        "do not count numbers that JavaScript would read",
        arguments: ["5", "'5'", "' 5 '", "'0x5'", "5.0", "'5e0'", "true"])
    func acceptsNumericText(_ text: String) {
        #expect(self.faults("name: n\ncount: \(text)\n").isEmpty)
    }

    @Test("count numbers that are none", arguments: ["32MiB", "1_000", "5.5", "0", "null", "''", "[]", "-1", ".inf"])
    func refusesBadNumbers(_ text: String) {
        #expect(self.faults("name: n\ncount: \(text)\n").count == 1)
    }
}
