// SPDX-License-Identifier: Apache-2.0

internal import Foundation
internal import GatewayCore

/// Resolves a name where libcurl does not, because a proxy would.
enum HostLookup {
    /// The first address of a host that the rule allows.
    static func address(of host: String, rule: AddressGuard) async throws -> IPAddress {
        let found = await withCheckedContinuation { continuation in
            // getaddrinfo blocks for as long as it likes.
            Thread.detachNewThread { continuation.resume(returning: PrivateNetwork.resolve(host)) }
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
}
