// SPDX-License-Identifier: Apache-2.0

/// Where this machine keeps what must outlive the process.
enum StateFolder {
    /// The configured folder, else systemd's, else the user's; `nil` when the environment names none.
    static func path(_ configured: String?, _ variables: [String: String]) -> String? {
        if let configured { return configured }
        func named(_ variable: String) -> String? { variables[variable].flatMap { $0.isEmpty ? nil : $0 } }
        // systemd lists several, separated by colons.
        if let state = named("STATE_DIRECTORY") { return String(state.prefix { $0 != ":" }) }
        if let state = named("XDG_STATE_HOME"), state.hasPrefix("/") { return state + "/claude-gateway" }
        return named("HOME").map { $0 + "/.local/state/claude-gateway" }
    }
}
