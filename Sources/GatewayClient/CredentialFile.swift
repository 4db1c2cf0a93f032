// SPDX-License-Identifier: Apache-2.0

internal import Foundation
internal import GatewayCore

#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Musl)
    internal import Musl
#else
    internal import Darwin
#endif

/// The file that holds the credential: readable by its owner only, replaced in one step, and guarded by a lock, so that
/// of several processes refreshing at once none overwrites a newer token with an older one.
package struct CredentialFile: Sendable {
    private let folder: String

    package var path: String { self.folder + "/credentials.json" }

    package init(folder: String) {
        self.folder = folder
    }

    /// `$CLAUDE_GATEWAY_HOME`, else `$XDG_CONFIG_HOME/claude-gateway`, else `~/.config/claude-gateway`.
    package init(environment: [String: String]) {
        func set(_ name: String) -> String? { environment[name].flatMap { $0.isEmpty ? nil : $0 } }
        let config = set("XDG_CONFIG_HOME") ?? (set("HOME") ?? NSHomeDirectory()) + "/.config"
        self.init(folder: set("CLAUDE_GATEWAY_HOME") ?? config + "/claude-gateway")
    }

    /// The credential; `nil` when nobody is signed in.
    package func read() throws -> Credential? {
        guard let data = FileManager.default.contents(atPath: self.path) else { return nil }
        guard let json = try? JSONValue(parsing: data), let credential = Credential(json) else {
            throw ClientFailure.notSignedIn("\(self.path) is damaged. Run claude login to sign in again.")
        }
        return credential
    }

    package func write(_ credential: Credential) throws {
        try self.makeFolder()
        let temporary = self.path + ".\(getpid()).\(UInt32.random(in: .min ... .max))"
        let descriptor = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw self.failure("cannot write") }
        let bytes = Array((credential.json.prettyText() + "\n").utf8)
        let written = bytes.withUnsafeBytes { Foundation.write(descriptor, $0.baseAddress!, $0.count) }
        let isSafe = written == bytes.count && fsync(descriptor) == 0
        close(descriptor)
        guard isSafe, rename(temporary, self.path) == 0 else {
            let failure = self.failure("cannot write")
            unlink(temporary)
            throw failure
        }
    }

    /// - Returns: Whether there was a credential.
    @discardableResult
    package func remove() throws -> Bool {
        if unlink(self.path) == 0 { return true }
        if errno == ENOENT { return false }
        throw self.failure("cannot remove")
    }

    /// Runs `body` while no other process does. Waits for the lock at most `limit`.
    package func withLock<Value>(limit: Duration = .seconds(30), _ body: () async throws -> Value) async throws -> Value
    {
        try self.makeFolder()
        let descriptor = open(self.path + ".lock", O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw self.failure("cannot lock") }
        defer { close(descriptor) }
        let deadline = ContinuousClock.now + limit
        while flock(descriptor, LOCK_EX | LOCK_NB) != 0 {
            guard errno == EWOULDBLOCK || errno == EINTR else { throw self.failure("cannot lock") }
            guard ContinuousClock.now < deadline else {
                throw ClientFailure.unreachable("another process holds \(self.path).lock for too long. Try again.")
            }
            try await Task.sleep(for: .milliseconds(40))
        }
        defer { flock(descriptor, LOCK_UN) }
        return try await body()
    }

    private func makeFolder() throws {
        guard !FileManager.default.fileExists(atPath: self.folder) else { return }
        do {
            try FileManager.default.createDirectory(
                atPath: self.folder, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
        } catch {
            throw ClientFailure.badRequest(
                "cannot make the folder \(self.folder). Check its permissions, or set CLAUDE_GATEWAY_HOME.")
        }
    }

    private func failure(_ what: String) -> ClientFailure {
        .badRequest(
            "\(what) \(self.path): \(String(cString: strerror(errno))). Check its permissions, or set CLAUDE_GATEWAY_HOME."
        )
    }
}
