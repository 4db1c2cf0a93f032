// SPDX-License-Identifier: Apache-2.0

internal import GatewayConfig
internal import GatewayCore

/// How faults are written, for people and for the tools that show them.
enum FaultFormat: String, CaseIterable {
    case text
    case json
    /// SARIF 2.1.0, <https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html>.
    case sarif
    /// Workflow commands of GitHub Actions,
    /// <https://docs.github.com/actions/reference/workflows-and-actions/workflow-commands>.
    case github

    /// - Returns: Whole lines, or nothing.
    func render(_ faults: [(file: String, fault: ConfigFault)]) -> String {
        switch self {
        case .text: faults.map { $0.fault.line(inFile: $0.file) + "\n" }.joined()
        case .json: JSONValue.array(faults.map { Self.row($0.fault, $0.file) }).text() + "\n"
        case .sarif: Self.sarif(faults).text() + "\n"
        case .github: faults.map { Self.command($0.fault, $0.file) + "\n" }.joined()
        }
    }

    private static func row(_ fault: ConfigFault, _ file: String) -> JSONValue {
        [
            "file": .string(file), "line": .integer(fault.position.line), "column": .integer(fault.position.column),
            "key": .string(fault.path.description), "severity": .string(fault.severity.rawValue),
            "message": .string(fault.message),
        ]
    }

    private static func sarif(_ faults: [(file: String, fault: ConfigFault)]) -> JSONValue {
        let results = faults.map { file, fault -> JSONValue in
            [
                "ruleId": .string(self.rule(fault)), "level": .string(fault.severity.rawValue),
                "message": ["text": .string(self.sentence(fault))],
                "locations": [
                    [
                        "physicalLocation": [
                            "artifactLocation": ["uri": .string(file)],
                            "region": [
                                "startLine": .integer(fault.position.line),
                                "startColumn": .integer(fault.position.column),
                            ],
                        ]
                    ]
                ],
            ]
        }
        let rules = Set(faults.map { self.rule($0.fault) }).sorted().map { id -> JSONValue in ["id": .string(id)] }
        return [
            "$schema": "https://json.schemastore.org/sarif-2.1.0.json", "version": "2.1.0",
            "runs": [
                [
                    "tool": [
                        "driver": [
                            "name": "claude config validate", "version": .string(GatewayVersion.current),
                            "rules": .array(rules),
                        ]
                    ],
                    "results": .array(results),
                ]
            ],
        ]
    }

    /// The key without indexes: what a fault is about, wherever it stands.
    private static func rule(_ fault: ConfigFault) -> String {
        var isInside = false
        let key = fault.path.description.filter { character in
            if character == "[" { isInside = true }
            defer { if character == "]" { isInside = false } }
            return !isInside && character != "]"
        }
        return key.isEmpty ? "document" : key
    }

    private static func sentence(_ fault: ConfigFault) -> String {
        fault.path.description.isEmpty ? fault.message : "\(fault.path): \(fault.message)"
    }

    private static func command(_ fault: ConfigFault, _ file: String) -> String {
        func data(_ text: String) -> String {
            text.replacing("%", with: "%25").replacing("\r", with: "%0D").replacing("\n", with: "%0A")
        }
        func property(_ text: String) -> String {
            data(text).replacing(":", with: "%3A").replacing(",", with: "%2C")
        }
        return
            "::\(fault.severity.rawValue) file=\(property(file)),line=\(fault.position.line),col=\(fault.position.column),title=\(property(self.rule(fault)))::\(data(self.sentence(fault)))"
    }
}
