// SPDX-License-Identifier: Apache-2.0

/// Decides which addresses the gateway may open a connection to, so that a configured or discovered URL cannot reach a
/// cloud's metadata service or the host itself (server-side request forgery).
package struct AddressGuard: Sendable, Equatable {
    /// Whether 127.0.0.0/8, ::1 and the unspecified addresses may be reached: `CLAUDE_GATEWAY_ALLOW_LOOPBACK`.
    package let allowsLoopback: Bool

    package init(allowsLoopback: Bool) {
        self.allowsLoopback = allowsLoopback
    }

    /// Why an address is out of bounds.
    package enum Refusal: Sendable, Equatable, CustomStringConvertible {
        case linkLocal
        case metadata
        case loopback

        package var description: String {
            switch self {
            case .linkLocal: "link-local address"
            case .metadata: "cloud metadata service"
            case .loopback:
                "loopback address; set CLAUDE_GATEWAY_ALLOW_LOOPBACK=1 in the gateway's environment to allow it"
            }
        }
    }

    private static let linkLocal = ["169.254.0.0/16", "fe80::/10"].map { IPNetwork($0)! }
    private static let metadata = ["192.0.0.192", "168.63.129.16", "100.100.100.200", "fd00:ec2::/32"].map {
        IPNetwork($0)!
    }
    private static let loopback = ["127.0.0.0/8", "0.0.0.0/8", "::1", "::"].map { IPNetwork($0)! }
    private static let metadataNames: Set<String> = ["metadata", "metadata.google.internal", "instance-data"]

    /// The IPv4 address that a translator makes of an IPv6 one: NAT64 (RFC 6052), 6to4 (RFC 3056), and the deprecated
    /// IPv4-compatible form.
    private static func embedded(in address: IPAddress) -> IPAddress? {
        let bytes = address.bytes
        guard bytes.count == 16 else { return nil }
        if bytes.starts(with: [0x00, 0x64, 0xFF, 0x9B]), bytes[4..<12].allSatisfy({ $0 == 0 }) {
            return IPAddress(bytes: Array(bytes[12...]))
        }
        if bytes.starts(with: [0x20, 0x02]) { return IPAddress(bytes: Array(bytes[2..<6])) }
        if bytes.prefix(12).allSatisfy({ $0 == 0 }), bytes[12] != 0 { return IPAddress(bytes: Array(bytes[12...])) }
        return nil
    }

    package func refusal(of address: IPAddress) -> Refusal? {
        if let inner = Self.embedded(in: address), let refusal = self.refusal(of: inner) { return refusal }
        if Self.metadata.contains(where: { $0.contains(address) }) { return .metadata }
        if Self.linkLocal.contains(where: { $0.contains(address) }) { return .linkLocal }
        if !self.allowsLoopback, Self.loopback.contains(where: { $0.contains(address) }) { return .loopback }
        return nil
    }

    /// Judges a URL's host before anything is resolved: literals in every notation, and the known metadata names.
    package func refusal(ofHost host: String) -> Refusal? {
        var name = host.lowercased()
        if name.hasSuffix(".") { name.removeLast() }
        if Self.metadataNames.contains(name) { return .metadata }
        guard let address = IPAddress(urlHost: name) else { return nil }
        return self.refusal(of: address)
    }
}
