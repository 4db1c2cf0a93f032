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

/// Reads a JSON text once, validating all of it (RFC 8259, as `JSON.parse` judges it, except that invalid UTF-8 inside
/// strings passes) and noting the few fields that matter. The members of the top level are read over whole; only one in
/// which a model may be hidden is walked through.
package struct BodyScanner {
    /// Deeper texts are refused; the bound is far above what any client sends and keeps the stack of open containers small.
    package static let maximumDepth = Int(cjson_maximum_depth)

    private static let model: StaticString = "model"

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
    /// The containers around the innermost one, when a member is walked through.
    private var outer: [Frame] = []
    /// The innermost container that is open: the top level at first.
    private var frame = Frame(isObject: true, key: 0..<0, index: 0)
    /// How many containers are open.
    private var depth = 1
    /// The depth at which an opaque key's value began; `nil` outside of one.
    private var opaqueDepth: Int?
    private var scan = BodyScan()

    private init(_ bytes: UnsafeRawBufferPointer, findsNestedModels: Bool, listsMembers: Bool) {
        self.listsMembers = listsMembers
        self.bytes = bytes
        self.findsNestedModels = findsNestedModels
        if listsMembers { self.scan.members.reserveCapacity(16) }
    }

    /// - Parameters:
    ///   - findsNestedModels: Whether to list `model` keys below the top level.
    ///   - listsMembers: Whether to list the members of the top level, for upstreams that take another body.
    package static func scan(
        _ bytes: UnsafeRawBufferPointer, findsNestedModels: Bool, listsMembers: Bool = false,
    ) throws(BodyScanError) -> BodyScan {
        guard let base = bytes.baseAddress?.assumingMemoryBound(to: UInt8.self) else { throw .invalidJSON }
        var scanner = BodyScanner(bytes, findsNestedModels: findsNestedModels, listsMembers: listsMembers)
        try scanner.readTopLevel(base)
        return scanner.scan
    }

    private mutating func readTopLevel(_ base: UnsafePointer<UInt8>) throws(BodyScanError) {
        let (count, word) = (self.bytes.count, Self.model)
        var at = cjson_skip_space(base, count, 0)
        guard at < count, base[at] == 0x7B else {
            let end = cjson_value_end(base + at, count - at, Self.maximumDepth, nil, 0, nil)
            guard end >= 0, cjson_skip_space(base, count, at + end) == count else { throw .invalidJSON }
            throw .notAnObject
        }
        at += 1
        var member = cjson_member()
        var isFirst: Int32 = 1
        while true {
            var found: Int32 = 0
            let read = withUnsafeMutablePointer(to: &found) { found in
                cjson_next_member(
                    base, count, &at, isFirst, Self.maximumDepth - 1, word.utf8Start, word.utf8CodeUnitCount,
                    self.findsNestedModels ? found : nil, &member)
            }
            guard read >= 0 else { throw .invalidJSON }
            if read == 0 { break }
            isFirst = 0
            try self.take(
                member.key..<(member.key + member.key_count), member.value..<member.end, mayHoldModel: found != 0)
        }
        guard cjson_skip_space(base, count, at) == count else { throw .invalidJSON }
    }

    /// Notes a member of the top level.
    private mutating func take(
        _ key: Range<Int>, _ value: Range<Int>, mayHoldModel: Bool,
    ) throws(BodyScanError) {
        let name = self.reading(key, BodyMember.Key.init(name:))
        switch name {
        case .model: self.takeModel(value)
        case .stream: self.scan.streams = self.bytes[value.lowerBound] == UInt8(ascii: "t")
        default: break
        }
        if mayHoldModel, name != .model, !self.reading(key, Self.isOpaque) {
            self.at = value.lowerBound
            try self.beginValue(key: key, index: 0)
            while self.depth > 1 { try self.step() }
        }
        if self.listsMembers {
            self.scan.members.append(
                BodyMember(key: name, range: (key.lowerBound - 1)..<value.upperBound, value: value))
        }
    }

    private mutating func takeModel(_ value: Range<Int>) {
        var found = BodyScan.Model.notAString
        if self.bytes[value.lowerBound] == 0x22 {
            found = .string(self.text(value.lowerBound + 1..<value.upperBound - 1))
            self.scan.modelRanges.append(value)
        }
        if self.scan.model != .missing, self.scan.model != found { self.scan.hasConflictingModels = true }
        self.scan.model = found
    }

    // MARK: Walking through a member

    @inline(__always)
    private var peek: UInt8? {
        self.at < self.bytes.count ? self.bytes[self.at] : nil
    }

    @inline(__always)
    private mutating func skipSpace() {
        let base = self.bytes.baseAddress!.assumingMemoryBound(to: UInt8.self)
        self.at = cjson_skip_space(base, self.bytes.count, self.at)
    }

    private mutating func open(_ isObject: Bool, key: Range<Int>, index: Int) throws(BodyScanError) {
        guard self.depth < Self.maximumDepth else { throw .invalidJSON }
        self.outer.append(self.frame)
        self.frame = Frame(isObject: isObject, key: key, index: index)
        self.depth += 1
        self.at += 1
    }

    private mutating func close() {
        self.at += 1
        self.depth -= 1
        self.frame = self.outer.removeLast()
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
        try self.member(key)
    }

    private mutating func member(_ key: Range<Int>) throws(BodyScanError) {
        guard self.opaqueDepth == nil else {
            try self.beginValue(key: key, index: 0)
            return
        }
        if self.reading(key, { $0.equals(Self.model) }) {
            try self.nestedModel(key)
            return
        }
        let before = self.depth
        let isOpaque = self.reading(key, Self.isOpaque)
        try self.beginValue(key: key, index: 0)
        if isOpaque, self.depth > before { self.opaqueDepth = before }
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

    // MARK: Texts

    /// Calls with a key as it is meant, however it is escaped.
    @inline(__always)
    private func reading<Value>(_ key: Range<Int>, _ body: (UnsafeRawBufferPointer) -> Value) -> Value {
        guard self.hasEscape(key) else { return body(UnsafeRawBufferPointer(rebasing: self.bytes[key])) }
        return Array(self.text(key).utf8).withUnsafeBytes { body($0) }
    }

    /// Whether it is a key under which `model` is data rather than a request for a model.
    private static func isOpaque(_ key: UnsafeRawBufferPointer) -> Bool {
        switch key.count {
        case 5: key.equals("input")
        case 6: key.equals("schema")
        case 12: key.equals("input_schema")
        case 14: key.equals("input_examples")
        default: false
        }
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

extension BodyMember.Key {
    fileprivate init(name: UnsafeRawBufferPointer) {
        switch name.count {
        case 4 where name.equals("tags"): self = .tags
        case 5 where name.equals("model"): self = .model
        case 5 where name.equals("tools"): self = .tools
        case 6 where name.equals("stream"): self = .stream
        case 6 where name.equals("system"): self = .system
        case 8 where name.equals("messages"): self = .messages
        case 8 where name.equals("thinking"): self = .thinking
        case 10 where name.equals("max_tokens"): self = .maximumTokens
        case 14 where name.equals("anthropic_beta"): self = .anthropicBeta
        case 15 where name.equals("user_profile_id"): self = .userProfileID
        case 17 where name.equals("anthropic_version"): self = .anthropicVersion
        default: self = .other
        }
    }
}
