// SPDX-License-Identifier: Apache-2.0

internal import CZlib
internal import NIOCore

/// Undoes the content codings `gzip` and `deflate` (RFC 9110 §8.4.1) of a body that comes in parts.
final class Inflater {
    /// The bytes are not in that coding.
    struct Failure: Error {}

    private static let piece = 32 << 10

    private var stream = z_stream()
    private var isOver = false

    init() {
        // 32: the header says which of the two formats it is.
        let result = inflateInit2_(&self.stream, MAX_WBITS + 32, ZLIB_VERSION, Int32(MemoryLayout<z_stream>.size))
        precondition(result == Z_OK, "zlib cannot begin: out of memory, or another zlib than was compiled against")
    }

    deinit {
        inflateEnd(&self.stream)
    }

    /// Gives what the bytes say, in pieces. What stands behind the end is dropped.
    func receive(_ bytes: ByteBuffer, _ give: (ByteBuffer) -> Void) throws(Failure) {
        var rest = bytes
        while !self.isOver, rest.readableBytes > 0 || self.stream.avail_out == 0 {
            var out = ByteBufferAllocator().buffer(capacity: Self.piece)
            let (result, taken, made) = rest.withUnsafeReadableBytes { input in
                out.withUnsafeMutableWritableBytes { output in
                    self.stream.next_in = UnsafeMutablePointer(
                        mutating: input.bindMemory(to: UInt8.self).baseAddress)
                    self.stream.avail_in = UInt32(input.count)
                    self.stream.next_out = output.bindMemory(to: UInt8.self).baseAddress
                    self.stream.avail_out = UInt32(output.count)
                    let result = inflate(&self.stream, Z_SYNC_FLUSH)
                    return (result, input.count - Int(self.stream.avail_in), output.count - Int(self.stream.avail_out))
                }
            }
            guard result == Z_OK || result == Z_STREAM_END || result == Z_BUF_ERROR else { throw Failure() }
            rest.moveReaderIndex(forwardBy: taken)
            out.moveWriterIndex(forwardBy: made)
            if result == Z_STREAM_END { self.isOver = true }
            if made > 0 { give(out) }
            if taken == 0, made == 0 { break }
        }
    }
}
