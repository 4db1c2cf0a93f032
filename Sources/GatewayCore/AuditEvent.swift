// SPDX-License-Identifier: Apache-2.0

/// Something that an operator may have to account for later. One event is one JSON line: `ts`, `evt`, then `fields` in
/// order. Names and fields are a contract with whoever collects the lines.
package struct AuditEvent: Sendable, Equatable {
    package let name: String
    package private(set) var fields: [Field]

    package struct Field: Sendable, Equatable {
        package let name: String
        package let value: JSONValue
    }

    /// Fields whose value is `nil` are left out.
    package init(_ name: String, _ fields: KeyValuePairs<String, JSONValue?>) {
        self.name = name
        self.fields = fields.compactMap { field in field.value.map { Field(name: field.key, value: $0) } }
    }

    package subscript(_ name: String) -> JSONValue? {
        self.fields.first { $0.name == name }?.value
    }

    /// The line, without its end.
    package func line(at time: Timestamp) -> [UInt8] {
        var out = Array("{\"ts\":\"\(time)\",\"evt\":".utf8)
        JSONValue.writeString(self.name, into: &out)
        for field in self.fields {
            out.append(0x2C)
            JSONValue.writeString(field.name, into: &out)
            out.append(0x3A)
            field.value.write(into: &out)
        }
        out.append(0x7D)
        return out
    }
}

/// Where audit events go.
package protocol AuditSink: Sendable {
    func record(_ event: AuditEvent)
}

extension Optional where Wrapped == String {
    /// The text, or JSON's null.
    package var jsonOrNull: JSONValue {
        self.map(JSONValue.string) ?? .null
    }
}
