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
final class GuardedResolver: Resolver, Sendable {
    /// `nil` for a forward proxy, which the operator has named.
    private let rule: AddressGuard?
    private let loop: any EventLoop
    private let ipv4: EventLoopPromise<[SocketAddress]>
    private let ipv6: EventLoopPromise<[SocketAddress]>

    init(rule: AddressGuard?, loop: any EventLoop) {
        self.rule = rule
        self.loop = loop
        self.ipv4 = loop.makePromise()
        self.ipv6 = loop.makePromise()
    }

    /// Both queries are answered by the one `getaddrinfo` call that this starts.
    func initiateAAAAQuery(host: String, port: Int) -> EventLoopFuture<[SocketAddress]> {
        let rule = self.rule
        NIOThreadPool.singleton.runIfActive(eventLoop: self.loop) {
            try Self.resolve(host: host, port: port, rule: rule)
        }.whenComplete { result in
            switch result {
            case .success(let all):
                self.ipv4.succeed(all.filter { $0.protocol == .inet })
                self.ipv6.succeed(all.filter { $0.protocol == .inet6 })
            case .failure(let error):
                self.ipv4.fail(error)
                self.ipv6.fail(error)
            }
        }
        return self.ipv6.futureResult
    }

    func initiateAQuery(host: String, port: Int) -> EventLoopFuture<[SocketAddress]> {
        self.ipv4.futureResult
    }

    func cancelQueries() {}

    private static func resolve(host: String, port: Int, rule: AddressGuard?) throws -> [SocketAddress] {
        var hints = addrinfo()
        hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        var first: UnsafeMutablePointer<addrinfo>?
        guard getaddrinfo(host, String(port), &hints, &first) == 0 else {
            throw UpstreamConnectError.unknownHost(host)
        }
        defer { freeaddrinfo(first) }
        var allowed: [SocketAddress] = []
        var refusal: AddressGuard.Refusal?
        var next = first
        while let entry = next {
            next = entry.pointee.ai_next
            let address: SocketAddress
            switch Int32(entry.pointee.ai_family) {
            case AF_INET:
                address = entry.pointee.ai_addr.withMemoryRebound(to: sockaddr_in.self, capacity: 1) {
                    SocketAddress($0.pointee)
                }
            case AF_INET6:
                address = entry.pointee.ai_addr.withMemoryRebound(to: sockaddr_in6.self, capacity: 1) {
                    SocketAddress($0.pointee)
                }
            default: continue
            }
            guard let ip = address.gatewayAddress else { continue }
            if let reason = rule?.refusal(of: ip) {
                refusal = reason
            } else {
                allowed.append(address)
            }
        }
        if allowed.isEmpty, let refusal { throw UpstreamConnectError.blocked(host, refusal.description) }
        return allowed
    }
}

/// Why no connection to an upstream came about.
package enum UpstreamConnectError: Error, CustomStringConvertible {
    case unknownHost(String)
    case blocked(String, String)
    /// The forward proxy made no tunnel.
    case proxy(String, String)

    package var description: String {
        switch self {
        case .unknownHost(let host): "the name \(host) does not resolve"
        case .blocked(let host, let reason): "\(host) is blocked: \(reason)"
        case .proxy(let host, let reason): "the proxy \(host) \(reason)"
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
