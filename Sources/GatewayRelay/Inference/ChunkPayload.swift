// SPDX-License-Identifier: Apache-2.0

internal import CByteScan
internal import GatewayCore
internal import NIOCore

/// The payload of a Bedrock `chunk` (`PayloadPart` of InvokeModelWithResponseStream): an object with an event's JSON in
/// base64 under `bytes`, and padding under `p`.
enum ChunkPayload {
    case event(type: String, json: [UInt8])
    case error(type: String?)

    /// Reads it whatever its form.
    init?(parsing payload: UnsafeRawBufferPointer) {
        guard let outer = try? JSONValue(parsing: Array(payload)), let text = outer["bytes"]?.string,
            let json = Base64.decode(text), let event = try? JSONValue(parsing: json),
            let type = event["type"]?.string
        else { return nil }
        self = type == "error" ? .error(type: event["error"]?["type"]?.string) : .event(type: type, json: json)
    }

    private static let begin: StaticString = "{\"bytes\":\""
    private static let typeBegin: StaticString = "{\"type\":\""
    private static let nameLimit = 64

    /// Writes the event as server-sent events have it, straight from memory to memory, if the payload has the form in
    /// which Bedrock writes it: no spaces, `bytes` first, and `type` first in the event.
    ///
    /// - Returns: The event's type; `nil` when nothing was written, because the form is another or the event is an error.
    static func write(_ payload: UnsafeRawBufferPointer, to events: inout ByteBuffer) -> EventType? {
        let start = self.begin.utf8CodeUnitCount
        guard payload.count > start, payload.starts(with: self.begin),
            let end = ByteSearch.first(0x22, payload, from: start),
            self.isPadding(UnsafeRawBufferPointer(rebasing: payload[(end + 1)...]))
        else { return nil }
        let text = UnsafeRawBufferPointer(rebasing: payload[start..<end])
        // The JSON is written where it is sure to be behind its line's begin, and moved there.
        let room = 16 + self.nameLimit
        var found: EventType?
        events.writeWithUnsafeMutableBytes(minimumWritableBytes: room + text.count / 4 * 3 + 8) { space in
            let place = UnsafeMutableRawBufferPointer(rebasing: space[room...])
            guard let count = Base64.decode(text, into: place) else { return 0 }
            let json = UnsafeRawBufferPointer(rebasing: place[..<count])
            guard let name = self.name(in: json), self.isOneLine(json) else { return 0 }
            let type = UnsafeRawBufferPointer(rebasing: json[name])
            if type.equals("error") { return 0 }
            found = type.equals("ping") ? .ping : .other
            var writer = Writer(space: space)
            writer.put("event: ")
            writer.put(type)
            writer.put("\ndata: ")
            writer.put(json)
            writer.put("\n\n")
            return writer.count
        }
        return found
    }

    enum EventType {
        case ping
        case other
    }

    /// Bytes one behind the other; what is put may lie further on in the same memory.
    private struct Writer {
        let space: UnsafeMutableRawBufferPointer
        var count = 0

        init(space: UnsafeMutableRawBufferPointer) {
            self.space = space
        }

        mutating func put(_ text: StaticString) {
            self.put(UnsafeRawBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount))
        }

        mutating func put(_ bytes: UnsafeRawBufferPointer) {
            UnsafeMutableRawBufferPointer(rebasing: self.space[self.count...]).copyMemory(from: bytes)
            self.count += bytes.count
        }
    }

    /// `}`, or `,"p":"…"}` without escapes.
    private static func isPadding(_ rest: UnsafeRawBufferPointer) -> Bool {
        if rest.count == 1 { return rest[0] == 0x7D }
        let start = 6
        guard rest.count >= start + 2, rest.starts(with: ",\"p\":\"" as StaticString), rest[rest.count - 1] == 0x7D,
            let base = rest.baseAddress?.assumingMemoryBound(to: UInt8.self)
        else { return false }
        // The first quote ends it, so an escaped one would be too early.
        return cjson_string_end(base + start, rest.count - start) == rest.count - start - 2
            && ByteSearch.first(0x5C, rest, from: start) == nil
    }

    /// Where the type's name stands, if it is first in the object and plain.
    private static func name(in json: UnsafeRawBufferPointer) -> Range<Int>? {
        let start = self.typeBegin.utf8CodeUnitCount
        guard json.starts(with: self.typeBegin) else { return nil }
        var at = start
        while at < json.count, at - start < self.nameLimit, json[at] == 0x5F || (0x61...0x7A).contains(json[at]) {
            at += 1
        }
        return at > start && at < json.count && json[at] == 0x22 ? start..<at : nil
    }

    /// Whether it is one JSON value and nothing else, on one line.
    private static func isOneLine(_ json: UnsafeRawBufferPointer) -> Bool {
        guard let base = json.baseAddress?.assumingMemoryBound(to: UInt8.self) else { return false }
        return cjson_value_end(base, json.count, Int(cjson_maximum_depth), nil, 0, nil) == json.count
            && ByteSearch.first(0x0A, json, from: 0) == nil && ByteSearch.first(0x0D, json, from: 0) == nil
    }
}
