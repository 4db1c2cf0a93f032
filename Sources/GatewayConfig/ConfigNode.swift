// SPDX-License-Identifier: Apache-2.0

package import GatewayCore

/// A value of a configuration file together with where it stands, so that whoever judges it can point at it.
package struct ConfigNode: Sendable {
    package indirect enum Value: Sendable {
        case null
        case boolean(Bool)
        case number(Double)
        case string(String)
        case list([ConfigNode])
        case mapping([Member])
    }

    /// One key of a mapping. `position` is the key's own place.
    package struct Member: Sendable {
        package let key: String
        package let position: ConfigPosition
        package let value: ConfigNode

        package init(key: String, position: ConfigPosition, value: ConfigNode) {
            self.key = key
            self.position = position
            self.value = value
        }
    }

    package let value: Value
    package let position: ConfigPosition
    package let path: ConfigPath
    /// Whether the text held a `${…}` that was left as it stands because secrets are not being resolved. Its content
    /// is then unknown, and rules about content do not apply.
    package let isUnresolved: Bool
    /// Whether the text came, in part or whole, from a variable or a file. Such a value is never quoted.
    package let isExpanded: Bool

    package init(
        _ value: Value,
        at position: ConfigPosition = ConfigPosition(line: 1, column: 1),
        path: ConfigPath = ConfigPath(),
        isUnresolved: Bool = false,
        isExpanded: Bool = false,
    ) {
        self.value = value
        self.position = position
        self.path = path
        self.isUnresolved = isUnresolved
        self.isExpanded = isExpanded
    }

    /// The value of a JSON list or object that stands in another value's text; its parts have the text's own place.
    ///
    /// - Returns: `nil` when the text is no such thing.
    package init?(json text: String, at node: ConfigNode) {
        guard let first = text.trimmingSpaces.first, first == "{" || first == "[",
            let value = try? JSONValue(parsing: Array(text.utf8))
        else { return nil }
        self.init(value, at: node.position, path: node.path)
    }

    private init(_ json: JSONValue, at position: ConfigPosition, path: ConfigPath) {
        let value: Value
        switch json {
        case .null: value = .null
        case .bool(let flag): value = .boolean(flag)
        case .string(let text): value = .string(text)
        case .array(let items):
            value = .list(
                items.enumerated().map { ConfigNode($1, at: position, path: path.appending(index: $0)) })
        case .object(let object):
            value = .mapping(
                object.members.map { name, item in
                    Member(
                        key: name, position: position,
                        value: ConfigNode(item, at: position, path: path.appending(name.singleLine)))
                })
        case .number(let number): value = .number(number)
        }
        self.init(value, at: position, path: path)
    }

    /// The value of that key; `nil` when this is no mapping or lacks it.
    package subscript(_ key: String) -> ConfigNode? {
        guard case .mapping(let members) = self.value else { return nil }
        return members.last { $0.key == key }?.value
    }

    package var members: [Member] {
        guard case .mapping(let members) = self.value else { return [] }
        return members
    }

    package var list: [ConfigNode] {
        guard case .list(let items) = self.value else { return [] }
        return items
    }

    package var string: String? {
        guard case .string(let text) = self.value else { return nil }
        return text
    }

    package var boolean: Bool? {
        guard case .boolean(let value) = self.value else { return nil }
        return value
    }

    /// The value as a number by the rules of `ScalarCoercion`.
    package var number: Double? {
        ScalarCoercion.number(self.value)
    }

    package var integer: Int? {
        self.number.flatMap { Int(exactly: $0) }
    }

    package var strings: [String] {
        self.list.compactMap(\.string)
    }

    package var secret: Secret? {
        self.string.map(Secret.init)
    }

    package var isNull: Bool {
        guard case .null = self.value else { return false }
        return true
    }

    /// What the value is, in the words of a fault.
    package var kind: String {
        switch self.value {
        case .null: "nothing (null)"
        case .boolean: "a boolean"
        case .number: "a number"
        case .string: "a string"
        case .list: "a list"
        case .mapping: "a mapping"
        }
    }

    /// The value as JSON, for documents that are passed on.
    package var json: JSONValue {
        switch self.value {
        case .null: .null
        case .boolean(let value): .bool(value)
        case .number(let value): .number(value)
        case .string(let value): .string(value)
        case .list(let items): .array(items.map(\.json))
        case .mapping(let members):
            .object(
                members.reduce(into: JSONObject()) { object, member in
                    object[member.key] = member.value.json
                })
        }
    }
}
