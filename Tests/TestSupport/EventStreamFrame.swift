// SPDX-License-Identifier: Apache-2.0

internal import GatewayCore
package import GatewayProviders

/// Frames of `application/vnd.amazon.eventstream`, made here so that they can be damaged.
package enum EventStreamFrame {
    package static func make(_ headers: [(String, String)], _ payload: [UInt8]) -> [UInt8] {
        func number(_ value: Int) -> [UInt8] { (0..<4).map { UInt8(truncatingIfNeeded: value >> (24 - 8 * $0)) } }
        var block: [UInt8] = []
        for (name, value) in headers {
            block += [UInt8(name.utf8.count)] + Array(name.utf8) + [7]
            block += [UInt8(value.utf8.count >> 8), UInt8(value.utf8.count & 255)] + Array(value.utf8)
        }
        var out = number(16 + block.count + payload.count) + number(block.count)
        out += number(Int(out.withUnsafeBytes { CRC32.checksum($0) }))
        out += block + payload
        return out + number(Int(out.withUnsafeBytes { CRC32.checksum($0) }))
    }

    /// An event of the Messages format as Bedrock wraps it.
    package static func chunk(_ json: String) -> [UInt8] {
        let payload = "{\"bytes\":\"\(Base64.encode(Array(json.utf8)))\",\"p\":\"abc\"}"
        return self.make(
            [(":message-type", "event"), (":event-type", "chunk"), (":content-type", "application/json")],
            Array(payload.utf8))
    }
}

/// A message that outlives the decoder's memory.
package struct EventStreamMessage: Equatable {
    package let headers: [String: String]
    package let payload: [UInt8]

    package init(headers: [String: String], payload: [UInt8]) {
        self.headers = headers
        self.payload = payload
    }
}

extension EventStreamDecoder {
    package mutating func receive(_ bytes: [UInt8]) {
        bytes.withUnsafeBytes { self.receive($0) }
    }

    /// The next message, or `nil` when more bytes are needed.
    package mutating func next() throws(Failure) -> EventStreamMessage? {
        var found: EventStreamMessage?
        try self.read { message in
            var headers: [String: String] = [:]
            message.visitTexts { headers[String(decoding: $0, as: UTF8.self)] = String(decoding: $1, as: UTF8.self) }
            found = EventStreamMessage(headers: headers, payload: Array(message.payload))
            return false
        }
        return found
    }
}
