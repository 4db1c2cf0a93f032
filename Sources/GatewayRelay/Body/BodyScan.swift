// SPDX-License-Identifier: Apache-2.0

internal import CByteScan
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
    package static let maximumDepth = Int(cjson_maximum_depth)

    /// Keys under which `model` is data rather than a request for a model.
    private static let opaqueKeys: [StaticString] = ["input", "input_schema", "input_examples", "schema"]

    private struct Frame {
        var isObject: Bool
        /// The place of the key under which this container stands; empty inside an array.
        var key: Range<Int>
        /// The index under which this container stands in an array.
        var index: Int
        var count = 0
    }

    private let bytes: UnsafeRawBufferPointer
    private let findsNestedModels: Bool
    private let listsMembers: Bool
    private var at = 0
    /// The containers around the innermost one.
    private var outer: [Frame] = []
    /// The innermost container that is open.
    private var frame = Frame(isObject: false, key: 0..<0, index: 0)
    /// How many containers are open.
    private var depth = 0
    /// The depth at which an opaque key's value began; `nil` outside of one.
    private var opaqueDepth: Int?
    private var scan = BodyScan()
    /// The member of the top level that is being read: its key, and where it and its value begin.
    private var pendingMember: (BodyMember.Key, Int, Int)?

    private init(_ bytes: UnsafeRawBufferPointer, findsNestedModels: Bool, listsMembers: Bool) {
        self.listsMembers = listsMembers
        self.bytes = bytes
        self.findsNestedModels = findsNestedModels
        self.outer.reserveCapacity(16)
        if listsMembers { self.scan.members.reserveCapacity(16) }
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
        while self.depth > 0 { try self.step() }
        self.skipSpace()
        guard self.at == self.bytes.count else { throw .invalidJSON }
        guard isObject else { throw .notAnObject }
        return self.scan
    }

    @inline(__always)
    private var peek: UInt8? {
        self.at < self.bytes.count ? self.bytes[self.at] : nil
    }

    @inline(__always)
    private mutating func skipSpace() {
        var at = self.at
        while at < self.bytes.count, self.bytes[at] <= 0x20 {
            switch self.bytes[at] {
            case 0x20, 0x09, 0x0A, 0x0D: at += 1
            default:
                self.at = at
                return
            }
        }
        self.at = at
    }

    private mutating func open(_ isObject: Bool, key: Range<Int>, index: Int) throws(BodyScanError) {
        guard self.depth < Self.maximumDepth else { throw .invalidJSON }
        if self.depth > 0 { self.outer.append(self.frame) }
        self.frame = Frame(isObject: isObject, key: key, index: index)
        self.depth += 1
        self.at += 1
    }

    private mutating func close() {
        self.at += 1
        self.depth -= 1
        if self.depth > 0 { self.frame = self.outer.removeLast() }
        if self.depth == 1 { self.endMember() }
        if self.opaqueDepth == self.depth { self.opaqueDepth = nil }
    }

    /// Reads one member, one element, or the end of the innermost container.
    private mutating func step() throws(BodyScanError) {
        self.skipSpace()
        guard let byte = self.peek else { throw .invalidJSON }
        let isObject = self.frame.isObject
        if byte == (isObject ? 0x7D : 0x5D) {
            self.close()
            return
        }
        let index = self.frame.count
        if index > 0 {
            guard byte == 0x2C else { throw .invalidJSON }
            self.at += 1
            self.skipSpace()
        }
        self.frame.count = index + 1
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
        let isTop = self.depth == 1
        if isTop, self.listsMembers { self.beginMember(key) }
        try self.member(key)
        if isTop, self.depth == 1 { self.endMember() }
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
        if self.is(key, "model") {
            if self.depth == 1 {
                try self.topLevelModel()
                return
            }
            if self.findsNestedModels, self.opaqueDepth == nil {
                try self.nestedModel(key)
                return
            }
        } else if self.depth == 1, self.is(key, "stream") {
            self.scan.streams = self.peek == UInt8(ascii: "t")
        } else if self.depth == 1, try self.skipContainer(isOpaque: self.isOpaque(key)) {
            return
        } else if self.findsNestedModels, self.opaqueDepth == nil, self.isOpaque(key) {
            let before = self.depth
            try self.beginValue(key: key, index: 0)
            if self.depth > before { self.opaqueDepth = before }
            return
        }
        try self.beginValue(key: key, index: 0)
    }

    /// Reads over a container of the top level whole, unless a model in it must be found.
    ///
    /// - Returns: Whether it was one, and is behind.
    private mutating func skipContainer(isOpaque: Bool) throws(BodyScanError) -> Bool {
        guard let byte = self.peek, byte == 0x7B || byte == 0x5B else { return false }
        let word: StaticString = "model"
        var found: Int32 = 0
        let looks = self.findsNestedModels && !isOpaque
        let end = withUnsafeMutablePointer(to: &found) { found in
            cjson_value_end(
                self.bytes.baseAddress!.assumingMemoryBound(to: UInt8.self) + self.at, self.bytes.count - self.at,
                Self.maximumDepth - self.depth, word.utf8Start, word.utf8CodeUnitCount, looks ? found : nil)
        }
        guard end >= 0 else { throw .invalidJSON }
        if found != 0 { return false }
        self.at += end
        return true
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
        case 0x22: try self.skipString()
        case 0x7B: try self.open(true, key: key, index: index)
        case 0x5B: try self.open(false, key: key, index: index)
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

    /// From the opening quote to behind the closing one.
    @inline(__always)
    private mutating func skipString() throws(BodyScanError) {
        let start = self.at + 1
        let rest = self.bytes.baseAddress! + start
        let end = cjson_string_end(rest.assumingMemoryBound(to: UInt8.self), self.bytes.count - start)
        guard end >= 0 else { throw .invalidJSON }
        self.at = start + end + 1
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
    @inline(__always)
    private func `is`(_ key: Range<Int>, _ word: StaticString) -> Bool {
        if key.count == word.utf8CodeUnitCount {
            return self.bytes[key.lowerBound] == word.utf8Start[0]
                && memcmp(self.bytes.baseAddress! + key.lowerBound, word.utf8Start, key.count) == 0
        }
        // An escape only makes a key longer: `mod\u0065l`.
        guard key.count > word.utf8CodeUnitCount, key.count <= word.utf8CodeUnitCount * 6 else { return false }
        return self.isEscaped(key, word)
    }

    private func isEscaped(_ key: Range<Int>, _ word: StaticString) -> Bool {
        self.hasEscape(key) && word.withUTF8Buffer { self.text(key).utf8.elementsEqual($0) }
    }

    private func isOpaque(_ key: Range<Int>) -> Bool {
        Self.opaqueKeys.contains { self.is(key, $0) }
    }

    private func hasEscape(_ range: Range<Int>) -> Bool {
        ByteSearch.first(0x5C, UnsafeRawBufferPointer(rebasing: self.bytes[range]), from: 0) != nil
    }

    private func text(_ range: Range<Int>) -> String {
        let raw = UnsafeRawBufferPointer(rebasing: self.bytes[range])
        guard self.hasEscape(range) else { return String(decoding: raw, as: UTF8.self) }
        let quoted = [0x22] + Array(raw) + [0x22]
        return (try? JSONValue(parsing: quoted))?.string ?? String(decoding: raw, as: UTF8.self)
    }

    private func path(to key: Range<Int>) -> String {
        var path = ""
        for frame in (self.outer + [self.frame]).dropFirst() {
            if frame.key.isEmpty {
                path += "[\(frame.index)]"
            } else {
                path += (path.isEmpty ? "" : ".") + self.text(frame.key)
            }
        }
        return path + "." + self.text(key)
    }
}
