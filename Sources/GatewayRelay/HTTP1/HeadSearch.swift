// SPDX-License-Identifier: Apache-2.0

internal import GatewayCore
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
        while let feed = ByteSearch.first(0x0A, bytes, from: self.scanned) {
            guard feed > self.lineStart, bytes[feed - 1] == 0x0D else { throw .lineEnd }
            if feed == self.lineStart + 1 {
                guard feed < Self.maximumHead else { throw .tooLong }
                return feed + 1
            }
            self.lineStart = feed + 1
            self.scanned = feed + 1
        }
        self.scanned = bytes.count
        guard bytes.count <= Self.maximumHead else { throw .tooLong }
        return nil
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
