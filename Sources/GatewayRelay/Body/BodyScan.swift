// SPDX-License-Identifier: Apache-2.0

internal import GatewayCore
package import GatewayProviders

#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Musl)
    internal import Musl
#else
    internal import Darwin
#endif

/// What the gateway needs to know of a request body, found without building a value from it.
package struct BodyScan: Sendable, Equatable {
    package enum Model: Sendable, Equatable {
        case missing
        case notAString
        case string(String)
    }

    /// A `model` key below the top level.
    package struct NestedModel: Sendable, Equatable {
        /// Such as `fallbacks[0].model`.
        package let path: String
        /// `nil` when the value is neither a string nor null nor an object.
        package let model: String?
    }

    package var model = Model.missing
    /// The places of the top-level model strings, quotes included.
    package var modelRanges: [Range<Int>] = []
    /// Whether `model` stands at the top level more than once with different values: an upstream could read another one
    /// than the gateway checked.
    package var hasConflictingModels = false
    package var nestedModels: [NestedModel] = []
    /// Whether the top level has `"stream": true`.
    package var streams = false
    /// The top level's members in order, when they were asked for.
    package var members: [BodyMember] = []
}

/// Why a body cannot be a request.
package enum BodyScanError: Error, Equatable {
    case invalidJSON
    case notAnObject
}

