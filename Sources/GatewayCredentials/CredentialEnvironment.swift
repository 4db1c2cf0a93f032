// SPDX-License-Identifier: Apache-2.0

internal import Foundation
internal import GatewayCore
package import GatewayHTTPClient
package import GatewayProviders

/// What credentials are looked up in: variables, files, and services of the platform.
package struct CredentialEnvironment: Sendable {
    package let variables: [String: String]
    /// Reaches the providers' public endpoints, under the gateway's address rule.
    let client: OutboundClient
    /// Reaches the platform's own metadata services, whose addresses no configured URL may name.
    let metadataClient = OutboundClient(rule: .any)

    /// How the upstream's own network is reached.
    private var transport = UpstreamSettings.Transport()

    private static let timeout = Duration.seconds(10)

    package init(variables: [String: String], client: OutboundClient) {
        self.variables = variables
        self.client = client
    }

    /// The same, for an upstream with a proxy or certificates of its own.
    package func behind(_ transport: UpstreamSettings.Transport) -> CredentialEnvironment {
        var copy = self
        copy.transport = transport
        return copy
    }

    subscript(_ name: String) -> String? {
        self.variables[name].flatMap { $0.isEmpty ? nil : $0 }
    }

    var home: String { self["HOME"] ?? "/root" }

    func file(_ path: String) throws -> String {
        guard let data = FileManager.default.contents(atPath: path) else {
            throw CredentialFailure("the file \(path.singleLine) cannot be read")
        }
        return String(decoding: data, as: UTF8.self)
    }

    func optionalFile(_ path: String) -> String? {
        try? self.file(path)
    }

    func send(_ request: OutboundRequest, isMetadata: Bool = false, timeout: Duration = timeout) async throws
        -> OutboundResponse
    {
        var request = request
        request.timeout = timeout
        if !isMetadata { request.prepare(self.transport, self.variables) }
        return try await (isMetadata ? self.metadataClient : self.client).send(request)
    }

    /// Sends, and expects JSON with status 200.
    func json(_ request: OutboundRequest, of what: String, isMetadata: Bool = false, timeout: Duration = timeout)
        async throws -> JSONValue
    {
        let response = try await self.send(request, isMetadata: isMetadata, timeout: timeout)
        guard (200..<300).contains(response.status), let json = response.json else {
            let code = response.json?["error"]?.string ?? response.json?["error"]?["message"]?.string
            let text = code.map { ": " + $0.printableASCII(limit: 200) } ?? ""
            throw CredentialFailure("\(what) answered with HTTP \(response.status)\(text)")
        }
        return json
    }
}

extension OutboundRequest {
    /// Sends the request the way that requests to the upstream go.
    package mutating func prepare(_ transport: UpstreamSettings.Transport, _ variables: [String: String]) {
        switch transport.proxying {
        case .direct: self.proxying = .direct
        case .through(let proxy): self.proxying = .through(proxy)
        case .environment:
            let proxy = WebURL(self.url).flatMap(ProxyEnvironment(variables).proxy)
            self.proxying = proxy.map(Proxying.through) ?? .direct
        }
        self.additionalCertificates = transport.trustedCertificates
    }
}

extension Timestamp {
    /// Reads an ISO 8601 time such as `2026-11-25T10:00:00Z`, with or without a fraction.
    init?(iso8601 text: String) {
        let plain = ISO8601DateFormatter()
        plain.formatOptions = [.withInternetDateTime]
        let fractional = ISO8601DateFormatter()
        fractional.formatOptions = [.withInternetDateTime, .withFractionalSeconds]
        guard let date = plain.date(from: text) ?? fractional.date(from: text) else { return nil }
        self.init(milliseconds: Int64(date.timeIntervalSince1970 * 1000))
    }
}
