// SPDX-License-Identifier: Apache-2.0

package import GatewayCore

/// One HTTP request that the gateway or a client command makes, other than a relayed model request.
package struct OutboundRequest: Sendable {
    /// Whether a forward proxy is used.
    package enum Proxying: Sendable, Equatable {
        /// Straight to the host.
        case direct
        /// As `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY` say.
        case environment
        case through(ForwardProxy)
    }

    package var method: String
    package var url: String
    package var headers: [(name: String, value: String)]
    package var body: [UInt8]?
    /// Bounds the whole exchange, name resolution included; `nil` is for streams.
    package var timeout: Duration?
    package var connectTimeout: Duration = .seconds(10)
    /// A longer body ends the exchange with `OutboundError.tooLarge`.
    package var maximumResponseBytes = 4 << 20
    package var proxying = Proxying.direct
    /// Whether a proxy is asked for an address that has been checked, instead of a name that it would resolve itself.
    package var pinsAddress = false
    /// The checked address; filled in by the client.
    var pinnedAddress: IPAddress?
    /// PEM certificates to trust instead of the system's.
    package var trustedCertificates: String?
    /// PEM certificates to trust besides the system's.
    package var additionalCertificates: String?
    /// SHA-256 of the leaf certificate that the peer must show, in lower-case hexadecimal.
    package var expectedFingerprint: String?
    /// Off only for a look at this machine's own server, whose certificate bears another name.
    package var verifiesCertificate = true

    package init(
        _ method: String, _ url: String, headers: [(name: String, value: String)] = [], body: [UInt8]? = nil,
        timeout: Duration? = .seconds(30),
    ) {
        self.method = method
        self.url = url
        self.headers = headers
        self.body = body
        self.timeout = timeout
    }

    /// A POST of form fields.
    package static func form(_ url: String, _ fields: [(String, String)], timeout: Duration = .seconds(30))
        -> OutboundRequest
    {
        OutboundRequest(
            "POST", url,
            headers: [("content-type", "application/x-www-form-urlencoded"), ("accept", "application/json")],
            body: Array(FormCoding.encode(fields).utf8), timeout: timeout)
    }
}

/// An answer, whole.
package struct OutboundResponse: Sendable {
    package let status: Int
    package let headers: [(name: String, value: String)]
    package let body: [UInt8]
    /// SHA-256 of the peer's leaf certificate in lower-case hexadecimal; `nil` over plain HTTP.
    package let peerFingerprint: String?

    /// The first header of that name, compared without case.
    package func header(_ name: String) -> String? {
        self.headers.first { $0.name.lowercased() == name.lowercased() }?.value
    }

    package var json: JSONValue? {
        try? JSONValue(parsing: self.body)
    }

    package var text: String {
        String(decoding: self.body, as: UTF8.self)
    }
}

/// Why an exchange brought no answer. The texts name the peer and carry no header, query or body.
package enum OutboundError: Error, Equatable, CustomStringConvertible {
    case invalidURL
    case blocked(host: String, reason: String)
    case timedOut(host: String)
    case cannotConnect(host: String, reason: String)
    case untrustedCertificate(host: String, reason: String)
    case changedCertificate(host: String, seen: String)
    case tooLarge(host: String, limit: Int)
    case broken(host: String, reason: String)

    package var description: String {
        switch self {
        case .invalidURL: "the URL is not a valid http or https URL."
        case .blocked(let host, let reason): "\(host) is blocked: \(reason)."
        case .timedOut(let host): "\(host) did not answer in time."
        case .cannotConnect(let host, let reason): "cannot connect to \(host): \(reason)."
        case .untrustedCertificate(let host, let reason): "the certificate of \(host) is not trusted: \(reason)."
        case .changedCertificate(let host, let seen):
            "the certificate of \(host) is another one than expected: \(seen)."
        case .tooLarge(let host, let limit): "\(host) answered with more than \(limit) bytes."
        case .broken(let host, let reason): "the exchange with \(host) failed: \(reason)."
        }
    }
}

/// Which addresses a client may connect to.
package enum AddressRule: Sendable, Equatable {
    case any
    /// Everything but link-local, metadata and, unless allowed, loopback addresses.
    case guarded(AddressGuard)
    /// Only private-network and loopback addresses.
    case privateNetwork

    package func refusal(of address: IPAddress) -> String? {
        switch self {
        case .any: nil
        case .guarded(let rule): rule.refusal(of: address)?.description
        case .privateNetwork: PrivateNetwork.contains(address) ? nil : "\(address) is a public address"
        }
    }
}
