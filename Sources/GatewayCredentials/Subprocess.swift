// SPDX-License-Identifier: Apache-2.0

internal import Crypto
internal import Foundation
internal import GatewayCore

/// Runs a helper that prints a credential.
enum Subprocess {
    private static let timeout = 30.0

    static func run(_ command: String, environment: [String: String]) async throws -> [UInt8] {
        try await withCheckedThrowingContinuation { continuation in
            DispatchQueue.global().async {
                continuation.resume(with: Result { try self.runBlocking(command, environment) })
            }
        }
    }

    private static func runBlocking(_ command: String, _ environment: [String: String]) throws -> [UInt8] {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/bin/sh")
        process.arguments = ["-c", command]
        process.environment = environment
        let output = Pipe()
        process.standardOutput = output
        process.standardError = FileHandle.nullDevice
        process.standardInput = FileHandle.nullDevice
        try process.run()
        let limit = DispatchWorkItem { process.terminate() }
        DispatchQueue.global().asyncAfter(deadline: .now() + Self.timeout, execute: limit)
        let data = output.fileHandleForReading.readDataToEndOfFile()
        process.waitUntilExit()
        limit.cancel()
        guard process.terminationStatus == 0 else {
            throw CredentialFailure("credential_process ended with status \(process.terminationStatus)")
        }
        return Array(data)
    }
}

/// Names files of the AWS tools; nothing is secured with it.
enum SHA1 {
    static func hexadecimal(_ text: String) -> String {
        Hexadecimal.encode(Insecure.SHA1.hash(data: Array(text.utf8)))
    }
}
