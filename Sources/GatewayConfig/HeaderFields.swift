// SPDX-License-Identifier: Apache-2.0

internal import GatewayCore

/// HTTP header fields that a configuration adds to outgoing requests (RFC 9110 §5).
package enum HeaderFields {
    /// Reports names that are no tokens, names that are listed twice, and values that cannot be sent.
    ///
    /// - Parameter takesEmpty: Whether a value may be empty.
    package static func inspect(_ node: ConfigNode, takesEmpty: Bool = false, into report: inout ConfigReport) {
        var seen: Set<String> = []
        for member in node.members {
            let name = member.key.lowercased()
            func fault(_ message: String) {
                report.add(ConfigFault(.error, at: member.position, member.value.path, message))
            }
            guard self.isToken(name) else {
                fault("'\(member.key.singleLine)' is not a valid header name; use letters, digits and hyphens.")
                continue
            }
            if !seen.insert(name).inserted { fault("is listed twice; header names ignore case. Keep one of them.") }
            guard !member.value.isUnresolved, let text = member.value.string else { continue }
            if text.isEmpty, takesEmpty { continue }
            if !self.isFieldValue(text) {
                let hint = member.value.isExpanded ? "; check the variable or file it comes from" : ""
                fault("must be printable ASCII without spaces at its ends and not empty\(hint).")
            }
        }
    }

    /// RFC 9110 §5.6.2.
    package static func isToken(_ text: String) -> Bool {
        !text.isEmpty
            && text.utf8.allSatisfy { byte in
                switch byte {
                case 0x30...0x39, 0x41...0x5A, 0x61...0x7A: true
                default: "!#$%&'*+-.^_`|~".utf8.contains(byte)
                }
            }
    }

    package static func isFieldValue(_ text: String) -> Bool {
        !text.isEmpty && text.utf8.allSatisfy { (0x20...0x7E).contains($0) } && text.utf8.first != 0x20
            && text.utf8.last != 0x20
    }
}
