// SPDX-License-Identifier: Apache-2.0

internal import GatewayCore

/// Finds the value of `usage` at the top level of a JSON object that passes in pieces, and keeps nothing else of it.
struct UsageFinder: Sendable {
    /// A longer value is no usage.
    private static let maximumLength = 1 << 16
    private static let name = Array("usage".utf8)

    /// The text of the last such member; empty when there is none, or it was too long.
    private(set) var value: [UInt8] = []
    private var depth = 0
    private var isInString = false
    private var isEscaped = false
    /// Whether a string that begins at the top level is the name of a member.
    private var expectsName = false
    private var isInName = false
    /// How many of the name's bytes are those of `usage`; -1 after the first that is not.
    private var matched = 0
    private var isTaking = false

    init() {}

    mutating func receive(_ bytes: UnsafeRawBufferPointer) {
        if self.depth == 0, !self.isInString, self.takeWhole(bytes) { return }
        var at = 0
        while at < bytes.count {
            if self.isInString, !self.isTaking, !self.isInName, !self.isEscaped {
                // Most of an answer is text, of which only the end matters.
                while at < bytes.count, bytes[at] != UInt8(ascii: "\""), bytes[at] != UInt8(ascii: "\\") { at += 1 }
                guard at < bytes.count else { return }
            }
            let byte = bytes[at]
            at += 1
            if self.isInString { self.takeString(byte) } else { self.take(byte) }
        }
    }

    /// Most answers come in one piece.
    ///
    /// - Returns: Whether the bytes are one object and nothing else, and have been taken.
    private mutating func takeWhole(_ bytes: UnsafeRawBufferPointer) -> Bool {
        guard bytes.first == UInt8(ascii: "{") else { return false }
        var found: UnsafeRawBufferPointer?
        let end = JSONMembers.visit(bytes) { name, value in if name.equals("usage") { found = value } }
        guard end == bytes.count else { return false }
        if let found { self.value = found.count <= Self.maximumLength ? Array(found) : [] }
        return true
    }

    private mutating func takeString(_ byte: UInt8) {
        if self.isTaking { self.append(byte) }
        if self.isEscaped {
            self.isEscaped = false
        } else if byte == UInt8(ascii: "\\") {
            self.isEscaped = true
        } else if byte == UInt8(ascii: "\"") {
            self.isInString = false
            return
        }
        guard self.isInName, self.matched >= 0 else { return }
        let isNext = self.matched < Self.name.count && byte == Self.name[self.matched]
        self.matched = isNext ? self.matched + 1 : -1
    }

    private mutating func take(_ byte: UInt8) {
        switch byte {
        case UInt8(ascii: "\""):
            self.isInString = true
            self.isInName = self.depth == 1 && self.expectsName
            self.matched = 0
        case UInt8(ascii: ":") where self.depth == 1 && self.expectsName:
            self.expectsName = false
            self.isInName = false
            if self.matched == Self.name.count {
                self.isTaking = true
                self.value.removeAll(keepingCapacity: true)
            }
            return
        case UInt8(ascii: "{"), UInt8(ascii: "["):
            self.depth += 1
            if self.depth == 1 { self.expectsName = byte == UInt8(ascii: "{") }
        case UInt8(ascii: "}"), UInt8(ascii: "]"):
            self.depth -= 1
            if self.depth == 0 { self.isTaking = false }
        case UInt8(ascii: ",") where self.depth == 1:
            self.isTaking = false
            self.expectsName = true
        default: break
        }
        if self.isTaking { self.append(byte) }
    }

    private mutating func append(_ byte: UInt8) {
        if self.value.count < Self.maximumLength {
            self.value.append(byte)
        } else {
            self.value = []
            self.isTaking = false
        }
    }
}
