// SPDX-License-Identifier: Apache-2.0

package import GatewayCore

/// Lays one settings document over another by the rules that clients and operators know.
///
/// - Restrictions add up: `permissions.deny`, `permissions.ask`, `disabledMcpjsonServers`, `deniedMcpServers`,
///   `blockedMarketplaces` and each event of `hooks` are united, the base's entries first, equal ones once.
/// - `env`, `modelOverrides`, `skillOverrides` merge key by key, as do `permissions` and `hooks` themselves.
/// - Everything else is replaced whole, and a key that the upper document lacks is inherited.
package enum SettingsMerge {
    private static let united: Set<String> = ["disabledMcpjsonServers", "deniedMcpServers", "blockedMarketplaces"]
    private static let mergedByKey: Set<String> = ["env", "modelOverrides", "skillOverrides"]

    /// Whether a key's parts are merged one by one.
    static func mergesParts(of key: String) -> Bool {
        self.mergedByKey.contains(key) || key == "permissions" || key == "hooks"
    }

    static func unites(_ key: String) -> Bool { self.united.contains(key) }

    static func unites(_ part: String, of key: String) -> Bool {
        key == "hooks" || (key == "permissions" && (part == "deny" || part == "ask"))
    }

    package static func merge(_ upper: JSONObject, over base: JSONObject) -> JSONObject {
        var out = base
        for (key, value) in upper.members {
            guard let below = base[key] else {
                out[key] = value
                continue
            }
            switch (below, value) {
            case (.array(let a), .array(let b)) where self.united.contains(key): out[key] = .array(self.union(a, b))
            case (.object(let a), .object(let b)) where self.mergedByKey.contains(key):
                out[key] = .object(self.overlay(b, over: a) { _, _, value in value })
            case (.object(let a), .object(let b)) where key == "permissions":
                out[key] = .object(
                    self.overlay(b, over: a) { name, below, value in
                        name == "deny" || name == "ask" ? self.unionOrUpper(below, value) : value
                    })
            case (.object(let a), .object(let b)) where key == "hooks":
                out[key] = .object(self.overlay(b, over: a) { _, below, value in self.unionOrUpper(below, value) })
            default: out[key] = value
            }
        }
        return out
    }

    private static func overlay(
        _ upper: JSONObject, over base: JSONObject, _ combine: (String, JSONValue, JSONValue) -> JSONValue,
    ) -> JSONObject {
        var out = base
        for (key, value) in upper.members {
            out[key] = base[key].map { combine(key, $0, value) } ?? value
        }
        return out
    }

    private static func unionOrUpper(_ below: JSONValue, _ upper: JSONValue) -> JSONValue {
        guard case (.array(let a), .array(let b)) = (below, upper) else { return upper }
        return .array(self.union(a, b))
    }

    private static func union(_ base: [JSONValue], _ upper: [JSONValue]) -> [JSONValue] {
        var seen: Set<JSONValue> = []
        return (base + upper).filter { seen.insert($0).inserted }
    }
}
