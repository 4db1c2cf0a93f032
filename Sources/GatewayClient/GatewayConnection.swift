// SPDX-License-Identifier: Apache-2.0

package import GatewayCore
package import GatewayHTTPClient

/// Requests to one gateway, under the private-address rule and the pinned certificate.
package struct GatewayConnection: Sendable {
    package let url: String
    private let client: OutboundClient
    private let environment: [String: String]
    private let fingerprint: String?

    /// - Parameter fingerprint: SHA-256 of the leaf certificate to insist on.
    package init(url: String, fingerprint: String?, environment: [String: String]) {
        self.url = url
        self.client = OutboundClient(rule: .privateNetwork)
        self.environment = environment
        self.fingerprint = fingerprint
    }

    /// - Throws: `ClientFailure` in place of every transport error.
    package func send(_ request: OutboundRequest, onBody: (@Sendable ([UInt8]) -> Void)? = nil) async throws
        -> OutboundResponse
    {
        var request = request
        request.headers.append(("user-agent", "claude-gateway-client/\(GatewayVersion.current)"))
        request.expectedFingerprint = self.fingerprint
        let usesProxy = WebURL(request.url).map { ProxyEnvironment(self.environment).applies(to: $0) } ?? false
        request.proxying = usesProxy ? .environment : .direct
        do {
            return try await self.client.send(request, onBody: onBody)
        } catch let error as OutboundError {
            throw Self.failure(error)
        }
    }

    private static func failure(_ error: OutboundError) -> ClientFailure {
        switch error {
        case .changedCertificate(let host, let seen):
            .refused(
                "the certificate of \(host) is another one than the one you trusted. Its fingerprint is now \(seen). Ask your administrator whether it was renewed; if so, run claude login again."
            )
        case .untrustedCertificate(let host, let reason):
            .refused(
                "the certificate of \(host) is not trusted (\(reason)). If your organization has its own CA, add it to this system's trust store."
            )
        case .blocked(let host, let reason):
            .badRequest("\(host) may not be used as a gateway: \(reason). A gateway belongs on a private network.")
        case .invalidURL:
            .badRequest("the gateway's URL is not valid. Write it like https://claude.internal.example.com.")
        case .timedOut, .cannotConnect, .tooLarge, .broken:
            .unreachable(
                "Couldn't reach the gateway: \(error) Check that you're on your organization's network, then try again."
            )
        }
    }

    package func get(_ path: String, bearer: Secret) async throws -> OutboundResponse {
        let headers = [("authorization", "Bearer " + bearer.reveal()), ("accept", "application/json")]
        return try await self.send(OutboundRequest("GET", self.url + path, headers: headers))
    }
}
