// SPDX-License-Identifier: Apache-2.0

/// A JSON value (RFC 8259) whose objects keep the order of their keys.
///
/// Numbers are IEEE doubles, as in the JavaScript that managed settings and checksums are compared with.
package enum JSONValue: Sendable, Hashable {
    case null
    case bool(Bool)
    case number(Double)
    case string(String)
    case array([JSONValue])
    case object(JSONObject)

    package static func integer(_ value: some BinaryInteger) -> JSONValue {
        .number(Double(value))
    }

    /// The member of that name; `nil` when this is no object or lacks it.
    package subscript(_ key: String) -> JSONValue? {
        guard case .object(let object) = self else { return nil }
        return object[key]
    }

    package var string: String? {
        guard case .string(let value) = self else { return nil }
        return value
    }

    package var number: Double? {
        guard case .number(let value) = self else { return nil }
        return value
    }

    package var bool: Bool? {
        guard case .bool(let value) = self else { return nil }
        return value
    }

    package var array: [JSONValue]? {
        guard case .array(let value) = self else { return nil }
        return value
    }

    package var object: JSONObject? {
        guard case .object(let value) = self else { return nil }
        return value
    }

    /// The number as whole seconds, bytes or counts; `nil` when it has a fraction or does not fit.
    package var integer: Int? {
        guard case .number(let value) = self else { return nil }
        return Int(exactly: value)
    }
}

/// The members of a JSON object, in the order in which they were added.
package struct JSONObject: Sendable, Hashable, ExpressibleByDictionaryLiteral {
    private struct Member: Sendable, Hashable {
        let key: String
        var value: JSONValue
    }

    /// So many members are searched one by one, which is faster than a table of a few.
    private static let fewMembers = 16

    private var list: [Member] = []
    /// Places in `list`; empty while the members are few.
    private var places: [String: Int] = [:]

    package init() {}

    package init(dictionaryLiteral elements: (String, JSONValue)...) {
        self.list.reserveCapacity(elements.count)
        for (key, value) in elements { self[key] = value }
    }

    private func place(of key: String) -> Int? {
        self.places.isEmpty ? self.list.firstIndex { $0.key == key } : self.places[key]
    }

    /// Setting a key again keeps its place; setting `nil` removes it.
    package subscript(_ key: String) -> JSONValue? {
        get { self.place(of: key).map { self.list[$0].value } }
        set {
            switch (self.place(of: key), newValue) {
            case (let place?, let value?): self.list[place].value = value
            case (nil, let value?):
                self.list.append(Member(key: key, value: value))
                if self.list.count > Self.fewMembers { self.note() }
            case (let place?, nil):
                self.list.remove(at: place)
                self.places = [:]
                if self.list.count > Self.fewMembers { self.note() }
            case (nil, nil): break
            }
        }
    }

    /// Enters the last member, or all of them, into the table.
    private mutating func note() {
        let first = self.places.isEmpty ? 0 : self.list.count - 1
        for place in first..<self.list.count { self.places[self.list[place].key] = place }
    }

    package var keys: [String] { self.list.map(\.key) }
    package var isEmpty: Bool { self.list.isEmpty }
    package var count: Int { self.list.count }

    /// The members, in order.
    package var members: [(key: String, value: JSONValue)] {
        self.list.map { ($0.key, $0.value) }
    }
}

extension JSONValue: ExpressibleByStringLiteral, ExpressibleByBooleanLiteral, ExpressibleByIntegerLiteral,
    ExpressibleByArrayLiteral, ExpressibleByDictionaryLiteral
{
    package init(stringLiteral value: String) { self = .string(value) }
    package init(booleanLiteral value: Bool) { self = .bool(value) }
    package init(integerLiteral value: Int) { self = .number(Double(value)) }
    package init(arrayLiteral elements: JSONValue...) { self = .array(elements) }
    package init(dictionaryLiteral elements: (String, JSONValue)...) {
        var object = JSONObject()
        for (key, value) in elements { object[key] = value }
        self = .object(object)
    }
}
