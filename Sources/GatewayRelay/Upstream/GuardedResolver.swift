// SPDX-License-Identifier: Apache-2.0

package import GatewayCore
package import NIOCore
internal import NIOPosix

#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Musl)
    internal import Musl
#else
    internal import Darwin
#endif

/// Resolves an upstream's name and drops every address that the gateway may not connect to, so that what was checked is
/// what is connected to.
enum GuardedResolver {
    /// - Parameters:
    ///   - rule: `nil` for a forward proxy, which the operator has named.
    ///   - done: Called on the loop, at once for an address.
    static func resolve(
        host: String, port: Int, rule: AddressGuard?, on loop: any EventLoop,
        _ done: @escaping (Result<[SocketAddress], UpstreamConnectError>) -> Void,
    ) {
        if IPAddress(host) != nil {
            done(self.resolve(host: host, port: port, rule: rule))
            return
        }
        let done = NIOLoopBound(done, eventLoop: loop)
        NIOThreadPool.singleton.submit { _ in
            let result = self.resolve(host: host, port: port, rule: rule)
            loop.execute { done.value(result) }
        }
    }

    private static func resolve(host: String, port: Int, rule: AddressGuard?)
        -> Result<[SocketAddress], UpstreamConnectError>
    {
        var hints = addrinfo()
        hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        var first: UnsafeMutablePointer<addrinfo>?
        guard getaddrinfo(host, String(port), &hints, &first) == 0 else {
            return .failure(.unknownHost(host))
        }
        defer { freeaddrinfo(first) }
        var allowed: [SocketAddress] = []
        var refusal: AddressGuard.Refusal?
        var next = first
        while let entry = next {
            next = entry.pointee.ai_next
            guard let socketAddress = entry.pointee.ai_addr, let address = SocketAddress(copying: socketAddress),
                let ip = address.gatewayAddress
            else { continue }
            if let reason = rule?.refusal(of: ip) {
                refusal = reason
            } else {
                allowed.append(address)
            }
        }
        if allowed.isEmpty {
            return .failure(refusal.map { .blocked(host, $0.description) } ?? .unknownHost(host))
        }
        return .success(allowed)
    }
}

/// Why no connection to an upstream came about.
package enum UpstreamConnectError: Error, CustomStringConvertible {
    case unknownHost(String)
    case blocked(String, String)
    /// The forward proxy made no tunnel.
    case proxy(String, String)
    /// No address took the connection; this is what the system says of the last.
    case failed(String)
    case timeout
    /// The system watches no more connections.
    case noRoom

    package var description: String {
        switch self {
        case .unknownHost(let host): "the name \(host) does not resolve"
        case .blocked(let host, let reason): "\(host) is blocked: \(reason)"
        case .proxy(let host, let reason): "the proxy \(host) \(reason)"
        case .failed(let reason): reason
        case .timeout: "no connection in time"
        case .noRoom: "the system has no room for another connection"
        }
    }
}

extension SocketAddress {
    /// The bare address.
    package var gatewayAddress: IPAddress? {
        if case .unixDomainSocket = self { return nil }
        return self.withSockAddr { address, _ in IPAddress(socketAddress: address) }
    }
}
