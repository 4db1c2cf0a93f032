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
/// leave in one write; a piece that is alone, or large, is passed as it is.
struct AnswerBuffer {
    private static let smallPiece = 4 << 10
    private static let usualBody = 1 << 10
    private static let lineEnd = ByteBuffer(string: "\r\n")
    private static let lastChunk = ByteBuffer(string: "0\r\n\r\n")

    /// What waits: perhaps somebody else's bytes, which are copied when more is put behind them.
    private var gathered = ByteBuffer()
    private var framing = BodyFraming.declared

    mutating func begin(_ head: consuming FieldLines, _ framing: BodyFraming, write: (ByteBuffer) -> Void) {
        self.framing = framing
        self.put(head.buffer(room: Self.usualBody), write)
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
        self.passLarge(write)
        self.gathered.writeHexadecimal(bytes.readableBytes)
        self.gathered.writeStaticString("\r\n")
        self.put(bytes, write)
        self.put(Self.lineEnd, write)
    }

    mutating func end(write: (ByteBuffer) -> Void) {
        if case .chunked = self.framing { self.put(Self.lastChunk, write) }
        self.framing = .declared
    }

    /// Hands out what has been gathered.
    mutating func take() -> ByteBuffer? {
        guard self.gathered.readableBytes > 0 else { return nil }
        defer { self.gathered = ByteBuffer() }
        return self.gathered
    }

    private mutating func put(_ bytes: ByteBuffer, _ write: (ByteBuffer) -> Void) {
        self.passLarge(write)
        if self.gathered.readableBytes == 0 {
            self.gathered = bytes
        } else if bytes.readableBytes <= Self.smallPiece {
            self.gathered.writeImmutableBuffer(bytes)
        } else {
            write(self.gathered)
            self.gathered = bytes
        }
    }

    /// What is large already is not copied to put something behind it.
    private mutating func passLarge(_ write: (ByteBuffer) -> Void) {
        if self.gathered.readableBytes > Self.smallPiece, let ready = self.take() { write(ready) }
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
