// SPDX-License-Identifier: Apache-2.0

import Foundation
import GatewayConfig
import GatewayCore
import GatewayServer
import TestSupport
import Testing

/// The path of check-jsonschema.
private let schemaValidator = ProcessInfo.processInfo.environment["GATEWAY_TEST_CHECK_JSONSCHEMA"].flatMap {
    $0.isEmpty ? nil : $0
}

/// The schema against an independent validator, which scripts/test installs: check-jsonschema, from PyPI.
@Suite(
    "The JSON Schema",
    .enabled(if: schemaValidator != nil, "scripts/test installs check-jsonschema"))
struct ConfigSchemaTests {
    /// Values that the gateway reads as numbers, as existing files do, and that a schema need not encourage.
    private static let generous: Set<String> = [
        "port null", "port ''", "port bool", "clock_skew True", "ttl_hours True", "ttl_hours ''", "ttl_hours None",
    ]

    @Test("is a schema, and gives the verdicts that a schema can give")
    func verdicts() async throws {
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent("schema-" + RandomToken.make())
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        let schema = folder.appendingPathComponent("gateway.schema.json")
        try Data(GatewaySettings.schema.text().utf8).write(to: schema)
        let (isSchema, complaint) = try await self.run(["--check-metaschema", schema.path])
        #expect(isSchema, "\(complaint)")

        var names: [String: ConfigCase] = [:]
        // What the reader itself refuses, or reads in a way of its own, never reaches a schema.
        for (index, item) in ConfigCase.all.enumerated() where item.text.hasPrefix("{") && !item.text.contains("${") {
            let path = folder.appendingPathComponent("case-\(index).json").path
            try Data(item.text.utf8).write(to: URL(fileURLWithPath: path))
            names[path] = item
        }
        let paths = names.keys.sorted()
        let (_, output) = try await self.run(["--schemafile", schema.path, "--output-format", "json"] + paths)
        let answer = try JSONValue(parsing: output)
        let refused = Set((answer["errors"]?.array ?? []).compactMap { $0["filename"]?.string })
        #expect(!refused.isEmpty)
        for (path, item) in names {
            let file = try item.read(in: folder)
            let isStructural = file.report.errors.contains(where: \.isStructural)
            if refused.contains(path) {
                #expect(
                    file.settings == nil || Self.generous.contains(item.name),
                    "\(item.name): only the schema refuses it")
            } else {
                #expect(!isStructural, "\(item.name): the schema misses \(file.report.errors.map(\.message))")
            }
        }
    }

    private func run(_ arguments: [String]) async throws -> (Bool, String) {
        try await offPool {
            let process = Process()
            process.executableURL = URL(fileURLWithPath: schemaValidator!)
            process.arguments = arguments
            let pipe = Pipe()
            process.standardOutput = pipe
            process.standardError = FileHandle.nullDevice
            try process.run()
            let out = pipe.fileHandleForReading.readDataToEndOfFile()
            process.waitUntilExit()
            return (process.terminationStatus == 0, String(decoding: out, as: UTF8.self))
        }
    }
}
