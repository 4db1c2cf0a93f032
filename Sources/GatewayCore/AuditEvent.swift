// SPDX-License-Identifier: Apache-2.0

/// Something that an operator may have to account for later. One event is one JSON line: `ts`, `evt`, then its fields in
/// order. Names and fields are a contract with whoever collects the lines.
///
/// It is written as it is made: nearly every event ends as text and is never looked at again.
package struct AuditEvent: Sendable {
    package let name: String
    /// The whole line, with its end.
    package let line: [UInt8]
    /// The one of its words that it is counted by, where whoever made it has said so.
    package let label: String?

    /// So long are most lines.
    private static let usualLine = 512

    package struct Field: Sendable, Equatable {
        package let name: String
        package let value: JSONValue
    }

    /// Fields whose value is `nil` are left out.
    ///
    /// - Parameter name: A word of the gateway's own, which needs no escapes.
    package init(_ name: String, _ fields: KeyValuePairs<String, JSONValue?>) {
        var text: [UInt8] = []
        for (key, value) in fields {
            guard let value else { continue }
            text.append(0x2C)
            JSONValue.writeString(key, into: &text)
            text.append(0x3A)
            value.write(into: &text)
        }
        self.init(name, label: nil) { $0.add(text) }
    }

    /// An event that each request has: its fields are written as they are named.
    package init(_ name: String, countedBy label: String, _ write: (inout FieldWriter) -> Void) {
        self.init(name, label: label, write)
    }

    private init(_ name: String, label: String?, _ write: (inout FieldWriter) -> Void) {
        self.name = name
        self.label = label
        self.line = withUnsafeTemporaryAllocation(of: UInt8.self, capacity: Self.usualLine) { memory in
            var fields = FieldWriter(JSONLineWriter(in: memory))
            fields.writer.raw("{\"ts\":\"")
            fields.writer.time(.now)
            fields.writer.raw("\",\"evt\":\"")
            fields.writer.raw(word: name)
            fields.writer.raw("\"")
            write(&fields)
            fields.writer.raw("}\n")
            return fields.writer.bytes
        }
    }

    /// Writes fields. Names are the gateway's own words, which need no escapes.
    package struct FieldWriter: ~Copyable {
        @usableFromInline package var writer: JSONLineWriter

        init(_ writer: consuming JSONLineWriter) {
            self.writer = writer
        }

        @inlinable @inline(__always)
        package mutating func begin(_ name: StaticString) {
            self.writer.key(name)
        }

        package mutating func add(_ name: StaticString, _ value: String) {
            self.begin(name)
            self.writer.string(value)
        }

        /// - Parameter word: What needs no escapes, such as the gateway's own words and request ids.
        package mutating func add(_ name: StaticString, word: String) {
            self.begin(name)
            self.writer.raw("\"")
            self.writer.raw(word: word)
            self.writer.raw("\"")
        }

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

        /// Fields that were written before.
        package mutating func add(_ fields: [UInt8]) {
            self.writer.raw(fields)
        }
    }

    /// Fields as they stand in a line, each behind its comma: for those that many events have.
    package static func fields(_ write: (inout FieldWriter) -> Void) -> [UInt8] {
        var fields = FieldWriter(JSONLineWriter())
        write(&fields)
        return fields.writer.bytes
    }

    package var fields: [Field] {
        guard case .object(let object)? = try? JSONValue(parsing: self.line) else { return [] }
        return object.members.dropFirst(2).map { Field(name: $0.key, value: $0.value) }
    }

    package subscript(_ name: String) -> JSONValue? {
        self.fields.first { $0.name == name }?.value
    }
}

extension AuditEvent: Equatable {
    /// Whether they say the same, whenever they were made.
    package static func == (left: AuditEvent, right: AuditEvent) -> Bool {
        left.name == right.name && left.fields == right.fields && left.label == right.label
    }
}

/// Where audit events go.
package protocol AuditSink: Sendable {
    func record(_ event: AuditEvent)
    /// The same for one thread that has many events at a time; `nil` where that makes no difference.
    func gathering() -> (any AuditGathering)?
}

extension AuditSink {
    package func gathering() -> (any AuditGathering)? { nil }
}

/// Takes what one thread has many of, and hands it on together.
package protocol Gathering: AnyObject {
    /// Hands on what has been gathered.
    func flush()
}

/// Takes the events of one thread.
package protocol AuditGathering: Gathering {
    func record(_ event: AuditEvent)
}

extension Optional where Wrapped == String {
    /// The text, or JSON's null.
    package var jsonOrNull: JSONValue {
        self.map(JSONValue.string) ?? .null
    }
}
