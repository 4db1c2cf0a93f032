// SPDX-License-Identifier: Apache-2.0

internal import Crypto
package import Foundation
package import GatewayConfig
internal import GatewayCore

/// A configuration file, read once: its settings when it can be used, and everything that is wrong with it.
package struct ConfigurationFile: Sendable {
    package let path: String
    /// `nil` when `report` has an error.
    package let settings: GatewaySettings?
    package let report: ConfigReport
    /// SHA-256 of the file's bytes, so that an operator can tell which file is running.
    package let digest: String

    /// - Parameter expansion: Whether secrets are looked up.
    package init(path: String, expanding expansion: SecretExpansion) {
        var report = ConfigReport()
        guard let data = FileManager.default.contents(atPath: path) else {
            let exists = FileManager.default.fileExists(atPath: path)
            let reason =
                exists ? "the file cannot be read; check its permissions." : "there is no such file; check --config."
            report.error(ConfigNode(.null), reason)
            self.init(path: path, settings: nil, report: report, digest: "")
            return
        }
        self.init(path: path, text: data, expanding: expansion)
    }

    /// - Parameter path: For messages only.
    package init(path: String, text data: Data, expanding expansion: SecretExpansion) {
        var report = ConfigReport()
        let digest = Hexadecimal.encode(SHA256.hash(data: data))
        var text = String(decoding: data, as: UTF8.self)
        if text.hasPrefix("\u{FEFF}") { text.removeFirst() }
        guard let root = YAMLReader.read(text, expanding: expansion, into: &report) else {
            self.init(path: path, settings: nil, report: report, digest: digest)
            return
        }
        ConfigValidator.validate(root, as: GatewaySettings.section, into: &report)
        let common = Self.commonSettings(root, into: &report)
        let settings = report.errors.isEmpty ? GatewaySettings(root, commonSettings: common) : nil
        self.init(path: path, settings: settings, report: report, digest: digest)
    }

    private init(path: String, settings: GatewaySettings?, report: ConfigReport, digest: String) {
        self.path = path
        self.settings = settings
        self.report = report
        self.digest = digest
    }

    /// The document that `managed.settings` names. A missing one is a fault: it would silently mean "no policy".
    private static func commonSettings(_ root: ConfigNode, into report: inout ConfigReport) -> JSONObject? {
        guard let node = root["managed"]?["settings"], let path = node.string, !node.isUnresolved else { return nil }
        guard let data = FileManager.default.contents(atPath: path) else {
            report.error(node, "there is no readable file at this path; developers would silently have no policy.")
            return nil
        }
        guard case .object(let settings)? = try? JSONValue(parsing: data) else {
            report.error(node, "the file at this path is not a JSON object.")
            return nil
        }
        return settings
    }
}
