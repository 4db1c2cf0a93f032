// SPDX-License-Identifier: Apache-2.0

internal import Foundation
package import GatewayCore
internal import GatewayHTTPClient
internal import GatewayIdentity

/// The built program as a process of its own, for what only a process can show: being killed.
package final class GatewayProcess: Sendable {
    package struct Failure: Error, CustomStringConvertible {
        package let description: String
    }

    package let url: String
    private let process: Process
    private static let setpriv = "/usr/bin/setpriv"
    private static let prlimit = "/usr/bin/prlimit"
    private let folder: URL

    /// The `claude` that was built along with the tests.
    private static var binary: URL {
        if let path = ProcessInfo.processInfo.environment["GATEWAY_TEST_BINARY"], !path.isEmpty {
            return URL(fileURLWithPath: path)
        }
        let arguments = CommandLine.arguments
        if let flag = arguments.firstIndex(of: "--test-bundle-path"), flag + 1 < arguments.count {
            return URL(fileURLWithPath: arguments[flag + 1]).deletingLastPathComponent().appendingPathComponent(
                "claude")
        }
        return URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent(
            "../../.build/debug/claude")
    }

    /// Starts a gateway and waits until it serves.
    ///
    /// - Parameters:
    ///   - configuration: `gateway.yaml` without `listen`, as JSON, which YAML contains.
    ///   - openFiles: How many descriptors it may have, if not as many as usual.
    package init(port: Int, openFiles: Int? = nil, _ configuration: JSONObject) async throws {
        self.url = "http://127.0.0.1:\(port)"
        self.folder = FileManager.default.temporaryDirectory.appendingPathComponent("gateway-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: self.folder, withIntermediateDirectories: true)
        var configuration = configuration
        configuration["listen"] = [
            "host": "127.0.0.1", "port": .integer(Int64(port)), "public_url": .string(self.url),
        ]
        let file = self.folder.appendingPathComponent("gateway.yaml")
        try Data(JSONValue.object(configuration).bytes()).write(to: file)
        let log = self.folder.appendingPathComponent("log")
        _ = FileManager.default.createFile(atPath: log.path, contents: nil)
        self.process = Process()
        var command = [Self.binary.path, "gateway", "--config", file.path]
        if getuid() == 0, FileManager.default.isExecutableFile(atPath: Self.setpriv) {
            // As containers run it: some calls succeed only with a capability that tests by root would have.
            command = [Self.setpriv, "--bounding-set=-all", "--inh-caps=-all", "--no-new-privs"] + command
        }
        if let openFiles { command = [Self.prlimit, "--nofile=\(openFiles):\(openFiles)"] + command }
        self.process.executableURL = URL(fileURLWithPath: command[0])
        self.process.arguments = Array(command.dropFirst())
        self.process.environment = [
            "CLAUDE_GATEWAY_ALLOW_LOOPBACK": "1", "HOME": self.folder.path, "PATH": "/usr/bin:/bin",
        ]
        self.process.standardOutput = FileHandle.nullDevice
        self.process.standardError = try FileHandle(forWritingTo: log)
        try self.process.run()
        let client = OutboundClient(rule: .any)
        for _ in 0..<300 {
            let answer = try? await client.send(OutboundRequest("GET", self.url + "/healthz", timeout: .seconds(2)))
            if answer?.status == 200 { return }
            guard self.process.isRunning else { break }
            try await Task.sleep(for: .milliseconds(50))
        }
        throw Failure(description: "the gateway did not start: \(self.log.suffix(2000))")
    }

    deinit {
        if self.process.isRunning { Foundation.kill(self.process.processIdentifier, SIGKILL) }
        try? FileManager.default.removeItem(at: self.folder)
    }

    package var log: String {
        (try? String(contentsOf: self.folder.appendingPathComponent("log"), encoding: .utf8)) ?? ""
    }

    /// Its resident memory.
    package var residentKilobytes: Int {
        let status = FileManager.default.contents(atPath: "/proc/\(self.process.processIdentifier)/status") ?? Data()
        let line = String(decoding: status, as: UTF8.self).split(separator: "\n").first { $0.hasPrefix("VmRSS:") }
        return line.flatMap { Int($0.filter(\.isNumber)) } ?? 0
    }

    /// What anybody on the machine can read of the process.
    package var commandLine: String {
        let path = "/proc/\(self.process.processIdentifier)/cmdline"
        return FileManager.default.contents(atPath: path).map { String(decoding: $0, as: UTF8.self) } ?? ""
    }

    /// Ends the process and waits for it.
    ///
    /// - Returns: Its exit status; `nil` when the signal killed it.
    @discardableResult
    package func end(_ signal: Int32) async throws -> Int32? {
        let process = self.process
        Foundation.kill(process.processIdentifier, signal)
        try await offPool { process.waitUntilExit() }
        return process.terminationReason == .exit ? process.terminationStatus : nil
    }

    /// The bearer that a gateway at `url` would give a developer.
    package static func bearer(_ principal: Principal, secret: String, url: String) -> String {
        SessionTokens(settings: SessionSettings(secrets: [Secret(secret)]), issuer: url).mint(for: principal, now: .now)
    }
}
