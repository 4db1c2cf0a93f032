// SPDX-License-Identifier: Apache-2.0

internal import GatewayCore

/// How a scalar becomes a number where a number is asked for: as JavaScript's `Number()` does it, because existing
/// files are written against that. `"8"`, `" 0x10 "`, `true` and an empty value are numbers; `32MiB` is not.
package enum ScalarCoercion {
    package static func number(_ value: ConfigNode.Value) -> Double? {
        switch value {
        case .null: 0
        case .boolean(let flag): flag ? 1 : 0
        case .number(let number): number
        case .string(let text): self.number(text)
        case .list, .mapping: nil
        }
    }

    static func number(_ text: String) -> Double? {
        let text = text.trimmingSpaces
        if text.isEmpty { return 0 }
        let lower = text.lowercased()
        for (prefix, radix) in [("0x", 16), ("0o", 8), ("0b", 2)] where lower.hasPrefix(prefix) {
            return UInt64(lower.dropFirst(2), radix: radix).map { Double($0) }
        }
        guard text.utf8.allSatisfy({ (0x30...0x39).contains($0) || [0x2B, 0x2D, 0x2E, 0x45, 0x65].contains($0) }) else {
            return nil
        }
        return Double(text)
    }
}
