// SPDX-License-Identifier: Apache-2.0

internal import CByteScan
internal import CZlib
internal import GatewayCore

/// Takes `application/vnd.amazon.eventstream` apart as it arrives, in pieces of any size.
///
/// Source: <https://docs.aws.amazon.com/transcribe/latest/dg/streaming-setting-up.html> (the format), and
/// <https://smithy.io/2.0/aws/amazon-eventstream.html>: 4 bytes total length, 4 bytes header length, 4 bytes CRC of these
/// eight, headers, payload, 4 bytes CRC of everything before.
package struct EventStreamDecoder: Sendable {
    /// One message, where it lies in memory.
    package struct Message {
        private let headers: UnsafeRawBufferPointer
        package let payload: UnsafeRawBufferPointer
        /// `:message-type` and `:event-type`, where they are texts.
        package private(set) var messageType: UnsafeRawBufferPointer?
        package private(set) var eventType: UnsafeRawBufferPointer?

        fileprivate init(headers: UnsafeRawBufferPointer, payload: UnsafeRawBufferPointer) throws(Failure) {
            self.headers = headers
            self.payload = payload
            var (message, event): (UnsafeRawBufferPointer?, UnsafeRawBufferPointer?) = (nil, nil)
            let isSound = self.visit { name, value in
                if name.equals(":message-type") { message = value }
                if name.equals(":event-type") { event = value }
            }
            guard isSound else { throw .headers }
            (self.messageType, self.eventType) = (message, event)
        }

        /// The text under a name, the last where there are several.
        package func header(_ name: StaticString) -> UnsafeRawBufferPointer? {
            var found: UnsafeRawBufferPointer?
            self.visitTexts { each, value in if each.equals(name) { found = value } }
            return found
        }

        /// Calls with each header that is a text, in order.
        package func visitTexts(_ body: (_ name: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer) -> Void) {
            _ = self.visit(body)
        }

        /// Name length, name, type, value. Values of other types than text are skipped.
        ///
        /// - Returns: Whether the block is sound.
        private func visit(_ body: (_ name: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer) -> Void) -> Bool {
            let block = self.headers
            var at = 0
            while at < block.count {
                let name = at + 1..<at + 1 + Int(block[at])
                guard name.upperBound < block.count else { return false }
                let kind = block[name.upperBound]
                at = name.upperBound + 1
                switch kind {
                case 0, 1: break
                case 2: at += 1
                case 3: at += 2
                case 4: at += 4
                case 5, 8: at += 8
                case 9: at += 16
                case 6, 7:
                    guard at + 2 <= block.count else { return false }
                    let end = at + 2 + (Int(block[at]) << 8 | Int(block[at + 1]))
                    guard end <= block.count else { return false }
                    if kind == 7 {
                        body(
                            UnsafeRawBufferPointer(rebasing: block[name]),
                            UnsafeRawBufferPointer(rebasing: block[at + 2..<end]))
                    }
                    at = end
                default: return false
                }
            }
            return at == block.count
        }
    }

    /// Why a stream cannot be read on.
    package enum Failure: Error, Equatable {
        case lengths
        case checksum
        case headers
        case truncated
    }

    private static let preludeLength = 12
    private static let trailerLength = 4
    /// A message of the format holds 16 MiB of payload and 128 KiB of headers at most.
    private static let maximumLength = 17 << 20

    private var buffer: [UInt8] = []
    private var start = 0

    package init() {}

    /// Whether everything that arrived has been given out.
    package var isAtBoundary: Bool { self.start == self.buffer.count }

    package mutating func receive(_ bytes: UnsafeRawBufferPointer) {
        if self.start > 1 << 16 {
            self.buffer.removeFirst(self.start)
            self.start = 0
        }
        self.buffer.append(contentsOf: bytes)
    }

    /// Calls with each whole message that is there, until a call says to stop.
    package mutating func read(_ body: (Message) -> Bool) throws(Failure) {
        var failure: Failure?
        self.start += self.buffer.withUnsafeBytes { bytes in
            var at = self.start
            do throws(Failure) {
                var goesOn = true
                while goesOn, let end = try Self.length(UnsafeRawBufferPointer(rebasing: bytes[at...])) {
                    goesOn = body(try Self.message(UnsafeRawBufferPointer(rebasing: bytes[at..<at + end])))
                    at += end
                }
            } catch {
                failure = error
            }
            return at - self.start
        }
        if self.start == self.buffer.count {
            self.buffer.removeAll(keepingCapacity: true)
            self.start = 0
        }
        if let failure { throw failure }
    }

    /// The length of the message that begins there; `nil` when more bytes are needed.
    private static func length(_ bytes: UnsafeRawBufferPointer) throws(Failure) -> Int? {
        guard bytes.count >= Self.preludeLength else { return nil }
        guard CRC32.checksum(UnsafeRawBufferPointer(rebasing: bytes[..<8])) == self.number(bytes, at: 8) else {
            throw .checksum
        }
        let (total, headerLength) = (Int(self.number(bytes, at: 0)), Int(self.number(bytes, at: 4)))
        guard total >= Self.preludeLength + Self.trailerLength, total <= Self.maximumLength,
            headerLength <= total - Self.preludeLength - Self.trailerLength
        else { throw .lengths }
        return bytes.count >= total ? total : nil
    }

    /// - Parameter bytes: A whole message, whose lengths are sound.
    private static func message(_ bytes: UnsafeRawBufferPointer) throws(Failure) -> Message {
        let end = bytes.count - Self.trailerLength
        // The prelude's own checksum goes on.
        let checksum = CRC32.checksum(
            UnsafeRawBufferPointer(rebasing: bytes[8..<end]), after: self.number(bytes, at: 8))
        guard checksum == self.number(bytes, at: end) else { throw .checksum }
        let headersEnd = Self.preludeLength + Int(self.number(bytes, at: 4))
        return try Message(
            headers: UnsafeRawBufferPointer(rebasing: bytes[Self.preludeLength..<headersEnd]),
            payload: UnsafeRawBufferPointer(rebasing: bytes[headersEnd..<end]))
    }

    private static func number(_ bytes: UnsafeRawBufferPointer, at offset: Int) -> UInt32 {
        UInt32(bigEndian: bytes.loadUnaligned(fromByteOffset: offset, as: UInt32.self))
    }
}

/// CRC-32 as in ISO 3309 and gzip.
package enum CRC32 {
    /// - Parameter start: The checksum of what comes before the bytes.
    package static func checksum(_ bytes: UnsafeRawBufferPointer, after start: UInt32 = 0) -> UInt32 {
        let base = bytes.baseAddress?.assumingMemoryBound(to: UInt8.self)
        var checksum: UInt32 = 0
        if ccrc_checksum(start, base, bytes.count, &checksum) != 0 { return checksum }
        return UInt32(truncatingIfNeeded: crc32(UInt(start), base, UInt32(bytes.count)))
    }
}
