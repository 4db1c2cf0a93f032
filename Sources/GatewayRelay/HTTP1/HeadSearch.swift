// SPDX-License-Identifier: Apache-2.0

internal import CByteScan
internal import NIOCore

/// Looks for the end of a message's head in what has come of it, and never at the same byte twice.
struct HeadSearch {
    /// Start line and field lines together.
    private static let maximumHead = 80 << 10

    private var scanned = 0
    private var lineStart = 0

    /// Takes a whole head out of what has come, with its blank line; `nil` when more must come.
    ///
    /// - Throws: When a line ends otherwise than with CR LF, or the head is too long.
    mutating func take(from input: inout ByteBuffer) throws(HTTPSyntaxError) -> ByteBuffer? {
        let end = try input.reading { bytes throws(HTTPSyntaxError) in try self.end(bytes) }
        return end.flatMap { input.readSlice(length: $0) }
    }

    private mutating func end(_ bytes: UnsafeRawBufferPointer) throws(HTTPSyntaxError) -> Int? {
        guard let base = bytes.baseAddress?.assumingMemoryBound(to: UInt8.self) else { return nil }
        let end = cfields_head_end(base, bytes.count, &self.scanned, &self.lineStart)
        guard end != cfields_invalid else { throw .lineEnd }
        guard max(end, self.scanned) <= Self.maximumHead else { throw .tooLong }
        return end > 0 ? end : nil
    }
}

extension ByteBuffer {
    /// Calls with the readable bytes, and throws what the call throws and nothing else.
    func reading<Value, Failure: Error>(
        _ body: (UnsafeRawBufferPointer) throws(Failure) -> Value,
    ) throws(Failure) -> Value {
        let result = self.withUnsafeReadableBytes { bytes -> Result<Value, Failure> in
            do throws(Failure) {
                return .success(try body(bytes))
            } catch {
                return .failure(error)
            }
        }
        return try result.get()
    }
}
