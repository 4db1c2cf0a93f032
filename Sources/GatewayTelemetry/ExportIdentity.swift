// SPDX-License-Identifier: Apache-2.0

package import GatewayCore
internal import NIOCore
internal import NIOEmbedded
internal import NIOHTTP1
internal import NIOHTTPCompression

/// Compares an OTLP export's resource attributes with the developer who sent it, so that nobody's usage can be
/// attributed to somebody else.
///
/// The three signals have the same outer form (`opentelemetry/proto/collector/*/v1`): the request's field 1 is a list of
/// resource groups, a group's field 1 its resource, and a resource's field 1 its attributes.
package struct ExportIdentity: Sendable {
    package enum Mode: String, Sendable, CaseIterable {
        case off
        /// The attributes are replaced by the developer's own.
        case stamp
        /// An export with other values than the developer's is refused.
        case reject
    }

    package enum Refusal: Error, Sendable, Equatable, CustomStringConvertible {
        case unreadable
        case foreign(attribute: String)

        package var description: String {
            switch self {
            case .unreadable: "the export is no OTLP request that this gateway can read"
            case .foreign(let attribute):
                "the resource attribute \(attribute) does not belong to the signed-in developer"
            }
        }
    }

    package struct Body: Sendable, Equatable {
        package let bytes: [UInt8]
        package let contentEncoding: String?
    }

    /// A compressed export may not grow to more than this.
    static let maximumBytes = 64 << 20

    private let mode: Mode
    private let values: [(name: String, value: String?)]

    package init(mode: Mode, principal: Principal) {
        self.mode = mode
        let groups = (principal.groups ?? []).joined(separator: ",")
        self.values = [
            ("user.id", principal.subject), ("user.email", principal.email),
            ("user.groups", groups.isEmpty ? nil : groups), ("enduser.id", principal.email ?? principal.subject),
            ("enduser.sub", principal.subject),
        ]
    }

    /// - Returns: The export as it may be passed on: as it came, unless it is to be stamped.
    package func admit(_ bytes: [UInt8], contentType: String?, contentEncoding: String?) throws(Refusal) -> Body {
        let asItCame = Body(bytes: bytes, contentEncoding: contentEncoding)
        guard self.mode != .off else { return asItCame }
        let plain = try Self.inflate(bytes, contentEncoding)
        let isJSON = contentType?.lowercased().hasPrefix("application/json") == true
        do {
            let stamped = isJSON ? try self.json(plain) : try self.protobuf(plain[...])
            return self.mode == .reject ? asItCame : Body(bytes: stamped, contentEncoding: nil)
        } catch let refusal as Refusal {
            throw refusal
        } catch {
            throw .unreadable
        }
    }

    private func check(_ name: String, _ value: String?) throws(Refusal) {
        guard self.mode == .reject, let own = self.values.first(where: { $0.name == name }) else { return }
        if own.value != value { throw .foreign(attribute: name) }
    }

    private func isIdentity(_ name: String) -> Bool {
        self.values.contains { $0.name == name }
    }

    // MARK: Protocol Buffers

    private func protobuf(_ bytes: ArraySlice<UInt8>) throws -> [UInt8] {
        try Self.rewrite(bytes) { group in
            var hasResource = false
            var out = try Self.rewrite(group) { resource in
                hasResource = true
                return try self.stamp(resource)
            }
            if !hasResource { out += ProtobufFields.field(1, try self.stamp([])) }
            return out
        }
    }

    /// Replaces the values of field 1 and leaves the others alone.
    private static func rewrite(_ bytes: ArraySlice<UInt8>, _ change: (ArraySlice<UInt8>) throws -> [UInt8]) throws
        -> [UInt8]
    {
        var out: [UInt8] = []
        out.reserveCapacity(bytes.count)
        try ProtobufFields.forEach(bytes) { field in
            if field.number == 1 {
                guard let value = field.value else { throw ProtobufFields.Malformed() }
                out += ProtobufFields.field(1, try change(value))
            } else {
                out += field.whole
            }
        }
        return out
    }

    private func stamp(_ resource: ArraySlice<UInt8>) throws -> [UInt8] {
        var out: [UInt8] = []
        try ProtobufFields.forEach(resource) { field in
            guard field.number == 1 else {
                out += field.whole
                return
            }
            guard let attribute = field.value else { throw ProtobufFields.Malformed() }
            let (name, value) = try Self.attribute(attribute)
            try self.check(name, value)
            if !self.isIdentity(name) { out += field.whole }
        }
        for (name, value) in self.values {
            guard let value else { continue }
            let any = ProtobufFields.field(1, Array(value.utf8))
            out += ProtobufFields.field(
                1, ProtobufFields.field(1, Array(name.utf8)) + ProtobufFields.field(2, any))
        }
        return out
    }

    /// `KeyValue`: the last of repeated fields counts, as decoders read them.
    private static func attribute(_ bytes: ArraySlice<UInt8>) throws -> (name: String, value: String?) {
        var name = ""
        var value: String?
        try ProtobufFields.forEach(bytes) { field in
            guard let inner = field.value else { return }
            if field.number == 1 { name = String(decoding: inner, as: UTF8.self) }
            guard field.number == 2 else { return }
            value = nil
            try ProtobufFields.forEach(inner) { any in
                value = any.number == 1 ? any.value.map { String(decoding: $0, as: UTF8.self) } : nil
            }
        }
        return (name, value)
    }

    // MARK: JSON

    private func json(_ bytes: [UInt8]) throws -> [UInt8] {
        guard case .object(var root) = try JSONValue(parsing: bytes) else { throw Refusal.unreadable }
        for key in ["resourceMetrics", "resourceLogs", "resourceSpans"] {
            guard let groups = root[key] else { continue }
            guard let list = groups.array else { throw Refusal.unreadable }
            root[key] = .array(
                try list.map { group in
                    guard case .object(var members) = group else { throw Refusal.unreadable }
                    members["resource"] = try self.stamp(members["resource"])
                    return .object(members)
                })
        }
        // The other spelling that Protocol Buffers' JSON allows.
        if ["resource_metrics", "resource_logs", "resource_spans"].contains(where: { root[$0] != nil }) {
            throw Refusal.unreadable
        }
        return JSONValue.object(root).bytes()
    }

    private func stamp(_ resource: JSONValue?) throws -> JSONValue {
        var members: JSONObject = [:]
        switch resource {
        case nil, .null?: break
        case .object(let object)?: members = object
        default: throw Refusal.unreadable
        }
        var kept: [JSONValue] = []
        for attribute in members["attributes"]?.array ?? [] {
            let name = attribute["key"]?.string ?? ""
            try self.check(
                name, attribute["value"]?["stringValue"]?.string ?? attribute["value"]?["string_value"]?.string)
            if !self.isIdentity(name) { kept.append(attribute) }
        }
        for (name, value) in self.values {
            guard let value else { continue }
            kept.append(["key": .string(name), "value": ["stringValue": .string(value)]])
        }
        members["attributes"] = .array(kept)
        return .object(members)
    }

    // MARK: Compression

    /// The body without its content encoding, through the decompressor that the server's HTTP library brings.
    private static func inflate(_ bytes: [UInt8], _ encoding: String?) throws(Refusal) -> [UInt8] {
        guard let encoding, encoding.lowercased() != "identity" else { return bytes }
        guard ["gzip", "deflate"].contains(encoding.lowercased()) else { throw .unreadable }
        let channel = EmbeddedChannel()
        do {
            try channel.pipeline.syncOperations.addHandler(
                NIOHTTPRequestDecompressor(limit: .size(self.maximumBytes)))
            var head = HTTPRequestHead(version: .http1_1, method: .POST, uri: "/")
            head.headers = ["content-encoding": encoding.lowercased(), "content-length": String(bytes.count)]
            try channel.writeInbound(HTTPServerRequestPart.head(head))
            try channel.writeInbound(HTTPServerRequestPart.body(ByteBuffer(bytes: bytes)))
            try channel.writeInbound(HTTPServerRequestPart.end(nil))
            var out: [UInt8] = []
            while let part = try channel.readInbound(as: HTTPServerRequestPart.self) {
                if case .body(let piece) = part { out += piece.readableBytesView }
            }
            _ = try? channel.finish()
            return out
        } catch {
            _ = try? channel.finish()
            throw .unreadable
        }
    }
}
