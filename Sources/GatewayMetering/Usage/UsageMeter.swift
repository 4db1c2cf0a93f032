// SPDX-License-Identifier: Apache-2.0

internal import GatewayCore

/// Reads what an answer used while its bytes pass, in pieces of any size.
package struct UsageMeter: Sendable {
    package enum Format: Sendable {
        /// One JSON object.
        case json
        /// Server-sent events.
        case events
    }

    package struct Reading: Sendable, Equatable {
        /// What is known; the output is an estimate where nothing is. Where the input is unknown, it and the cache are
        /// zero.
        package var usage: TokenUsage
        /// Whether something usable was said about the input; otherwise the caller estimates it.
        package var knowsInput: Bool
        /// Whether the output was said; otherwise it is an estimate from the bytes seen.
        package var knowsOutput: Bool
        /// Whether there was any byte of a body.
        package var sawAnything: Bool

        package init(usage: TokenUsage, knowsInput: Bool, knowsOutput: Bool, sawAnything: Bool) {
            self.usage = usage
            self.knowsInput = knowsInput
            self.knowsOutput = knowsOutput
            self.sawAnything = sawAnything
        }
    }

    private let format: Format
    private var byteCount = 0
    private var finder = UsageFinder()
    private var events = EventReader()

    package init(_ format: Format) {
        self.format = format
    }

    package mutating func receive(_ bytes: UnsafeRawBufferPointer) {
        guard !bytes.isEmpty else { return }
        self.byteCount += bytes.count
        switch self.format {
        case .events: self.events.receive(bytes)
        case .json: self.finder.receive(bytes)
        }
    }

    /// What the answer used. A last event without the blank line behind it counts.
    package mutating func finish() -> Reading {
        var partial = UsageReader.Partial()
        let estimate: Int
        switch self.format {
        case .events:
            self.events.finish()
            partial = self.events.partial
            estimate = (self.events.textLength + 3) / 4
        case .json:
            _ = UsageReader.apply(self.finder.value, at: .answer, to: &partial)
            estimate = (self.byteCount + 3) / 4
        }
        var usage = partial.usage
        if partial.input == nil {
            usage.cacheRead = 0
            usage.cacheWrite5m = 0
            usage.cacheWrite1h = 0
        }
        if partial.output == nil { usage.output = estimate }
        return Reading(
            usage: usage, knowsInput: partial.input != nil, knowsOutput: partial.output != nil,
            sawAnything: self.byteCount > 0)
    }
}

/// Reads server-sent events: collects those with a `usage`, counts those with text, skips the others.
///
/// Source: <https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream>: lines end with LF,
/// CRLF or CR.
private struct EventReader: Sendable {
    private enum Kind {
        /// No `event` line so far: the JSON's `type` will tell.
        case unnamed
        case start
        case delta
        case text
        case other

        init(_ name: UnsafeRawBufferPointer) {
            if name.isEmpty {
                self = .unnamed
            } else if name.equals("content_block_delta") {
                self = .text
            } else if name.equals("message_start") {
                self = .start
            } else if name.equals("message_delta") {
                self = .delta
            } else {
                self = .other
            }
        }

        var isCollected: Bool { self == .unnamed || self == .start || self == .delta }
    }

    /// Where in a line the next byte stands.
    private enum Position {
        case field
        /// Right behind the colon, where one space is no part of the value.
        case space
        case value
    }

    private enum Field {
        case event
        case data
        case other
    }

    /// An event with more data is unusable.
    private static let maximumData = 1 << 20
    /// Longer names are those of other events.
    private static let maximumName = 32
    /// The length of a text delta's JSON without its text.
    private static let emptyDelta = 80

    private(set) var partial = UsageReader.Partial()
    /// The text of the deltas so far, roughly, in UTF-16 units.
    private(set) var textLength = 0

    // The line.
    private var position = Position.field
    private var field = Field.other
    /// The bytes of the field's name, the first in the highest place.
    private var fieldName: UInt64 = 0
    private var fieldLength = 0
    /// Whether the last line ended with a CR, to which a LF may belong.
    private var endedWithCR = false

    // The event.
    private var kind = Kind.unnamed
    private var name: [UInt8] = []
    private var data: [UInt8] = []
    /// In UTF-16 units.
    private var dataLength = 0
    private var hasData = false
    /// Whether `data` is all of the event's data.
    private var isWhole = true

    init() {}

    mutating func receive(_ bytes: UnsafeRawBufferPointer) {
        var at = 0
        if self.endedWithCR, bytes.first == 0x0A { at = 1 }
        self.endedWithCR = false
        // Found once each, so that a stream with only one kind of line end is not searched for the other again and again.
        var feed = Self.find(0x0A, in: bytes, from: at)
        var carriageReturn = Self.find(0x0D, in: bytes, from: at)
        while at < bytes.count {
            let end = min(feed, carriageReturn)
            if end > at { self.take(UnsafeRawBufferPointer(rebasing: bytes[at..<end])) }
            guard end < bytes.count else { return }
            self.endLine()
            at = end + 1
            if end == feed {
                feed = Self.find(0x0A, in: bytes, from: at)
                continue
            }
            carriageReturn = Self.find(0x0D, in: bytes, from: at)
            self.endedWithCR = at == bytes.count
            if feed == at, at < bytes.count {
                at += 1
                feed = Self.find(0x0A, in: bytes, from: at)
            }
        }
    }

