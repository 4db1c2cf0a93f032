// SPDX-License-Identifier: Apache-2.0

// For SOCK_STREAM: curl's headers bring the system's socket constants in first, and an optimised build then finds them
// only there.
internal import CLibCurl
package import GatewayCore

#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Musl)
    internal import Musl
#else
    internal import Darwin
#endif

/// Addresses that are not reachable from the public internet: RFC 1918, RFC 6598, RFC 4193, loopback and link-local.
package enum PrivateNetwork {
    private static let blocks = [
        "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "::1",
        "fc00::/7", "fe80::/10",
    ].map { IPNetwork($0)! }

    package static func contains(_ address: IPAddress) -> Bool {
        self.blocks.contains { $0.contains(address) }
    }

    /// Every address that a host name stands for now; empty when it does not resolve. Blocks while it asks.
    package static func resolve(_ host: String) -> [IPAddress] {
        if let literal = IPAddress(urlHost: host) { return [literal] }
        var hints = addrinfo()
        hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        var first: UnsafeMutablePointer<addrinfo>?
        guard getaddrinfo(host, nil, &hints, &first) == 0 else { return [] }
        defer { freeaddrinfo(first) }
        var found: [IPAddress] = []
        var next = first
        while let entry = next {
            if let address = IPAddress(socketAddress: entry.pointee.ai_addr), !found.contains(address) {
                found.append(address)
            }
            next = entry.pointee.ai_next
        }
        return found
    }
}
