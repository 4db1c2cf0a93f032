// SPDX-License-Identifier: Apache-2.0

internal import Foundation
internal import GatewayCore
internal import GatewayHTTPClient
internal import GatewayProviders
internal import GatewayRelay
internal import Logging
internal import NIOSSL

/// Makes the routes to upstreams from the file and the environment.
struct UpstreamRoutes {
    /// PEM file of certificates to trust besides the system's, as Claude Code and Node.js read it.
    static let extraCertificates = "NODE_EXTRA_CA_CERTS"

    private let variables: [String: String]
    private let extraRoots: [NIOSSLAdditionalTrustRoots]
    private let shared: NIOSSLContext

    init(variables: [String: String], log: Logger) throws {
        self.variables = variables
        var extra: [NIOSSLAdditionalTrustRoots] = []
        if let path = variables[Self.extraCertificates], !path.isEmpty {
            if let certificates = try? NIOSSLCertificate.fromPEMFile(path) {
                extra.append(.certificates(certificates))
            } else {
                log.warning(
                    "\(Self.extraCertificates) names no readable PEM file; it is ignored",
                    metadata: ["path": "\(path.singleLine)"])
            }
        }
        self.extraRoots = extra
        self.shared = try Self.context(trusting: extra)
    }

    func route(to upstream: UpstreamSettings) throws -> UpstreamRoute {
        UpstreamRoute(
            url: upstream.baseURL, tls: try self.tls(for: upstream), proxy: self.proxy(for: upstream),
            proxyTLS: self.shared)
    }

    func proxy(for upstream: UpstreamSettings) -> ForwardProxy? {
        switch upstream.transport.proxying {
        case .direct: nil
        case .through(let proxy): proxy
        case .environment: ProxyEnvironment(self.variables).proxy(for: upstream.baseURL)
        }
    }

    private func tls(for upstream: UpstreamSettings) throws -> NIOSSLContext {
        guard let pem = upstream.transport.trustedCertificates else { return self.shared }
        do {
            let certificates = try NIOSSLCertificate.fromPEMBytes(Array(pem.utf8))
            return try Self.context(trusting: self.extraRoots + [.certificates(certificates)])
        } catch {
            throw BootFailure(
                "upstreams: the ca_cert_pem of \(upstream.name.singleLine) holds a certificate that cannot be read. Write the CA's certificates in PEM form"
            )
        }
    }

    private static func context(trusting roots: [NIOSSLAdditionalTrustRoots]) throws -> NIOSSLContext {
        var configuration = TLSConfiguration.makeClientConfiguration()
        configuration.minimumTLSVersion = .tlsv12
        configuration.additionalTrustRoots = roots
        return try NIOSSLContext(configuration: configuration)
    }
}
