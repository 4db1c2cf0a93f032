// SPDX-License-Identifier: Apache-2.0

/// `application/x-www-form-urlencoded` text, in bodies and queries (WHATWG URL §5).
package enum FormCoding {
    /// The fields of a form, in order. Malformed escapes stay as they are.
    package static func decode(_ bytes: some Collection<UInt8>) -> [(name: String, value: String)] {
        bytes.split(separator: 0x26).map { pair in
            let equals = pair.firstIndex(of: 0x3D)
            let name = pair[..<(equals ?? pair.endIndex)]
            let value = equals.map { pair[pair.index(after: $0)...] }
            return (self.unescape(name, plusIsSpace: true), value.map { self.unescape($0, plusIsSpace: true) } ?? "")
        }
    }

    /// The first value of each name. Where a name is repeated, the first wins.
    package static func firstValues(_ bytes: some Collection<UInt8>) -> [String: String] {
        Dictionary(self.decode(bytes).map { ($0.name, $0.value) }) { first, _ in first }
    }

    package static func encode(_ fields: [(String, String)]) -> String {
        fields.map { "\(self.escape($0.0))=\(self.escape($0.1))" }.joined(separator: "&")
    }

    /// Percent-encodes everything but RFC 3986's unreserved characters.
    package static func escape(_ text: String) -> String {
        var out = ""
        for byte in text.utf8 {
            switch byte {
            case 0x30...0x39, 0x41...0x5A, 0x61...0x7A, 0x2D, 0x2E, 0x5F, 0x7E: out.unicodeScalars.append(.init(byte))
            default: out += "%" + hex(byte >> 4) + hex(byte & 15)
            }
        }
        return out
    }

    package static func unescape(_ bytes: some Collection<UInt8>, plusIsSpace: Bool) -> String {
        var out: [UInt8] = []
        var rest = Array(bytes)[...]
        while let byte = rest.popFirst() {
            if byte == 0x25, rest.count >= 2, let high = nibble(rest[rest.startIndex]),
                let low = nibble(rest[rest.startIndex + 1])
            {
                out.append(high << 4 | low)
                rest = rest.dropFirst(2)
            } else {
                out.append(byte == 0x2B && plusIsSpace ? 0x20 : byte)
            }
        }
        return String(decoding: out, as: UTF8.self)
    }

    private static func hex(_ nibble: UInt8) -> String {
        String(nibble, radix: 16, uppercase: true)
    }

    private static func nibble(_ byte: UInt8) -> UInt8? {
        switch byte {
        case 0x30...0x39: byte - 0x30
        case 0x41...0x46: byte - 0x37
        case 0x61...0x66: byte - 0x57
        default: nil
        }
    }
}
