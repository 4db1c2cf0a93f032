// SPDX-License-Identifier: Apache-2.0

internal import GatewayCore
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
struct AnswerBuffer: ~Copyable {
    private static let smallPiece = 4 << 10
    private static let lastChunk = ByteBuffer(string: "0\r\n\r\n")

    /// What waits in memory of its own.
    private var own = ByteWriter()
    /// What waits in somebody else's: either this or the other is empty.
    private var passed: ByteBuffer?
    private var framing = BodyFraming.declared

    mutating func begin(_ head: consuming FieldLines, _ framing: BodyFraming, write: (ByteBuffer) -> Void) {
        self.framing = framing
        self.gather(write)
        if self.own.used == 0 {
            self.own = head.finish()
        } else {
            head.writer.withBytes { self.own.put(UnsafeRawBufferPointer($0)) }
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
        self.gather(write)
        self.own.putHexadecimal(bytes.readableBytes)
        self.own.put(0x0D, 0x0A)
        self.put(bytes, write)
        self.gather(write)
        self.own.put(0x0D, 0x0A)
    }

    mutating func end(write: (ByteBuffer) -> Void) {
        if case .chunked = self.framing { self.put(Self.lastChunk, write) }
        self.framing = .declared
    }

    /// Hands out what has been gathered in memory of its own.
    mutating func takeOwn() -> ByteWriter {
        var taken = ByteWriter()
        swap(&taken, &self.own)
        return taken
    }

    /// Hands out what has been gathered otherwise.
    mutating func takePassed() -> ByteBuffer? {
        self.passed.take()
    }

    private mutating func put(_ bytes: ByteBuffer, _ write: (ByteBuffer) -> Void) {
        self.passLarge(write)
        if bytes.readableBytes > Self.smallPiece { self.pass(write) }
        if self.own.used == 0, self.passed == nil {
            self.passed = bytes
        } else {
            self.gather(write)
            bytes.withUnsafeReadableBytes { self.own.put($0) }
        }
    }

    /// What is large already is not copied to put something behind it.
    private mutating func passLarge(_ write: (ByteBuffer) -> Void) {
        if max(self.own.used, self.passed?.readableBytes ?? 0) > Self.smallPiece { self.pass(write) }
    }

    private mutating func pass(_ write: (ByteBuffer) -> Void) {
        if let passed = self.takePassed() { write(passed) }
        if self.own.used > 0 {
            var own = self.takeOwn()
            own.withBytes { write(ByteBuffer(bytes: $0)) }
        }
    }

    /// Makes its own memory the place where something can be put behind what waits.
    private mutating func gather(_ write: (ByteBuffer) -> Void) {
        self.passLarge(write)
        if let passed = self.takePassed() { passed.withUnsafeReadableBytes { self.own.put($0) } }
    }
}

extension ByteWriter {
    fileprivate mutating func putHexadecimal(_ value: Int) {
        var shift = (max(1, Int.bitWidth - value.leadingZeroBitCount) - 1) / 4 * 4
        while shift >= 0 {
            let digit = UInt8(value >> shift & 15)
            self.put(digit < 10 ? 0x30 + digit : 0x57 + digit)
            shift -= 4
        }
    }
}
