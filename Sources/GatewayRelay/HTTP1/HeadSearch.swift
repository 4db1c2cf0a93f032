// SPDX-License-Identifier: Apache-2.0

internal import NIOCore

/// Looks for the end of a message's head in what has come of it, and never at the same byte twice.
struct HeadSearch {
    /// Start line and field lines together.
    static let maximumHead = 80 << 10

    private var scanned = 0
    private var lineStart = 0

    /// - Returns: The head's length with its blank line; `nil` when more must come.
    /// - Throws: When a line ends otherwise than with CR LF, or the head is too long.
    mutating func end(_ bytes: UnsafeRawBufferPointer) throws(HTTPSyntaxError) -> Int? {
        while let feed = ByteSearch.first(0x0A, bytes, from: self.scanned) {
            guard feed > self.lineStart, bytes[feed - 1] == 0x0D else { throw .lineEnd }
            if feed == self.lineStart + 1 { return feed + 1 }
            self.lineStart = feed + 1
            self.scanned = feed + 1
        }
        self.scanned = bytes.count
        guard bytes.count <= Self.maximumHead else { throw .tooLong }
        return nil
    }
}
