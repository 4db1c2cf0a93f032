// SPDX-License-Identifier: Apache-2.0

internal import GatewayCore
internal import NIOCore

/// Reads a body in the chunked transfer coding (RFC 9112 §7.1), without I/O.
///
/// A chunk that is there whole, framed as this gateway would frame it, is handed out with its frame too, so that a relay
/// can pass it without writing a frame of its own. Extensions and trailers end here.
struct ChunkedReader {
    enum Event {
        /// - Parameter framed: The same bytes as one chunk, where they came as one.
        case data(ByteBuffer, framed: ByteBuffer?)
        case end
    }

    private enum State {
        case size
        case data(remaining: Int)
        case dataEnd
        case trailer(bytes: Int)
        case done
    }

    private static let maximumLine = 4 << 10
    private static let maximumTrailer = 16 << 10

    private var state = State.size

    /// Takes the next part out of what has come; `nil` when more must come.
    mutating func next(_ input: inout ByteBuffer) throws(HTTPSyntaxError) -> Event? {
        while true {
            switch self.state {
            case .size:
                guard let line = try Self.line(input) else { return nil }
                let (size, isPlain) = try Self.size(line, input)
                guard size > 0 else {
                    input.moveReaderIndex(forwardBy: line)
                    self.state = .trailer(bytes: 0)
                    continue
                }
                if isPlain, size <= input.readableBytes - line - 2 {
                    guard let framed = input.readSlice(length: line + size + 2),
                        let data = framed.getSlice(at: framed.readerIndex + line, length: size),
                        framed.getInteger(at: framed.writerIndex - 2, as: UInt16.self) == 0x0D0A
                    else { throw .chunk }
                    return .data(data, framed: framed)
                }
                input.moveReaderIndex(forwardBy: line)
                self.state = .data(remaining: size)
            case .data(let remaining):
                let count = min(remaining, input.readableBytes)
                guard count > 0, let data = input.readSlice(length: count) else { return nil }
                self.state = count == remaining ? .dataEnd : .data(remaining: remaining - count)
                return .data(data, framed: nil)
            case .dataEnd:
                guard input.readableBytes >= 2 else { return nil }
                guard input.readInteger(as: UInt16.self) == 0x0D0A else { throw .chunk }
                self.state = .size
            case .trailer(let bytes):
                guard let line = try Self.line(input) else { return nil }
                guard bytes + line <= Self.maximumTrailer else { throw .tooLong }
                guard line > 2 else {
                    input.moveReaderIndex(forwardBy: line)
                    self.state = .done
                    return .end
                }
                guard Self.isField(line, input) else { throw .field }
                input.moveReaderIndex(forwardBy: line)
                self.state = .trailer(bytes: bytes + line)
            case .done: return nil
            }
        }
    }

    /// The length of the line that begins here, with its end; `nil` when its end is not there.
    private static func line(_ input: ByteBuffer) throws(HTTPSyntaxError) -> Int? {
        let feed = input.withUnsafeReadableBytes { ByteSearch.first(0x0A, $0, from: 0) }
        guard let feed else {
            guard input.readableBytes <= self.maximumLine else { throw .tooLong }
            return nil
        }
        guard feed > 0, input.getInteger(at: input.readerIndex + feed - 1, as: UInt8.self) == 0x0D else {
            throw .lineEnd
        }
        guard feed < self.maximumLine else { throw .tooLong }
        return feed + 1
    }

    /// Whether the line that begins here is a field's. It is dropped, but what is none may be another message's begin.
    private static func isField(_ line: Int, _ input: ByteBuffer) -> Bool {
        input.withUnsafeReadableBytes { bytes in
            let line = UnsafeRawBufferPointer(rebasing: bytes[..<(line - 2)])
            guard let colon = ByteSearch.first(0x3A, line, from: 0) else { return false }
            return FieldSyntax.isToken(UnsafeRawBufferPointer(rebasing: line[..<colon]))
                && FieldSyntax.isFieldValue(UnsafeRawBufferPointer(rebasing: line[(colon + 1)...]))
        }
    }

    /// - Parameter line: The line's length with its end.
    /// - Returns: The chunk's size, and whether the line has nothing but a number of the usual length.
    private static func size(_ line: Int, _ input: ByteBuffer) throws(HTTPSyntaxError) -> (Int, isPlain: Bool) {
        let result = input.withUnsafeReadableBytes { bytes -> (Int, Bool)? in
            var size = 0
            var digits = 0
            while let digit = Self.digit(bytes[digits]) {
                size = size << 4 | digit
                digits += 1
                guard digits <= 12 else { return nil }
            }
            guard digits > 0 else { return nil }
            if digits == line - 2 { return (size, digits <= 8) }
            // An extension, with the spaces before it that some senders put there; no control bytes hide in it.
            let rest = UnsafeRawBufferPointer(rebasing: bytes[digits..<line - 2])
            guard FieldSyntax.isFieldValue(rest) else { return nil }
            let first = FieldSyntax.trimmed(rest).first
            return first == nil || first == 0x3B ? (size, false) : nil
        }
        guard let result else { throw .chunk }
        return result
    }

    private static func digit(_ byte: UInt8) -> Int? {
        switch byte {
        case 0x30...0x39: Int(byte) - 0x30
        case 0x41...0x46: Int(byte) - 0x41 + 10
        case 0x61...0x66: Int(byte) - 0x61 + 10
        default: nil
        }
    }
}
