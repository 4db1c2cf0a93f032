// SPDX-License-Identifier: Apache-2.0

/// Why bytes are no HTTP/1.1 message. What follows them cannot be trusted either.
package enum HTTPSyntaxError: Error, Sendable, Equatable {
    /// A line that ends with a line feed alone, or a carriage return within a line.
    case lineEnd
    case startLine
    /// Another major version than 1.
    case version
    case field
    /// Lengths that are missing, doubled, contradictory or unreadable.
    case framing
    case chunk
    /// The head, a chunk's line or the trailer is longer than is taken.
    case tooLong
    /// Bytes behind the end of an answer.
    case unasked
}
