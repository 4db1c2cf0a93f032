// SPDX-License-Identifier: Apache-2.0

internal import Crypto
package import Foundation
package import GatewayConfig
internal import GatewayCore
internal import GatewayPolicy

/// A configuration file, read once: its settings when it can be used, and everything that is wrong with it.
package struct ConfigurationFile: Sendable {
    package let path: String
    /// `nil` when `report` has an error.
    package let settings: GatewaySettings?
    package let report: ConfigReport
    /// SHA-256 of the file's bytes, so that an operator can tell which file is running.
    package let fileDigest: String
    /// SHA-256 of what the file says: without comments and layout, with references to secrets in place of the secrets,
    /// and without the replica's own address. Replicas that are configured alike have the same.
    package let digest: String

    /// The whole document, as read.
    package let root: ConfigNode?

    /// Other files whose content counts: secrets, certificates, the settings for everybody.
    package var dependencies: [String] {
        let named = [
            self.root?["managed"]?["settings"], self.root?["listen"]?["tls"]?["cert"],
            self.root?["listen"]?["tls"]?["key"],
        ].compactMap { $0?.string }
        return Array(Set(self.report.referencedFiles + named)).sorted()
    }

    /// Whose eyes a file is read with.
    package struct Reading: Sendable {
        package let expansion: SecretExpansion
        /// Whether loopback addresses may be connected to; `nil` when another machine will run the file.
        package let allowsLoopback: Bool?

        /// For running: secrets and files are looked up.
        package static func running(_ environment: [String: String], allowsLoopback: Bool) -> Reading {
            Reading(expansion: .resolving(environment), allowsLoopback: allowsLoopback)
        }

        /// For judging strictly: secrets and files are looked up; loopback is left to the machine that runs the file.
        package static func strict(_ environment: [String: String]) -> Reading {
            Reading(expansion: .resolving(environment), allowsLoopback: nil)
        }

        /// For a machine that has no secrets.
        package static let linting = Reading(expansion: .skipping, allowsLoopback: nil)

        fileprivate var report: ConfigReport {
            ConfigReport(allowsLoopback: self.allowsLoopback, readsFiles: self.expansion.resolves)
        }
    }

    package init(path: String, _ reading: Reading) {
        var report = reading.report
        guard let data = FileManager.default.contents(atPath: path) else {
            let exists = FileManager.default.fileExists(atPath: path)
            let reason =
                exists ? "the file cannot be read; check its permissions." : "there is no such file; check --config."
            report.error(ConfigNode(.null), reason)
            self.init(path: path, root: nil, settings: nil, report: report, fileDigest: "", digest: "")
            return
        }
        self.init(path: path, text: data, reading)
    }

    /// - Parameter path: For messages only.
    package init(path: String, text data: Data, _ reading: Reading) {
        var report = reading.report
        let fileDigest = Hexadecimal.encode(SHA256.hash(data: data))
        var text = String(decoding: data, as: UTF8.self)
        if text.hasPrefix("\u{FEFF}") { text.removeFirst() }
        guard let root = YAMLReader.read(text, expanding: reading.expansion, into: &report) else {
            self.init(path: path, root: nil, settings: nil, report: report, fileDigest: fileDigest, digest: "")
            return
        }
        ConfigValidator.validate(root, as: GatewaySettings.section, into: &report)
        let common = Self.commonSettings(root, into: &report)
        let settings = report.errors.isEmpty ? GatewaySettings(root, commonSettings: common) : nil
        if let settings { ConfigurationAdvice(root: root, settings: settings).give(into: &report) }
        self.init(
            path: path, root: root, settings: settings, report: report, fileDigest: fileDigest,
            digest: Self.digest(text))
    }

    private static func digest(_ text: String) -> String {
        var ignored = ConfigReport()
        guard let root = YAMLReader.read(text, expanding: .skipping, into: &ignored),
            var document = root.json.object
        else { return "" }
        if var listen = document["listen"]?.object {
            for key in ["host", "port", "public_url"] { listen[key] = nil }
            document["listen"] = .object(listen)
        }
        return Hexadecimal.encode(SHA256.hash(data: JSONValue.object(document).bytes(order: .canonical)))
    }

    private init(
        path: String, root: ConfigNode?, settings: GatewaySettings?, report: ConfigReport, fileDigest: String,
        digest: String,
    ) {
        self.path = path
        self.root = root
        self.settings = settings
        self.report = report
        self.fileDigest = fileDigest
        self.digest = digest
    }

    /// The document that `managed.settings` names. A missing one is a fault: it would silently mean "no policy".
    private static func commonSettings(_ root: ConfigNode, into report: inout ConfigReport) -> JSONObject? {
        guard let node = root["managed"]?["settings"], let path = node.string, !path.isEmpty, !node.isUnresolved else {
            return nil
        }
        guard let data = FileManager.default.contents(atPath: path) else {
            if report.readsFiles {
                report.error(
                    node,
                    "there is no readable file at \(path.singleLine); developers would silently have no policy.")
            }
            return nil
        }
        guard case .object(let settings)? = try? JSONValue(parsing: data) else {
            report.error(node, "the file \(path.singleLine) is not a JSON object.")
            return nil
        }
        var own = ConfigReport()
        if let document = YAMLReader.read(String(decoding: data, as: UTF8.self), expanding: .skipping, into: &own) {
            ConfigValidator.validate(document, as: ClaudeCodeSettings.section, into: &own)
        }
        for fault in own.errors { report.error(node, "in \(path.singleLine), \(fault.path): \(fault.message)") }
        return settings
    }
}
