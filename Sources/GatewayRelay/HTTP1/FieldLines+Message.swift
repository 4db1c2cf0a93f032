// SPDX-License-Identifier: Apache-2.0

internal import GatewayCore
internal import NIOCore
internal import NIOHTTP1

/// What stands before field lines and behind them in a message.
extension FieldLines {
    mutating func addRequestLine(prefix: String, target: String) {
        self.writer.put(literal: "POST ")
        if !prefix.isEmpty { self.writer.put(prefix) }
        self.writer.put(target)
        self.writer.put(literal: " HTTP/1.1\r\n")
    }

    mutating func addStatusLine(_ status: HTTPResponseStatus, isOld: Bool) {
        if status == .ok, !isOld {
            self.writer.put(literal: "HTTP/1.1 200 OK\r\n")
            return
        }
        self.writer.put(literal: isOld ? "HTTP/1.0 " : "HTTP/1.1 ")
        self.writer.putDecimal(Int(status.code))
        self.writer.put(0x20)
        self.putClean(status.reasonPhrase)
        self.writer.put(0x0D, 0x0A)
    }

    /// What follows the head.
    mutating func add(body: ByteBuffer) {
        body.withUnsafeReadableBytes { self.writer.put($0) }
    }

    mutating func buffer() -> ByteBuffer {
        self.writer.withBytes { ByteBuffer(bytes: $0) }
    }

    /// The same as HTTP/2 takes them; there is no start line then.
    mutating func headers() -> HTTPHeaders {
        var headers = HTTPHeaders()
        self.visit { name, value in
            headers.add(name: String(decoding: name, as: UTF8.self), value: String(decoding: value, as: UTF8.self))
        }
        return headers
    }
}
