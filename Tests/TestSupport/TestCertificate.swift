// SPDX-License-Identifier: Apache-2.0

internal import Foundation
internal import GatewayCore

/// A certificate for 127.0.0.1 that vouches for itself, made by openssl.
package struct TestCertificate: Sendable {
    private let folder: String
    package var certificate: String { self.folder + "/cert.pem" }
    package var key: String { self.folder + "/key.pem" }

    package init() throws {
        self.folder = NSTemporaryDirectory() + "/tls-\(RandomToken.make())"
        try FileManager.default.createDirectory(atPath: self.folder, withIntermediateDirectories: true)
        _ = try Self.openssl([
            "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj",
            "/CN=127.0.0.1",
            "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", self.key, "-out", self.certificate,
        ])
    }

    /// The certificate's text.
    package var pem: String { (try? String(contentsOfFile: self.certificate, encoding: .utf8)) ?? "" }

    package func remove() {
        try? FileManager.default.removeItem(atPath: self.folder)
    }

    package func fingerprint() throws -> String {
        let text = try Self.openssl(["x509", "-in", self.certificate, "-noout", "-fingerprint", "-sha256"])
        return text.split(separator: "=").last.map { $0.lowercased().filter(\.isHexDigit) } ?? ""
    }

    private static func openssl(_ arguments: [String]) throws -> String {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments = ["openssl"] + arguments
        let pipe = Pipe()
        process.standardOutput = pipe
        process.standardError = FileHandle.nullDevice
        try process.run()
        let data = pipe.fileHandleForReading.readDataToEndOfFile()
        process.waitUntilExit()
        guard process.terminationStatus == 0 else { throw POSIXError(.EINVAL) }
        return String(decoding: data, as: UTF8.self)
    }
}
