// SPDX-License-Identifier: Apache-2.0

import Foundation
import GatewayClient
import GatewayCore
import TestSupport
import Testing

@Suite("The stored credential")
struct CredentialTests {
    private func withFile(_ body: (CredentialFile) async throws -> Void) async throws {
        let folder = NSTemporaryDirectory() + "/credential-\(RandomToken.make())"
        defer { try? FileManager.default.removeItem(atPath: folder) }
        try await body(CredentialFile(folder: folder))
    }

    private func credential(_ token: String, life: Double = 3600) -> Credential {
        Credential(
            url: "https://gw", accessToken: Secret(token),
            expiresAt: Timestamp(seconds: Timestamp.now.seconds).advanced(bySeconds: life),
            refreshToken: Secret("r"), tokenEndpoint: "https://gw/oauth/token", revocationEndpoint: nil,
            fingerprint: "ab")
    }

    @Test("is read as it was written, by its owner only")
    func isPrivate() async throws {
        try await self.withFile { file in
            #expect(try file.read() == nil)
            let credential = self.credential("t")
            try file.write(credential)
            #expect(try file.read() == credential)
            let attributes = try FileManager.default.attributesOfItem(atPath: file.path)
            #expect(attributes[.posixPermissions] as? Int == 0o600)
            #expect(try file.remove())
            #expect(try !file.remove())
        }
    }

    @Test("that is damaged is said to be")
    func damaged() async throws {
        try await self.withFile { file in
            try file.write(self.credential("t"))
            try Data("{".utf8).write(to: URL(fileURLWithPath: file.path))
            #expect(throws: ClientFailure.self) { try file.read() }
        }
    }

    @Test("is changed by one at a time, and no reader ever sees half of it")
    func isLocked() async throws {
        try await self.withFile { file in
            try file.write(self.credential("0"))
            try await withThrowingTaskGroup(of: Void.self) { group in
                for _ in 0..<20 {
                    group.addTask {
                        try await file.withLock {
                            let count = Int(try file.read()?.accessToken.reveal() ?? "") ?? -1000
                            try await Task.sleep(for: .milliseconds(1))
                            try file.write(self.credential(String(count + 1)))
                        }
                    }
                    group.addTask { _ = try file.read() }
                }
                try await group.waitForAll()
            }
            #expect(try file.read()?.accessToken.reveal() == "20")
            #expect(
                try FileManager.default.contentsOfDirectory(atPath: (file.path as NSString).deletingLastPathComponent)
                    .sorted() == ["credentials.json", "credentials.json.lock"])
        }
    }

    @Test(
        "goes where the environment says",
        arguments: [
            (["CLAUDE_GATEWAY_HOME": "/x"], "/x/credentials.json"),
            (["XDG_CONFIG_HOME": "/c", "HOME": "/h"], "/c/claude-gateway/credentials.json"),
            (["HOME": "/h"], "/h/.config/claude-gateway/credentials.json"),
            (["XDG_CONFIG_HOME": "", "HOME": "/h"], "/h/.config/claude-gateway/credentials.json"),
        ])
    func location(_ environment: [String: String], _ path: String) {
        #expect(CredentialFile(environment: environment).path == path)
    }
}

@Suite("The gateway's address")
struct GatewayAddressTests {
    private func resolve(
        given: String?, environment: [String: String] = [:], known: String? = nil, managed: String? = nil
    ) throws -> String {
        let path = NSTemporaryDirectory() + "/managed-\(RandomToken.make()).json"
        defer { try? FileManager.default.removeItem(atPath: path) }
        if let managed { try Data(managed.utf8).write(to: URL(fileURLWithPath: path)) }
        return try GatewayAddress.resolve(given: given, environment: environment, known: known, settingsFile: path)
    }

    @Test("is the one given, the environment's, or the last")
    func order() throws {
        #expect(try self.resolve(given: "gw.example.com/", known: "https://old") == "https://gw.example.com")
        #expect(
            try self.resolve(
                given: nil, environment: ["CLAUDE_GATEWAY_URL": "http://127.0.0.1:1"], known: "https://old")
                == "http://127.0.0.1:1")
        #expect(try self.resolve(given: nil, known: "https://old") == "https://old")
        #expect(throws: ClientFailure.self) { try self.resolve(given: nil) }
    }

    @Test("that the machine's settings force is the only one")
    func forced() throws {
        let managed = #"{"forceLoginGatewayUrl":"https://only/"}"#
        #expect(try self.resolve(given: nil, managed: managed) == "https://only")
        #expect(try self.resolve(given: "https://only", managed: managed) == "https://only")
        #expect(throws: ClientFailure.self) { try self.resolve(given: "https://other", managed: managed) }
    }

    @Test(
        "must be private, and https unless it is this machine",
        arguments: [
            ("http://127.0.0.1:8787", true), ("https://10.0.0.1", true), ("http://10.0.0.1", false),
            ("https://192.0.2.1", false), ("https://[2001:db8::1]", false),
            ("ftp://x", false), ("nonsense", false),
        ])
    func rules(_ url: String, _ isTaken: Bool) {
        #expect(((try? GatewayAddress.check(url, environment: [:])) != nil) == isTaken)
    }
}
