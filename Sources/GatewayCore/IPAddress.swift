// SPDX-License-Identifier: Apache-2.0

#if canImport(Glibc)
    package import Glibc
#elseif canImport(Musl)
    package import Musl
#else
    package import Darwin
#endif

/// An IPv4 or IPv6 address. IPv4-mapped IPv6 addresses (`::ffff:a.b.c.d`) are the IPv4 address.
package struct IPAddress: Sendable, Hashable {
    /// Network byte order: 4 bytes or 16.
    package let bytes: [UInt8]

    package init?(bytes: [UInt8]) {
        switch bytes.count {
        case 4: self.bytes = bytes
        case 16 where bytes.prefix(10).allSatisfy { $0 == 0 } && bytes[10] == 0xFF && bytes[11] == 0xFF:
            self.bytes = Array(bytes[12...])
        case 16: self.bytes = bytes
        default: return nil
        }
    }

    /// Reads `a.b.c.d` (leading zeros are decimal) or any RFC 4291 form; a zone (`%eth0`) is dropped.
    package init?(_ text: some StringProtocol) {
        if text.utf8.contains(0x3A) {
            let plain = String(text.prefix { $0 != "%" })
            var address = in6_addr()
            guard inet_pton(AF_INET6, plain, &address) == 1 else { return nil }
            self.init(bytes: withUnsafeBytes(of: &address) { Array($0) })
        } else {
            let parts = text.split(separator: ".", omittingEmptySubsequences: false)
            guard parts.count == 4 else { return nil }
            var bytes: [UInt8] = []
            for part in parts {
                guard !part.isEmpty, part.utf8.count <= 10, part.utf8.allSatisfy({ (0x30...0x39).contains($0) }),
                    let value = UInt8(part)
                else { return nil }
                bytes.append(value)
            }
            self.init(bytes: bytes)
        }
    }

    /// Reads the address from a URL's host in every notation that resolvers accept: brackets, decimal, octal and
    /// hexadecimal IPv4 with one to four parts (WHATWG URL §3.5, `inet_aton`).
    package init?(urlHost host: String) {
        var host = host
        if host.hasPrefix("["), host.hasSuffix("]") { host = String(host.dropFirst().dropLast()) }
        if host.hasSuffix(".") { host.removeLast() }
        if host.contains(":") {
            self.init(host)
            return
        }
        let parts = host.split(separator: ".", omittingEmptySubsequences: false)
        guard (1...4).contains(parts.count) else { return nil }
        var numbers: [UInt64] = []
        for part in parts {
            let lower = part.lowercased()
            let value: UInt64?
            if lower.hasPrefix("0x") {
                value = lower.count == 2 ? 0 : UInt64(lower.dropFirst(2), radix: 16)
            } else if lower.hasPrefix("0"), lower.count > 1 {
                value = UInt64(lower.dropFirst(), radix: 8)
            } else {
                value = lower.first?.isNumber == true ? UInt64(lower) : nil
            }
            guard let value else { return nil }
            numbers.append(value)
        }
        let last = numbers.removeLast()
        guard numbers.allSatisfy({ $0 <= 255 }), last < UInt64(1) << UInt64(8 * (4 - numbers.count)) else { return nil }
        var whole = last
        for (index, number) in numbers.enumerated() { whole |= number << UInt64(8 * (3 - index)) }
        self.init(bytes: (0..<4).map { UInt8(truncatingIfNeeded: whole >> UInt64(24 - 8 * $0)) })
    }

    package var isIPv4: Bool { self.bytes.count == 4 }
}

extension IPAddress: CustomStringConvertible {
    package var description: String {
        if self.isIPv4 { return self.bytes.map(String.init).joined(separator: ".") }
        var buffer = [CChar](repeating: 0, count: Int(INET6_ADDRSTRLEN))
        return self.bytes.withUnsafeBytes { raw in
            inet_ntop(AF_INET6, raw.baseAddress!, &buffer, socklen_t(buffer.count))
            return String(decoding: buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
        }
    }
}

extension IPAddress {
    /// The address inside a `sockaddr_in` or `sockaddr_in6`.
    package init?(socketAddress: UnsafePointer<sockaddr>) {
        switch Int32(socketAddress.pointee.sa_family) {
        case AF_INET:
            let bytes = socketAddress.withMemoryRebound(to: sockaddr_in.self, capacity: 1) { pointer in
                withUnsafeBytes(of: pointer.pointee.sin_addr) { Array($0) }
            }
            self.init(bytes: bytes)
        case AF_INET6:
            let bytes = socketAddress.withMemoryRebound(to: sockaddr_in6.self, capacity: 1) { pointer in
                withUnsafeBytes(of: pointer.pointee.sin6_addr) { Array($0) }
            }
            self.init(bytes: bytes)
        default: return nil
        }
    }
}

/// A block of addresses in CIDR notation (RFC 4632); a bare address is a block of one. Host bits are ignored.
package struct IPNetwork: Sendable, Hashable {
    package let base: IPAddress
    package let prefixLength: Int

    package init?(_ text: String) {
        let parts = text.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false)
        guard let head = parts.first, let base = IPAddress(head) else { return nil }
        self.base = base
        let width = base.bytes.count * 8
        guard parts.count == 2 else {
            self.prefixLength = width
            return
        }
        guard !parts[1].isEmpty, parts[1].utf8.allSatisfy({ (0x30...0x39).contains($0) }), var length = Int(parts[1])
        else { return nil }
        // `::ffff:10.0.0.0/104` names 96 bits that an IPv4 address does not have.
        if base.isIPv4, head.contains(":") {
            guard length >= 96 else { return nil }
            length -= 96
        }
        guard length <= width else { return nil }
        self.prefixLength = length
    }

    package func contains(_ address: IPAddress) -> Bool {
        guard address.bytes.count == self.base.bytes.count else { return false }
        var left = self.prefixLength
        for (a, b) in zip(address.bytes, self.base.bytes) where left > 0 {
            let mask = left >= 8 ? UInt8.max : ~(UInt8.max >> UInt8(left))
            if a & mask != b & mask { return false }
            left -= 8
        }
        return true
    }
}
