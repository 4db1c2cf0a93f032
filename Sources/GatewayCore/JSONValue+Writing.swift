// SPDX-License-Identifier: Apache-2.0

extension JSONValue {
    /// How objects are written.
    package enum KeyOrder: Sendable {
        /// As the members were added.
        case insertion
        /// As the client of managed settings sorts them before it hashes: array indexes first, in numeric order (that
        /// is how JavaScript orders an object's own keys), then the rest by UTF-16 code unit.
        case canonical
    }

    /// The value as compact JSON text, with JavaScript's number and string formatting (ECMA-262, `JSON.stringify`).
    package func text(order: KeyOrder = .insertion) -> String {
        String(decoding: self.bytes(order: order), as: UTF8.self)
    }

    package func bytes(order: KeyOrder = .insertion) -> [UInt8] {
        var out: [UInt8] = []
        self.write(into: &out, order: order)
        return out
    }

    /// The value as JSON on several lines, two spaces a level, for people.
    package func prettyText() -> String {
        var out = ""
        self.writePretty(into: &out, indent: "")
        return out
    }

    package func write(into out: inout [UInt8], order: KeyOrder = .insertion) {
        switch self {
        case .null: out += "null".utf8
        case .bool(let value): out += (value ? "true" : "false").utf8
        case .number(let value): out += Self.javaScriptText(of: value).utf8
        case .string(let value): Self.writeString(value, into: &out)
        case .array(let items):
            out.append(0x5B)
            for (index, item) in items.enumerated() {
                if index > 0 { out.append(0x2C) }
                item.write(into: &out, order: order)
            }
            out.append(0x5D)
        case .object(let object):
            out.append(0x7B)
            var members = object.members
            if order != .insertion { members = Self.canonicalOrder(of: object.keys).map { ($0, object[$0]!) } }
            for (index, member) in members.enumerated() {
                if index > 0 { out.append(0x2C) }
                Self.writeString(member.key, into: &out)
                out.append(0x3A)
                member.value.write(into: &out, order: order)
            }
            out.append(0x7D)
        }
    }

    private func writePretty(into out: inout String, indent: String) {
        let deeper = indent + "  "
        switch self {
        case .array(let items) where !items.isEmpty:
            out += "[\n"
            for (index, item) in items.enumerated() {
                out += deeper
                item.writePretty(into: &out, indent: deeper)
                out += index + 1 < items.count ? ",\n" : "\n"
            }
            out += indent + "]"
        case .object(let object) where !object.isEmpty:
            out += "{\n"
            for (index, member) in object.members.enumerated() {
                out += deeper + JSONValue.string(member.key).text() + ": "
                member.value.writePretty(into: &out, indent: deeper)
                out += index + 1 < object.count ? ",\n" : "\n"
            }
            out += indent + "}"
        default: out += self.text()
        }
    }

    /// Writes a JSON string: only `"`, `\` and C0 controls are escaped; U+2028 is not.
    package static func writeString(_ text: String, into out: inout [UInt8]) {
        var writer = JSONLineWriter(capacity: text.utf8.count + 16)
        writer.string(text)
        out += writer.bytes
    }

    static func canonicalOrder(of keys: [String]) -> [String] {
        // ECMA-262 array index: a canonical decimal below 2^32 - 1.
        func index(_ key: String) -> UInt32? {
            guard let value = UInt32(key), value != .max, String(value) == key else { return nil }
            return value
        }
        return keys.sorted { left, right in
            switch (index(left), index(right)) {
            case (let a?, let b?): a < b
            case (_?, nil): true
            case (nil, _?): false
            case (nil, nil): left.utf16.lexicographicallyPrecedes(right.utf16)
            }
        }
    }

    /// ECMA-262 `Number::toString` in base 10; not-a-number and the infinities are `null`, as in `JSON.stringify`.
    package static func javaScriptText(of value: Double) -> String {
        guard value.isFinite else { return "null" }
        if value == 0 { return "0" }
        if let whole = Int64(exactly: value), abs(whole) < 1_000_000_000_000_000 { return String(whole) }
        // Swift prints the shortest digits that read back as the same double, as JavaScript does; only the placement of
        // the point and the exponent differ.
        var digits = ""
        var exponent = 0
        var mantissa = Substring(value.magnitude.description)
        if let e = mantissa.firstIndex(where: { $0 == "e" || $0 == "E" }) {
            exponent = Int(mantissa[mantissa.index(after: e)...].drop { $0 == "+" })!
            mantissa = mantissa[..<e]
        }
        let parts = mantissa.split(separator: ".", omittingEmptySubsequences: false)
        digits += parts[0]
        if parts.count > 1, parts[1] != "0" {
            digits += parts[1]
            exponent -= parts[1].count
        }
        let leading = digits.prefix { $0 == "0" }.count
        digits.removeFirst(min(leading, digits.count - 1))
        while digits.hasSuffix("0"), digits.count > 1 {
            digits.removeLast()
            exponent += 1
        }
        let sign = value < 0 ? "-" : ""
        let point = digits.count + exponent
        if (0...21).contains(exponent + digits.count), exponent >= 0 {
            return sign + digits + String(repeating: "0", count: exponent)
        }
        if (1...21).contains(point) {
            return sign + digits.prefix(point) + "." + digits.dropFirst(point)
        }
        if (-5...0).contains(point) {
            return sign + "0." + String(repeating: "0", count: -point) + digits
        }
        let power = point - 1
        let rest = digits.dropFirst()
        return sign + digits.prefix(1) + (rest.isEmpty ? "" : "." + rest) + "e" + (power < 0 ? "-" : "+")
            + String(abs(power))
    }
}
