// SPDX-License-Identifier: Apache-2.0

internal import GatewayCore

/// What a `Host` field may say: `uri-host [ ":" port ]` (RFC 9112 §3.2, RFC 3986 §3.2.2), or nothing.
enum HostSyntax {
    static func isValid(_ bytes: UnsafeRawBufferPointer) -> Bool {
        var end = bytes.count
        // An IPv6 address stands in brackets, and has colons of its own.
        if bytes.first == UInt8(ascii: "[") {
            guard let close = ByteSearch.first(UInt8(ascii: "]"), bytes, from: 1) else { return false }
            let address = String(decoding: UnsafeRawBufferPointer(rebasing: bytes[1..<close]), as: UTF8.self)
            guard address.utf8.contains(UInt8(ascii: ":")), IPAddress(address) != nil else { return false }
            return self.isPort(UnsafeRawBufferPointer(rebasing: bytes[(close + 1)...]))
        }
        if let colon = ByteSearch.first(UInt8(ascii: ":"), bytes, from: 0) {
            guard self.isPort(UnsafeRawBufferPointer(rebasing: bytes[colon...])) else { return false }
            end = colon
        }
        for index in 0..<end where !self.isNameByte(bytes[index]) { return false }
        return true
    }

    /// Nothing, or a colon and digits.
    private static func isPort(_ bytes: UnsafeRawBufferPointer) -> Bool {
        bytes.isEmpty
            || bytes[0] == UInt8(ascii: ":") && bytes.count <= 6
                && bytes.dropFirst().allSatisfy { (0x30...0x39).contains($0) }
    }

    /// `unreserved`, `pct-encoded` and `sub-delims`.
    @inline(__always)
    private static func isNameByte(_ byte: UInt8) -> Bool {
        switch byte {
        case 0x30...0x39, 0x41...0x5A, 0x61...0x7A, 0x2D, 0x2E: true
        default: "_~%!$&'()*+,;=".utf8.contains(byte)
        }
    }
}
