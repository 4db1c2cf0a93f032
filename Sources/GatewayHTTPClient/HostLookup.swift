// SPDX-License-Identifier: Apache-2.0

internal import CLibCurl
internal import Foundation
internal import GatewayCore

#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Musl)
    internal import Musl
#else
    internal import Darwin
#endif

/// Resolves a name where libcurl does not, because a proxy would.
enum HostLookup {
    /// The first address of a host that the rule allows.
    static func address(of host: String, rule: AddressGuard) async throws -> IPAddress {
        if let literal = IPAddress(host) {
            if let refusal = rule.refusal(of: literal) {
                throw OutboundError.blocked(host: host, reason: refusal.description)
            }
            return literal
        }
        let found = await withCheckedContinuation { continuation in
            // getaddrinfo blocks for as long as it likes.
            Thread.detachNewThread { continuation.resume(returning: self.resolve(host)) }
        }
        guard !found.isEmpty else {
            throw OutboundError.cannotConnect(
                host: host, reason: "the name does not resolve here, where its address is checked")
        }
        var refusal: AddressGuard.Refusal?
        for address in found {
            guard let reason = rule.refusal(of: address) else { return address }
            refusal = reason
        }
        throw OutboundError.blocked(host: host, reason: refusal?.description ?? "no address")
    }

    private static func resolve(_ host: String) -> [IPAddress] {
        var hints = addrinfo()
        hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        var list: UnsafeMutablePointer<addrinfo>?
        guard getaddrinfo(host, nil, &hints, &list) == 0 else { return [] }
        defer { freeaddrinfo(list) }
        var addresses: [IPAddress] = []
        var next = list
        while let entry = next {
            next = entry.pointee.ai_next
            if let address = entry.pointee.ai_addr.flatMap({ IPAddress(socketAddress: $0) }) {
                addresses.append(address)
            }
        }
        return addresses
    }
}
