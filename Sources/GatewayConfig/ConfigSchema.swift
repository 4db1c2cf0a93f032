// SPDX-License-Identifier: Apache-2.0

package import GatewayCore

/// The key table as a JSON Schema (draft 2020-12), for editors and other validators. It says what a schema can say;
/// rules over several keys, and the content of URLs and secrets, are the validator's.
package enum ConfigSchema {
    package static let dialect = "https://json-schema.org/draft/2020-12/schema"

    package static func document(_ section: ConfigSection, title: String, id: String) -> JSONValue {
        var schema: JSONObject = ["$schema": .string(self.dialect), "$id": .string(id), "title": .string(title)]
        for (name, value) in self.schema(.section(section)).members { schema[name] = value }
        return .object(schema)
    }

    /// A text that a variable or a file will replace: its content is not known yet.
    private static let reference: JSONValue = ["type": "string", "pattern": "\\$\\{"]

    private static func schema(_ shape: ConfigShape) -> JSONObject {
        switch shape {
        case .open: return [:]
        case .boolean: return ["type": "boolean"]
        case .outboundURL: return ["type": "string", "pattern": "^\\s*[Hh][Tt][Tt][Pp][Ss]?://.|\\$\\{"]
        case .string(let minimum, let maximum):
            var schema: JSONObject = ["type": "string"]
            if minimum > 0 { schema["minLength"] = .integer(minimum) }
            if let maximum { schema["maxLength"] = .integer(maximum) }
            // A short reference may stand for a long text.
            return minimum > 1 || maximum != nil ? ["anyOf": [.object(schema), self.reference]] : schema
        case .number(let above, let minimum, let maximum):
            return self.number("number", above, minimum, maximum)
        case .integer(let above, let minimum, let maximum):
            return self.number("integer", above.map(Double.init), minimum.map(Double.init), maximum.map(Double.init))
        case .plainNumber(let above, let minimum, let maximum, let whole):
            return self.bounds(whole ? "integer" : "number", above, minimum, maximum)
        case .choice(let options):
            return ["anyOf": [["enum": .array(options.map(JSONValue.string))], self.reference]]
        case .list(let item, let minimum):
            var schema: JSONObject = ["type": "array", "items": .object(self.schema(item))]
            if minimum > 0 { schema["minItems"] = .integer(minimum) }
            return schema
        case .map(let value): return ["type": "object", "additionalProperties": .object(self.schema(value))]
        case .section(let section), .document(let section): return self.section(section)
        case .variants(let discriminator, let variants):
            return [
                "type": "object", "required": [.string(discriminator)],
                "anyOf": .array(
                    variants.map { name, section in
                        var schema = self.section(section)
                        var properties = schema["properties"]?.object ?? [:]
                        properties[discriminator] = ["const": .string(name)]
                        schema["properties"] = .object(properties)
                        return .object(schema)
                    }),
            ]
        case .either(let shapes): return ["anyOf": .array(shapes.map { .object(self.schema($0)) })]
        }
    }

    private static func bounds(_ type: String, _ above: Double?, _ minimum: Double?, _ maximum: Double?) -> JSONObject {
        var schema: JSONObject = ["type": .string(type)]
        if let above { schema["exclusiveMinimum"] = .number(above) }
        if let minimum { schema["minimum"] = .number(minimum) }
        if let maximum { schema["maximum"] = .number(maximum) }
        return schema
    }

    /// Numbers may also be written as text, which is what a variable gives.
    private static func number(_ type: String, _ above: Double?, _ minimum: Double?, _ maximum: Double?) -> JSONObject {
        let text: JSONValue = [
            "type": "string",
            "pattern":
                "^\\s*[-+]?([0-9]+\\.?[0-9]*([eE][-+]?[0-9]+)?|0[xX][0-9a-fA-F]+|0[oO][0-7]+|0[bB][01]+)\\s*$|\\$\\{",
        ]
        return ["anyOf": [.object(self.bounds(type, above, minimum, maximum)), text]]
    }

    private static func section(_ section: ConfigSection) -> JSONObject {
        var properties: JSONObject = [:]
        for key in section.keys {
            var schema = self.schema(key.shape)
            if !key.summary.isEmpty { schema["description"] = .string(key.summary) }
            if let value = key.defaultText.flatMap(self.value) { schema["default"] = value }
            properties[key.name] = .object(schema)
        }
        var schema: JSONObject = ["type": "object", "properties": .object(properties)]
        if !section.isOpen, section.stranger == nil || section.isStrict { schema["additionalProperties"] = false }
        let required = section.keys.filter(\.isRequired).map { JSONValue.string($0.name) }
        if !required.isEmpty { schema["required"] = .array(required) }
        return schema
    }

    /// A default as documentation writes it, where it is a value and not a description.
    private static func value(_ text: String) -> JSONValue? {
        if text == "true" { return true }
        if text == "false" { return false }
        if let number = Double(text) { return .number(number) }
        return text.contains(" ") || text.hasPrefix("[") ? nil : .string(text)
    }
}

extension ConfigSection {
    /// Whether an unknown key is a fault, as far as can be told: by asking about one that nobody would choose.
    fileprivate var isStrict: Bool {
        guard let (severity, _) = self.stranger?("\u{1}") else { return true }
        return severity == .error
    }
}