/// Reads a JSON text once, byte by byte, validating all of it (RFC 8259, as `JSON.parse` judges it, except that invalid
/// UTF-8 inside strings passes) and noting the few fields that matter.
package struct BodyScanner {
    /// Deeper texts are refused; the bound is far above what any client sends and keeps the stack of open containers small.
    package static let maximumDepth = 10_000

    /// Keys under which `model` is data rather than a request for a model.
    private static let opaqueKeys: [StaticString] = ["input", "input_schema", "input_examples", "schema"]

    private struct Frame {
        let isObject: Bool
        /// The place of the key under which this container stands; empty inside an array.
        let key: Range<Int>
        /// The index under which this container stands in an array.
        let index: Int
        var count = 0
    }

    private let bytes: UnsafeRawBufferPointer
    private let findsNestedModels: Bool
    private let listsMembers: Bool
    private var at = 0
    private var frames: [Frame] = []
    /// The number of frames at which an opaque key's value began; `nil` outside of one.
    private var opaqueDepth: Int?
    private var scan = BodyScan()
    /// The member of the top level that is being read: its key, and where it and its value begin.
    private var pendingMember: (BodyMember.Key, Int, Int)?

    private init(_ bytes: UnsafeRawBufferPointer, findsNestedModels: Bool, listsMembers: Bool) {
        self.listsMembers = listsMembers
        self.bytes = bytes
        self.findsNestedModels = findsNestedModels
    }

    /// - Parameters:
    ///   - findsNestedModels: Whether to list `model` keys below the top level.
    ///   - listsMembers: Whether to list the members of the top level, for upstreams that take another body.
    package static func scan(
        _ bytes: UnsafeRawBufferPointer, findsNestedModels: Bool, listsMembers: Bool = false,
    ) throws(BodyScanError) -> BodyScan {
        var scanner = BodyScanner(bytes, findsNestedModels: findsNestedModels, listsMembers: listsMembers)
        return try scanner.run()
    }

    private mutating func run() throws(BodyScanError) -> BodyScan {
        self.skipSpace()
        guard let first = self.peek else { throw .invalidJSON }
        let isObject = first == UInt8(ascii: "{")
        try self.beginValue(key: 0..<0, index: 0)
        while !self.frames.isEmpty { try self.step() }
        self.skipSpace()
        guard self.at == self.bytes.count else { throw .invalidJSON }
        guard isObject else { throw .notAnObject }
        return self.scan
    }

    private var peek: UInt8? {
        self.at < self.bytes.count ? self.bytes[self.at] : nil
    }

    private mutating func skipSpace() {
        while self.at < self.bytes.count {
            switch self.bytes[self.at] {
            case 0x20, 0x09, 0x0A, 0x0D: self.at += 1
            default: return
            }
        }
    }

    /// Reads one member, one element, or the end of the innermost container.
    private mutating func step() throws(BodyScanError) {
        let depth = self.frames.count - 1
        let isObject = self.frames[depth].isObject
        let close: UInt8 = isObject ? 0x7D : 0x5D
        self.skipSpace()
        guard let byte = self.peek else { throw .invalidJSON }
        if byte == close {
            self.at += 1
            self.frames.removeLast()
            if self.frames.count == 1 { self.endMember() }
            if self.opaqueDepth == self.frames.count { self.opaqueDepth = nil }
            return
        }
        if self.frames[depth].count > 0 {
            guard byte == 0x2C else { throw .invalidJSON }
            self.at += 1
            self.skipSpace()
        }
        let index = self.frames[depth].count
        self.frames[depth].count += 1
        guard isObject else {
            // `[1,]` ends here, because `]` begins no value.
            try self.beginValue(key: 0..<0, index: index)
            return
        }
        guard self.peek == 0x22 else { throw .invalidJSON }
        let keyStart = self.at + 1
        try self.skipString()
        let key = keyStart..<(self.at - 1)
        self.skipSpace()
        guard self.peek == 0x3A else { throw .invalidJSON }
        self.at += 1
        self.skipSpace()
        if depth == 0, self.listsMembers { self.beginMember(key) }
        try self.member(key)
        if depth == 0, self.frames.count == 1 { self.endMember() }
    }

    private static let memberKeys: [(StaticString, BodyMember.Key)] = [
        ("model", .model), ("stream", .stream), ("tags", .tags), ("anthropic_version", .anthropicVersion),
        ("anthropic_beta", .anthropicBeta), ("user_profile_id", .userProfileID), ("max_tokens", .maximumTokens),
        ("thinking", .thinking), ("tools", .tools), ("messages", .messages), ("system", .system),
    ]

    /// Notes a member whose value begins here.
    private mutating func beginMember(_ key: Range<Int>) {
        let known = Self.memberKeys.first { self.is(key, $0.0) }?.1 ?? .other
        self.pendingMember = (known, key.lowerBound - 1, self.at)
    }

    private mutating func endMember() {
        guard let (key, start, value) = self.pendingMember else { return }
        self.pendingMember = nil
        self.scan.members.append(BodyMember(key: key, range: start..<self.at, value: value..<self.at))
    }

    private mutating func member(_ key: Range<Int>) throws(BodyScanError) {
        let depth = self.frames.count
        if self.is(key, "model") {
            if depth == 1 {
                try self.topLevelModel()
                return
            }
            if self.findsNestedModels, self.opaqueDepth == nil {
                try self.nestedModel(key)
                return
            }
        } else if depth == 1, self.is(key, "stream") {
            self.scan.streams = self.peek == UInt8(ascii: "t")
        } else if self.findsNestedModels, self.opaqueDepth == nil, self.isOpaque(key) {
            let before = self.frames.count
            try self.beginValue(key: key, index: 0)
            if self.frames.count > before { self.opaqueDepth = before }
            return
        }
        try self.beginValue(key: key, index: 0)
    }

    private mutating func topLevelModel() throws(BodyScanError) {
        let start = self.at
        let found: BodyScan.Model
        if self.peek == 0x22 {
            try self.skipString()
            found = .string(self.text(start + 1..<self.at - 1))
            self.scan.modelRanges.append(start..<self.at)
        } else {
            found = .notAString
            try self.beginValue(key: start..<start, index: 0)
        }
        if self.scan.model != .missing, self.scan.model != found { self.scan.hasConflictingModels = true }
        self.scan.model = found
    }

    private mutating func nestedModel(_ key: Range<Int>) throws(BodyScanError) {
        let start = self.at
        switch self.peek {
        case 0x22:
            try self.skipString()
            let model = self.text(start + 1..<self.at - 1)
            self.scan.nestedModels.append(.init(path: self.path(to: key), model: model))
        case UInt8(ascii: "{"), UInt8(ascii: "n"):
            try self.beginValue(key: key, index: 0)
        default:
            self.scan.nestedModels.append(.init(path: self.path(to: key), model: nil))
            try self.beginValue(key: key, index: 0)
        }
    }

    /// Reads a scalar whole, or enters a container.
    private mutating func beginValue(key: Range<Int>, index: Int) throws(BodyScanError) {
        switch self.peek {
        case 0x7B, 0x5B:
            guard self.frames.count < Self.maximumDepth else { throw .invalidJSON }
            self.frames.append(Frame(isObject: self.bytes[self.at] == 0x7B, key: key, index: index))
            self.at += 1
        case 0x22: try self.skipString()
        case UInt8(ascii: "t"): try self.expect("true")
        case UInt8(ascii: "f"): try self.expect("false")
        case UInt8(ascii: "n"): try self.expect("null")
        default: try self.skipNumber()
        }
    }

    private mutating func expect(_ word: StaticString) throws(BodyScanError) {
        let end = self.at + word.utf8CodeUnitCount
        guard end <= self.bytes.count, memcmp(self.bytes.baseAddress! + self.at, word.utf8Start, end - self.at) == 0
        else {
            throw .invalidJSON
        }
        self.at = end
    }

    /// From the opening quote to behind the closing one. Eight bytes at a time while nothing special is among them.
    private mutating func skipString() throws(BodyScanError) {
        let ones: UInt64 = 0x0101_0101_0101_0101
        let highs: UInt64 = 0x8080_8080_8080_8080
        self.at += 1
        while true {
            while self.at + 8 <= self.bytes.count {
                let word = self.bytes.loadUnaligned(fromByteOffset: self.at, as: UInt64.self)
                let quotes = word ^ (ones &* 0x22)
                let slashes = word ^ (ones &* 0x5C)
                // The classic "has a zero byte" and "has a byte below 0x20" tests; a false positive only costs a byte step.
                let special =
                    ((quotes &- ones) & ~quotes) | ((slashes &- ones) & ~slashes) | ((word &- (ones &* 0x20)) & ~word)
                if special & highs != 0 { break }
                self.at += 8
            }
            guard self.at < self.bytes.count else { throw .invalidJSON }
            let byte = self.bytes[self.at]
            self.at += 1
            if byte == 0x22 { return }
            if byte == 0x5C {
                try self.skipEscape()
            } else if byte < 0x20 {
                throw .invalidJSON
            }
        }
    }

    private mutating func skipEscape() throws(BodyScanError) {
        guard let byte = self.peek else { throw .invalidJSON }
        self.at += 1
        switch byte {
        case 0x22, 0x5C, 0x2F, 0x62, 0x66, 0x6E, 0x72, 0x74: return
        case 0x75:
            guard self.at + 4 <= self.bytes.count else { throw .invalidJSON }
            for _ in 0..<4 {
                switch self.bytes[self.at] {
                case 0x30...0x39, 0x41...0x46, 0x61...0x66: self.at += 1
                default: throw .invalidJSON
                }
            }
        default: throw .invalidJSON
        }
    }

    private mutating func skipNumber() throws(BodyScanError) {
        if self.peek == 0x2D { self.at += 1 }
        if self.peek == 0x30 {
            self.at += 1
        } else {
            try self.skipDigits()
        }
        if self.peek == 0x2E {
            self.at += 1
            try self.skipDigits()
        }
        if let byte = self.peek, byte | 0x20 == 0x65 {
            self.at += 1
            if self.peek == 0x2B || self.peek == 0x2D { self.at += 1 }
            try self.skipDigits()
        }
    }

    private mutating func skipDigits() throws(BodyScanError) {
        let start = self.at
        while self.at < self.bytes.count, (0x30...0x39).contains(self.bytes[self.at]) { self.at += 1 }
        guard self.at > start else { throw .invalidJSON }
    }

    /// Whether a key is that word, however it is escaped.
    private func `is`(_ key: Range<Int>, _ word: StaticString) -> Bool {
        if key.count == word.utf8CodeUnitCount {
            return memcmp(self.bytes.baseAddress! + key.lowerBound, word.utf8Start, key.count) == 0
        }
        // An escape only makes a key longer: `mod\u0065l`.
        guard key.count > word.utf8CodeUnitCount, key.count <= word.utf8CodeUnitCount * 6, self.hasEscape(key) else {
            return false
        }
        return word.withUTF8Buffer { self.text(key).utf8.elementsEqual($0) }
    }

    private func isOpaque(_ key: Range<Int>) -> Bool {
        Self.opaqueKeys.contains { self.is(key, $0) }
    }

    private func hasEscape(_ range: Range<Int>) -> Bool {
        memchr(self.bytes.baseAddress! + range.lowerBound, 0x5C, range.count) != nil
    }

    private func text(_ range: Range<Int>) -> String {
        let raw = UnsafeRawBufferPointer(rebasing: self.bytes[range])
        guard self.hasEscape(range) else { return String(decoding: raw, as: UTF8.self) }
        let quoted = [0x22] + Array(raw) + [0x22]
        return (try? JSONValue(parsing: quoted))?.string ?? String(decoding: raw, as: UTF8.self)
    }

    private func path(to key: Range<Int>) -> String {
        var path = ""
        for frame in self.frames.dropFirst() {
            if frame.key.isEmpty {
                path += "[\(frame.index)]"
            } else {
                path += (path.isEmpty ? "" : ".") + self.text(frame.key)
            }
        }
        return path + "." + self.text(key)
    }
}
