// SPDX-License-Identifier: Apache-2.0

import CommandLineSyntax
import Foundation
import GatewayCore
import Synchronization
import Testing

@testable import ClaudeCommands

/// Runs the program with captured output.
func runProgram(_ arguments: [String], environment: [String: String] = [:]) async -> (
    code: ExitCode, out: String, err: String
) {
    final class Output: Sendable {
        let text = Mutex("")
    }
    let (out, err) = (Output(), Output())
    let terminal = Terminal(
        environment: environment, isInteractive: false, out: { text in out.text.withLock { $0 += text } },
        err: { text in err.text.withLock { $0 += text } })
    let code = await CommandTable.main(arguments, in: terminal)
    return (code, out.text.withLock { $0 }, err.text.withLock { $0 })
}

@Suite("The program")
struct CommandTests {
    private static let checkout = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
        .deletingLastPathComponent().deletingLastPathComponent()

    @Test(
        "has its committed documents up to date; scripts/regenerate writes them",
        arguments: GeneratedFiles.all.map(\.path))
    func generatedFiles(_ path: String) throws {
        let committed = try String(contentsOf: Self.checkout.appendingPathComponent(path), encoding: .utf8)
        #expect(
            GeneratedFiles.all.first { $0.path == path }?.text == committed, "\(path) differs; run scripts/regenerate")
    }

    @Test("understands every command of its own table")
    func helpOfEverything() async {
        func walk(_ command: CommandSpec, _ path: [String]) async {
            let result = await runProgram(path + ["--help"])
            #expect(result.code == .success)
            #expect(result.out.contains("Usage: claude"))
            #expect(result.out.split(separator: "\n").allSatisfy { $0.count <= 80 }, "\(path)")
            for sub in command.subcommands { await walk(sub, path + [sub.name]) }
        }
        await walk(CommandTable.root, [])
    }

    @Test(
        "says what to do instead",
        arguments: [
            (["gatewya"], 2, "Did you mean gateway?"), (["gateway"], 2, "claude gateway --dev"),
            (["gateway", "--dev", "--config", "x"], 2, "--dev needs no configuration"),
            (["gateway", "--config", "/nope.yaml", "--port", "1"], 2, "listen.port"),
            (["gateway", "--dev", "--port", "x"], 2, "0 to 65535"),
            (["completion", "tcsh"], 2, "bash, zsh or fish"), (["config"], 2, ""), (["-p", " "], 2, "needs a text"),
            (["whoami"], 4, "claude login"),
            (["token"], 4, "claude login"), (["login", "https://192.0.2.1"], 2, "public address"),
            (["login", "--fingerprint", "12", "http://127.0.0.1:1"], 2, "64 digits"),
        ])
    func usage(_ arguments: [String], _ code: Int32, _ text: String) async {
        let result = await runProgram(
            arguments, environment: ["CLAUDE_GATEWAY_HOME": "/nonexistent-\(RandomToken.make())"])
        #expect(result.code.rawValue == code, "\(result.err)")
        #expect(text.isEmpty || result.err.contains(text), "\(result.err)")
    }

    @Test("validates files without network or secrets")
    func validates() async throws {
        let folder = NSTemporaryDirectory() + "/validate-\(RandomToken.make())"
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let good = Self.checkout.appendingPathComponent("gateway.yaml.sample").path
        let fine = await runProgram(["config", "validate", good])
        #expect(fine.code == .success, "\(fine.out)")
        #expect(fine.out.isEmpty)
        let strict = await runProgram(["config", "validate", "--strict", good])
        #expect(strict.code == .configuration)
        #expect(strict.out.contains("GATEWAY_JWT_SECRET is not defined"))

        let bad = folder + "/bad.yaml"
        try Data("listen: {prot: 1}\nupstreams: []\noidc: {issuer: \"http://169.254.169.254\"}\n".utf8).write(
            to: URL(fileURLWithPath: bad))
        let result = await runProgram(["config", "validate", bad])
        #expect(result.code == .configuration)
        for text in [
            "\(bad):1:10: listen.prot: is not a known key; did you mean port?", "upstreams: the list is empty",
            "oidc.client_id: is required.",
            "oidc.issuer: must not point at a link-local address", "session: is required.", "store: is required.",
        ] { #expect(result.out.contains(text), "\(text) in \(result.out)") }
        let json = await runProgram(["config", "validate", "--json", bad])
        #expect(try JSONValue(parsing: json.out)[0]?["severity"] == "error")
        #expect(await runProgram(["config", "validate", folder + "/none.yaml"]).code == .configuration)
    }

    @Test("draws QR codes of the standard's form", arguments: [1, 17, 33, 60, 110, 230])
    func qrCodes(_ length: Int) throws {
        let code = try #require(QRCode(String(repeating: "a", count: length)))
        #expect((code.size - 17) % 4 == 0)
        for (row, column) in [(0, 0), (0, code.size - 7), (code.size - 7, 0)] {
            for y in 0..<7 {
                for x in 0..<7 {
                    let distance = max(abs(y - 3), abs(x - 3))
                    #expect(code.modules[row + y][column + x] == (distance != 2))
                }
            }
        }
        for index in 8..<code.size - 8 { #expect(code.modules[6][index] == (index % 2 == 0)) }
        #expect(QRCode(String(repeating: "a", count: 300)) == nil)
        #expect(code.text(usesColor: false).split(separator: "\n").count == (code.size + 5) / 2)
    }
}

extension JSONValue {
    subscript(_ index: Int) -> JSONValue? {
        self.array.flatMap { $0.indices.contains(index) ? $0[index] : nil }
    }
}