    mutating func finish() {
        self.endLine()
        self.endEvent()
    }

    /// - Returns: The end of the bytes when there is none.
    private static func find(_ byte: UInt8, in bytes: UnsafeRawBufferPointer, from start: Int) -> Int {
        ByteSearch.first(byte, bytes, from: start) ?? bytes.count
    }

    /// Takes a piece of a line.
    private mutating func take(_ bytes: UnsafeRawBufferPointer) {
        var at = 0
        while self.position == .field, at < bytes.count {
            let byte = bytes[at]
            at += 1
            if byte == UInt8(ascii: ":") {
                self.beginValue()
                self.position = .space
            } else {
                self.fieldName = self.fieldName << 8 | UInt64(byte)
                self.fieldLength += 1
                // Longer than any field that counts.
                if self.fieldLength > 5 { self.position = .value }
            }
        }
        if self.position == .space, at < bytes.count {
            if bytes[at] == 0x20 { at += 1 }
            self.position = .value
        }
        guard at < bytes.count else { return }
        switch self.field {
        case .other: break
        case .event:
            let space = Self.maximumName - self.name.count
            if space > 0 { self.name.append(contentsOf: UnsafeRawBufferPointer(rebasing: bytes[at...].prefix(space))) }
        case .data: self.takeData(UnsafeRawBufferPointer(rebasing: bytes[at...]))
        }
    }

    /// The field's name is whole.
    private mutating func beginValue() {
        switch (self.fieldLength, self.fieldName) {
        case (4, 0x6461_7461):
            self.field = .data
            if self.hasData {
                // Several lines of data are joined by line feeds.
                withUnsafeBytes(of: UInt8(0x0A)) { self.takeData($0) }
            } else {
                self.hasData = true
                self.isWhole = self.kind.isCollected
            }
        case (5, 0x65_7665_6E74):
            self.field = .event
            self.name.removeAll(keepingCapacity: true)
        default: self.field = .other
        }
    }

    private mutating func takeData(_ bytes: UnsafeRawBufferPointer) {
        switch self.kind {
        case .other: break
        case .text:
            if self.partial.output == nil { self.dataLength += Self.utf16Length(bytes) }
        case .unnamed, .start, .delta:
            self.dataLength += Self.utf16Length(bytes)
            guard self.isWhole else { break }
            if self.data.count + bytes.count <= Self.maximumData {
                self.data.append(contentsOf: bytes)
            } else {
                self.isWhole = false
                self.data = []
            }
        }
    }

    private static func utf16Length(_ bytes: UnsafeRawBufferPointer) -> Int {
        // One for all but continuation bytes, one more for the first of four.
        var length = bytes.count
        let tops: UInt64 = 0x8080_8080_8080_8080
        for at in stride(from: 0, to: bytes.count, by: 8) {
            var word: UInt64 = 0
            if bytes.count - at >= 8 {
                word = bytes.loadUnaligned(fromByteOffset: at, as: UInt64.self)
            } else {
                for byte in bytes[at...] { word = word << 8 | UInt64(byte) }
            }
            let beyondASCII = word & tops
            guard beyondASCII != 0 else { continue }
            let continuations = beyondASCII & ~(word << 1)
            let firstsOfFour = beyondASCII & word << 1 & word << 2 & word << 3
            length += firstsOfFour.nonzeroBitCount - continuations.nonzeroBitCount
        }
        return length
    }

    private mutating func endLine() {
        if self.position == .field {
            if self.fieldLength == 0 { return self.endEvent() }
            // A field without a colon has an empty value.
            self.beginValue()
        }
        if self.field == .event {
            self.kind = self.name.withUnsafeBytes { Kind($0) }
            // Data before its name was perhaps not collected.
            if self.hasData, !self.kind.isCollected { self.isWhole = false }
        }
        self.position = .field
        self.field = .other
        self.fieldName = 0
        self.fieldLength = 0
    }

    private mutating func endEvent() {
        if self.hasData { self.readEvent() }
        self.kind = .unnamed
        self.name.removeAll(keepingCapacity: true)
        self.data.removeAll(keepingCapacity: self.data.capacity <= 1 << 16)
        self.dataLength = 0
        self.hasData = false
        self.isWhole = true
    }

    private mutating func readEvent() {
        var kind = self.kind
        var json: JSONValue?
        if kind.isCollected {
            guard self.isWhole else { return }
            json = try? JSONValue(parsing: self.data)
            if kind == .unnamed { kind = Array((json?["type"]?.string ?? "").utf8).withUnsafeBytes { Kind($0) } }
        }
        switch kind {
        case .start: _ = UsageReader.apply(json?["message"]?["usage"], at: .start, to: &self.partial)
        case .delta: _ = UsageReader.apply(json?["usage"], at: .delta, to: &self.partial)
        case .text:
            if self.partial.output == nil { self.textLength += max(0, self.dataLength - Self.emptyDelta) }
        case .unnamed, .other: break
        }
    }
}
