// SPDX-License-Identifier: Apache-2.0

internal import GatewayClient
internal import GatewayCore
internal import GatewayHTTPClient

/// `claude gateway --health URL`: what a container's healthcheck asks, where the image has no other program.
enum HealthProbe {
    /// Shorter than the intervals of the usual healthchecks.
    private static let patience = Duration.seconds(5)

    /// - Returns: `failure` for anything but an answer with a status from 200 to 299, as healthchecks know 0 and 1 only.
    static func run(_ text: String, in terminal: Terminal) async throws -> ExitCode {
        guard let url = WebURL(text) else {
            throw ClientFailure.badRequest(
                "--health takes a URL, such as http://127.0.0.1:8080/healthz, not '\(text.printableASCII(limit: 128))'."
            )
        }
        var request = OutboundRequest("GET", text, timeout: self.patience)
        // Over loopback nobody stands in between, and the certificate is for the name that developers use.
        request.verifiesCertificate = !url.isLoopback
        do {
            let answer = try await OutboundClient(rule: .any).send(request)
            if (200..<300).contains(answer.status) { return .success }
            terminal.say("claude gateway: \(url.authority) answers with status \(answer.status)")
        } catch {
            terminal.say("claude gateway: \("\(error)".singleLine)")
        }
        return .failure
    }
}
