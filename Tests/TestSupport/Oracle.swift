// SPDX-License-Identifier: Apache-2.0

internal import Foundation
package import GatewayCore

/// Second opinions: scripts of `Tests/Oracles`, run by the Python that `scripts/test` fills with other people's
/// libraries.
package enum Oracle {
    package static let python = ProcessInfo.processInfo.environment["GATEWAY_TEST_PYTHON"].flatMap {
        $0.isEmpty ? nil : $0
    }
    package static let isThere = python != nil

    /// Runs a script and returns the JSON that it prints.
    package static func ask(_ script: String, _ arguments: [String], input: [UInt8] = []) async throws
        -> JSONValue
    {
        let path = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .appendingPathComponent("Oracles/\(script)").path
        return try await offPool {
            let process = Process()
            process.executableURL = URL(fileURLWithPath: self.python ?? "/usr/bin/false")
            process.arguments = [path] + arguments
            let (stdin, stdout) = (Pipe(), Pipe())
            process.standardInput = stdin
            process.standardOutput = stdout
            try process.run()
            Thread.detachNewThread {
                stdin.fileHandleForWriting.write(Data(input))
                try? stdin.fileHandleForWriting.close()
            }
            let out = stdout.fileHandleForReading.readDataToEndOfFile()
            process.waitUntilExit()
            return try JSONValue(parsing: out)
        }
    }
}
