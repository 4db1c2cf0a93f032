// SPDX-License-Identifier: Apache-2.0

internal import GatewayCore

/// Lays one `desktop` block over another: values are replaced whole, except that tools switched off add up, and that a
/// tool which the base restricts is not opened again.
enum DesktopMerge {
    static func merge(_ upper: JSONObject, over base: JSONObject) -> JSONObject {
        var out = base
        for (key, value) in upper.members {
            switch (key, base[key], value) {
            case ("disabledBuiltinTools", .array(let below)?, .array(let above)):
                var seen: Set<JSONValue> = []
                out[key] = .array((below + above).filter { seen.insert($0).inserted })
            case ("builtinToolPolicy", .object(let below)?, .object(let above)):
                var merged = below
                for (tool, policy) in above.members {
                    if policy == "allow", let known = below[tool], known != "allow" { continue }
                    merged[tool] = policy
                }
                out[key] = .object(merged)
            default: out[key] = value
            }
        }
        return out
    }
}
