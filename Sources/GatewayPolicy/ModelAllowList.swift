// SPDX-License-Identifier: Apache-2.0

internal import GatewayCore

/// A role's `availableModels`: which model strings a request may carry.
///
/// Entries are compared with the client's own string, not with the model it stands for. An entry is one of
/// - a family (`sonnet`, `opus`, `haiku`, `fable`): every string that contains it, unless the list also has a more
///   specific entry of that family;
/// - a prefix that ends at a hyphen, with or without the leading `claude-`: `claude-sonnet-4-5` allows
///   `claude-sonnet-4-5-20250929`, because clients send dated ids.
package struct ModelAllowList: Sendable, Equatable {
    private static let families = ["sonnet", "opus", "haiku", "fable"]

    private let families: [String]
    private let prefixes: [[UInt8]]

    package init(_ entries: [String]) {
        let cleaned = entries.map { entry in
            var text = entry.trimmingSpaces.lowercased()
            if text.hasSuffix("[1m]") { text.removeLast(4) }
            return text
        }.filter { !$0.isEmpty }
        let specific = cleaned.filter { !Self.families.contains($0) }
        self.families = Self.families.filter { family in
            cleaned.contains(family) && !specific.contains { $0.range(of: family) != nil }
        }
        self.prefixes = specific.flatMap { $0.hasPrefix("claude-") ? [$0] : [$0, "claude-" + $0] }.map {
            Array($0.utf8)
        }
    }

    package func allows(_ model: String) -> Bool {
        var name = model
        // Clients send them in lower case.
        let isLower = name.withUTF8 { bytes in
            for byte in bytes where byte >= 0x80 || (0x41...0x5A).contains(byte) { return false }
            return true
        }
        if !isLower { name = model.lowercased() }
        if self.families.contains(where: { name.range(of: $0) != nil }) { return true }
        return name.withUTF8 { name in
            self.prefixes.contains { prefix in
                prefix.withUnsafeBytes { UnsafeRawBufferPointer(name).starts(with: $0) }
                    && (name.count == prefix.count || name[prefix.count] == 0x2D)
            }
        }
    }
}
