// SPDX-License-Identifier: Apache-2.0

import Foundation
import GatewayConfig
import GatewayCore
import GatewayServer
import Testing

/// `Tests/Fixtures/config-cases.json`: changes to a good file, each with the measured verdict of the existing gateway.
struct ConfigCase: Sendable, CustomTestStringConvertible {
    let name: String
    let text: String
    let environment: [String: String]
    let allowsLoopback: Bool
    let files: [(name: String, content: String)]
    /// `starts`, `refused`, or `refused-late` where only the network or the database tells.
    let reference: String
    /// The keys that a refusal must name.
    let keys: [String]

    var testDescription: String { self.name }

    static let fixtures = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .appendingPathComponent("Fixtures")

    static func json(_ name: String) -> JSONValue {
        let data = try! Data(contentsOf: self.fixtures.appendingPathComponent(name))
        return try! JSONValue(parsing: data)
    }

    static let all: [ConfigCase] = {
        let document = Self.json("config-cases.json")
        let base = document["base"]!
        return document["cases"]!.array!.map { ConfigCase($0, base: base) }
    }()

    private init(_ row: JSONValue, base: JSONValue) {
        self.name = row["name"]!.string!
        self.reference = row["reference"]!.string!
        self.keys = (row["keys"]?.array ?? []).compactMap(\.string)
        var environment = ["GATEWAY_POSTGRES_URL": "postgres://gw@127.0.0.1:5432/gateway"]
        var allowsLoopback = true
        for (name, value) in row["env"]?.object?.members ?? [] {
            if name == "CLAUDE_GATEWAY_ALLOW_LOOPBACK" {
                allowsLoopback = ["1", "true"].contains(value.string ?? "")
            } else {
                environment[name] = value.string
            }
        }
        self.environment = environment
        self.allowsLoopback = allowsLoopback
        self.files = (row["files"]?.object?.members ?? []).map { ($0.0, $0.1.string ?? "") }
        if let text = row["text"]?.string {
            self.text = text.replacing("@BASE@", with: Self.block(base))
        } else {
            var document = base
            for (path, value) in row["patch"]?.object?.members ?? [] {
                document = Self.set(
                    path.split(separator: ".", omittingEmptySubsequences: false).map(String.init)[...], value,
                    in: document)
            }
            self.text = document.text()
        }
    }

    private static func set(_ path: ArraySlice<String>, _ value: JSONValue, in node: JSONValue) -> JSONValue {
        guard let key = path.first else { return value }
        let isDeleted = path.count == 1 && value["$delete"] != nil
        if let index = Int(key), case .array(var items) = node {
            if isDeleted {
                items.remove(at: index)
            } else if index < items.count {
                items[index] = self.set(path.dropFirst(), value, in: items[index])
            } else {
                items.append(self.set(path.dropFirst(), value, in: [:]))
            }
            return .array(items)
        }
        if Int(key) != nil, node == .object([:]) { return .array([self.set(path.dropFirst(), value, in: [:])]) }
        var object = node.object ?? [:]
        object[key] = isDeleted ? nil : self.set(path.dropFirst(), value, in: object[key] ?? [:])
        return .object(object)
    }

    /// The base as YAML whose top level is block style.
    private static func block(_ base: JSONValue) -> String {
        base.object!.members.map { "\($0.0): \($0.1.text())" }.joined(separator: "\n")
    }

    /// What this gateway says.
    func read(in folder: URL) throws -> ConfigurationFile {
        for file in self.files {
            try Data(file.content.utf8).write(to: folder.appendingPathComponent(file.name))
        }
        let text = self.text.replacing("@DIR@", with: folder.path)
        let environment = self.environment.mapValues { $0.replacing("@DIR@", with: folder.path) }
        return ConfigurationFile(
            path: "gateway.yaml", text: Data(text.utf8),
            .running(environment, allowsLoopback: self.allowsLoopback))
    }
}

@Suite("Existing files")
struct ConfigCasesTests {
    /// Cases in which this gateway deliberately says something else, with the reason. docs/compatibility.md explains
    /// them to operators.
    private static let differences: [String: JSONValue] = {
        var all: [String: JSONValue] = [:]
        for row in ConfigCase.json("config-differences.json").array ?? [] {
            for name in row["cases"]?.array ?? [] { all[name.string ?? ""] = row }
        }
        return all
    }()

    @Test("get the verdict that they have had, but for the differences that are written down")
    func verdicts() throws {
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent("cases-" + RandomToken.make())
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        var unused = Set(Self.differences.keys)
        for item in ConfigCase.all {
            let file = try item.read(in: folder)
            let verdict = file.settings == nil ? "refused" : "starts"
            let said = file.report.errors.map { $0.line(inFile: "f") }.joined(separator: "\n")
            if let difference = Self.differences[item.name] {
                unused.remove(item.name)
                #expect(verdict == difference["verdict"]?.string, "\(item.name), a listed difference\n\(said)")
                #expect(item.reference == "refused-late" || verdict != item.reference, "\(item.name) is no difference")
                continue
            }
            if item.reference != "refused-late" {
                #expect(verdict == item.reference, "\(item.name)\n\(item.text.suffix(400))\n\(said)")
            }
            guard verdict == "refused", item.reference == "refused" else { continue }
            let places = file.report.errors.map { Self.dotted($0.path.description) }
            for key in item.keys where !key.isEmpty {
                #expect(
                    places.contains { $0 == key || $0.hasPrefix(key + ".") || key.hasPrefix($0 + ".") },
                    "\(item.name) does not name \(key):\n\(said)")
            }
        }
        #expect(unused.isEmpty, "listed as differences, but there are no such cases: \(unused.sorted())")
    }

    /// `upstreams[0].auth` as `upstreams.0.auth`.
    private static func dotted(_ path: String) -> String {
        path.replacing("[", with: ".").replacing("]", with: "")
    }

    @Test("with a difference are explained to operators")
    func documentation() throws {
        let page = try String(
            contentsOf: ConfigCase.fixtures.appendingPathComponent("../../docs/compatibility.md"), encoding: .utf8)
        for row in ConfigCase.json("config-differences.json").array ?? [] {
            let reason = try #require(row["reason"]?.string)
            #expect(page.contains(reason), "docs/compatibility.md does not have: \(reason)")
        }
    }
}
