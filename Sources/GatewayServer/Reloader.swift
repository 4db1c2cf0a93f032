// SPDX-License-Identifier: Apache-2.0

internal import Foundation
internal import GatewayConfig
internal import GatewayCore
internal import Logging

/// Where a running gateway's configuration comes from, to be read again.
struct ConfigurationSource: Sendable {
    let path: String
    let environment: [String: String]
    let allowsLoopback: Bool
    /// The file as it was at the start.
    let first: ConfigurationFile

    func read() -> ConfigurationFile {
        ConfigurationFile(path: self.path, .running(self.environment, allowsLoopback: self.allowsLoopback))
    }
}

/// Takes a changed configuration over while the gateway runs. A good file is served from the next request on; a bad one
/// is refused with its faults, and the last good one stays.
actor Reloader {
    private static let watchInterval = Duration.seconds(1)

    private let gateway: Gateway
    private let source: ConfigurationSource
    private let audit: any AuditSink
    private let log: Logger
    private var isReloading = false
    private var isStale = false
    /// The file of the last attempt, good or bad: what a watcher compares with.
    private var last: ConfigurationFile

    init(gateway: Gateway, source: ConfigurationSource, audit: any AuditSink, log: Logger) {
        self.gateway = gateway
        self.source = source
        self.audit = audit
        self.log = log
        self.last = source.first
    }

    /// Reads the file and serves it. Calls that come while one is under way lead to one more, not to many.
    func reload(because reason: String) async {
        if self.isReloading {
            self.isStale = true
            return
        }
        self.isReloading = true
        repeat {
            self.isStale = false
            await self.reloadOnce(reason)
        } while self.isStale
        self.isReloading = false
    }

    private func reloadOnce(_ reason: String) async {
        let file = self.source.read()
        self.last = file
        guard let settings = file.settings else {
            for fault in file.report.sorted { self.log.error("\(fault.line(inFile: file.path))") }
            self.refused(file, "\(file.report.errors.count) fault(s), listed above", reason)
            return
        }
        let pending: [String]
        do {
            pending = try await self.gateway.reload(settings)
        } catch {
            self.refused(file, "\(error)".singleLine, reason)
            return
        }
        for fault in file.report.warnings { self.log.warning("\(fault.line(inFile: file.path))") }
        if !pending.isEmpty {
            self.log.warning(
                "\(pending.joined(separator: ", ")) cannot change while running; restart the gateway to take it over")
        }
        self.audit.record(
            AuditEvent(
                "config.reload",
                [
                    "result": "success", "path": .string(file.path), "sha256": .string(file.digest),
                    "file_sha256": .string(file.fileDigest),
                    "reason": .string(reason), "restart_needed": .array(pending.map(JSONValue.string)),
                ]))
        self.log.info("configuration reloaded (\(reason)): new requests use it, open ones end under the old one")
    }

    private func refused(_ file: ConfigurationFile, _ why: String, _ reason: String) {
        self.audit.record(
            AuditEvent(
                "config.reload",
                [
                    "result": "refused", "path": .string(file.path), "sha256": .string(file.digest),
                    "file_sha256": .string(file.fileDigest),
                    "reason": .string(reason), "faults": .integer(file.report.errors.count),
                ]))
        self.log.error("configuration not reloaded (\(reason)): \(why). The last good one stays in use")
    }

    /// Reloads whenever the file, or one that it names, has other content. Content is compared, not times, because
    /// Kubernetes swaps a symbolic link and editors write a file anew.
    func watch() async {
        var seen = self.fingerprint()
        while !Task.isCancelled {
            try? await Task.sleep(for: Self.watchInterval)
            let now = self.fingerprint()
            if now != seen {
                seen = now
                await self.reload(because: "the file changed")
            }
        }
    }

    private func fingerprint() -> [String] {
        ([self.source.path] + self.last.dependencies).map { path in
            FileManager.default.contents(atPath: path).map { Digest.hexadecimal(Array($0)) } ?? "absent"
        }
    }
}
