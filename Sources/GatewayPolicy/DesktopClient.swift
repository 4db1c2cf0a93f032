// SPDX-License-Identifier: Apache-2.0

internal import GatewayCore

/// Recognises Claude Desktop's sessions by the entry point in the User-Agent's parenthesis, as in
/// `claude-code/2.1.330 (external, claude-desktop)`.
package enum DesktopClient {
    private static let entryPoints: Set<String> = ["claude-desktop", "claude-desktop-3p", "local-agent"]

    package static func isDesktop(userAgent: String?) -> Bool {
        guard let userAgent, let open = userAgent.firstIndex(of: "("),
            let close = userAgent[open...].firstIndex(of: ")")
        else { return false }
        let inside = userAgent[userAgent.index(after: open)..<close]
        return inside.split(separator: ",").contains { self.entryPoints.contains(String($0).trimmingSpaces) }
    }
}
