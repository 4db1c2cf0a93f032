// SPDX-License-Identifier: Apache-2.0

internal import NIOCore

/// Where an HTTP/1.1 message's body ends for whoever reads it.
enum BodyFraming {
    /// There is none, or its length is declared.
    case declared
    case chunked
    /// With the connection.
    case connectionEnd
}

/// Gathers what goes out on one connection and frames it, without I/O. Small pieces are put behind each other, so that they
/// leave in one write; large ones are passed as they are.
struct AnswerBuffer {
    private static let smallPiece = 4 << 10
    private static let usualBody = 1 << 10
    private static let enough = 32 << 10

    private var gathered = ByteBuffer()
    private var framing = BodyFraming.declared

    mutating func begin(_ head: consuming FieldLines, _ framing: BodyFraming, write: (ByteBuffer) -> Void) {
        self.framing = framing
        if self.gathered.readableBytes == 0 {
            self.gathered = head.buffer(room: Self.usualBody)
        } else {
            self.put(head.buffer(), write)
        }
    }

    /// - Parameter framed: The same bytes as one chunk, if they are there in that form.
    mutating func body(_ bytes: ByteBuffer, framed: ByteBuffer? = nil, write: (ByteBuffer) -> Void) {
        // An empty chunk would be the last one.
        guard bytes.readableBytes > 0 else { return }
        guard case .chunked = self.framing else {
            self.put(bytes, write)
            return
        }
        if let framed {
            self.put(framed, write)
            return
        }
        self.gathered.writeHexadecimal(bytes.readableBytes)
        self.gathered.writeStaticString("\r\n")
        self.put(bytes, write)
        self.gathered.writeStaticString("\r\n")
    }

    mutating func end() {
        if case .chunked = self.framing { self.gathered.writeStaticString("0\r\n\r\n") }
        self.framing = .declared
    }

    /// Hands out what has been gathered.
    mutating func take() -> ByteBuffer? {
        guard self.gathered.readableBytes > 0 else { return nil }
        defer { self.gathered = ByteBuffer() }
        return self.gathered
    }

    private mutating func put(_ bytes: ByteBuffer, _ write: (ByteBuffer) -> Void) {
        if self.gathered.readableBytes > 0, bytes.readableBytes <= Self.smallPiece {
            self.gathered.writeImmutableBuffer(bytes)
            if self.gathered.readableBytes > Self.enough, let ready = self.take() { write(ready) }
            return
        }
        if let ready = self.take() { write(ready) }
        write(bytes)
    }
}

extension ByteBuffer {
    fileprivate mutating func writeHexadecimal(_ value: Int) {
        var shift = (max(1, Int.bitWidth - value.leadingZeroBitCount) - 1) / 4 * 4
        while shift >= 0 {
            let digit = UInt8(value >> shift & 15)
            self.writeInteger(digit < 10 ? 0x30 + digit : 0x57 + digit)
            shift -= 4
        }
    }
}
