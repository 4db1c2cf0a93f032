// SPDX-License-Identifier: Apache-2.0

/// Something that an operator may have to account for later. One event is one JSON line: `ts`, `evt`, then `fields` in
/// order. Names and fields are a contract with whoever collects the lines.
package struct AuditEvent: Sendable, Equatable {
    package let name: String
    /// `,"field":value` for each field: nearly every event ends as text and is never looked at again.
    private let text: [UInt8]
    /// The one of its words that it is counted by, where whoever made it has said so.
    package let label: String?

    package struct Field: Sendable, Equatable {
        package let name: String
        package let value: JSONValue
    }

    /// Fields whose value is `nil` are left out.
    package init(_ name: String, _ fields: KeyValuePairs<String, JSONValue?>) {
        var text: [UInt8] = []
        for (key, value) in fields {
            guard let value else { continue }
            text.append(0x2C)
            JSONValue.writeString(key, into: &text)
            text.append(0x3A)
            value.write(into: &text)
        }
        self.name = name
        self.text = text
        self.label = nil
    }

    /// An event that each request has: its fields are written as they are named.
    package init(_ name: String, countedBy label: String, _ write: (inout FieldWriter) -> Void) {
        var writer = FieldWriter()
        write(&writer)
        self.name = name
        self.text = writer.writer.bytes
        self.label = label
    }

    /// Writes fields. Names are the gateway's own words, which need no escapes.
    package struct FieldWriter: ~Copyable {
        @usableFromInline package var writer = JSONLineWriter()

        @inlinable @inline(__always)
        package mutating func begin(_ name: StaticString) {
            self.writer.raw(",\"")
            self.writer.raw(name)
            self.writer.raw("\":")
        }

        @inlinable @inline(__always)
        package mutating func add(_ name: StaticString, _ value: String) {
            self.begin(name)
            self.writer.string(value)
        }

        @inlinable @inline(__always)
        package mutating func add(_ name: StaticString, _ value: Int) {
            self.begin(name)
            self.writer.integer(value)
        }

        package mutating func add(_ name: StaticString, orNull value: String?) {
            self.begin(name)
            if let value { self.writer.string(value) } else { self.writer.raw("null") }
        }

        /// Left out without a value.
        package mutating func add(_ name: StaticString, ifAny value: String?) {
            if let value { self.add(name, value) }
        }

        package mutating func add(_ name: StaticString, ifAny value: Int?) {
            if let value { self.add(name, value) }
        }
    }

    package var fields: [Field] {
        guard case .object(let object)? = try? JSONValue(parsing: [0x7B] + self.text.dropFirst() + [0x7D]) else {
            return []
        }
        return object.members.map { Field(name: $0.key, value: $0.value) }
    }

    package subscript(_ name: String) -> JSONValue? {
        self.fields.first { $0.name == name }?.value
    }

    /// The line, without its end.
    package func line(at time: Timestamp) -> [UInt8] {
        var writer = JSONLineWriter(capacity: self.text.count + 64)
        writer.raw("{\"ts\":\"")
        writer.time(time)
        writer.raw("\",\"evt\":")
        writer.string(self.name)
        writer.raw(self.text)
        writer.raw("}")
        return writer.bytes
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
