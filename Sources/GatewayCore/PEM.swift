// SPDX-License-Identifier: Apache-2.0

/// Certificates in PEM (RFC 7468).
package enum PEM {
    private static let begin = "-----BEGIN CERTIFICATE-----"
    private static let end = "-----END CERTIFICATE-----"

    /// The text of each certificate, markers included; `nil` when there is none, or when a marker has no partner, or
    /// when something between markers is no Base64.
    package static func certificates(in text: String) -> [String]? {
        guard !text.contains("\0") else { return nil }
        var blocks: [String] = []
        var lines: [Substring]?
        for line in text.split(whereSeparator: \.isNewline) {
            switch String(line).trimmingSpaces {
            case self.begin:
                guard lines == nil else { return nil }
                lines = []
            case self.end:
                guard let inner = lines, let bytes = Base64.decode(inner.joined()), !bytes.isEmpty else { return nil }
                blocks.append(([Substring(self.begin)] + inner + [Substring(self.end)]).joined(separator: "\n") + "\n")
                lines = nil
            case let other: if lines != nil { lines?.append(Substring(other)) }
            }
        }
        return blocks.isEmpty || lines != nil ? nil : blocks
    }

    /// The bytes of one of those certificates.
    package static func bytes(_ certificate: String) -> [UInt8]? {
        Base64.decode(certificate.split(separator: "\n").filter { !$0.hasPrefix("-----") }.joined())
    }
}
