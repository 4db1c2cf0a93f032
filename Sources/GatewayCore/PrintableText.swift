// SPDX-License-Identifier: Apache-2.0

extension String {
    /// This text with every control character made visible, so that it stays on the one line it is printed on.
    package var singleLine: String {
        guard self.unicodeScalars.contains(where: Self.isControl) else { return self }
        var out = ""
        for scalar in self.unicodeScalars {
            switch scalar {
            case "\n": out += "\\n"
            case "\r": out += "\\r"
            case "\t": out += "\\t"
            case let scalar where Self.isControl(scalar): out += "\\u{\(String(scalar.value, radix: 16))}"
            default: out.unicodeScalars.append(scalar)
            }
        }
        return out
    }

    /// Only the printable ASCII characters of this text, cut to `limit` characters with `...` after a cut.
    package func printableASCII(limit: Int) -> String {
        let kept = String(String.UnicodeScalarView(self.unicodeScalars.filter { (0x20...0x7E).contains($0.value) }))
        return kept.count > limit ? kept.prefix(limit) + "..." : kept
    }

    /// C0 and C1 controls, the Unicode line separators and the bidirectional overrides.
    private static func isControl(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar.value {
        case 0...0x1F, 0x7F...0x9F, 0x2028, 0x2029, 0x202A...0x202E, 0x2066...0x2069: true
        default: false
        }
    }
}
