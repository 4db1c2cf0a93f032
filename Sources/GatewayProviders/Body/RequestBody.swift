// SPDX-License-Identifier: Apache-2.0

/// Reads parts of a request body that stays where it is.
package protocol BodyReading: Sendable {
    /// Length in bytes.
    var count: Int { get }
    func bytes(_ range: Range<Int>) -> [UInt8]
}

/// A member of a body's top level.
package struct BodyMember: Sendable, Equatable {
    /// The keys that some provider cuts out, moves or reads.
    package enum Key: Sendable, Equatable {
        case model
        case stream
        case tags
        case anthropicVersion
        case anthropicBeta
        case userProfileID
        case maximumTokens
        case thinking
        case tools
        case messages
        case system
        case other
    }

    package let key: Key
    /// From the key's opening quote to the value's last byte.
    package let range: Range<Int>
    package let value: Range<Int>

    package init(key: Key, range: Range<Int>, value: Range<Int>) {
        self.key = key
        self.range = range
        self.value = value
    }
}

/// Cuts members out of a JSON object's text, replaces values and appends members, without writing the rest anew: what
/// is not named stays as the client wrote it, byte for byte.
package struct BodyEditor {
    private let members: [BodyMember]
    /// The place of the object's closing brace.
    private let end: Int
    private var removed: Set<Int> = []
    private var replacements: [Int: [UInt8]] = [:]
    private var appended: [[UInt8]] = []

    package init(members: [BodyMember], end: Int) {
        self.members = members
        self.end = end
    }

    /// The member that counts: the last one, as parsers read repeated keys.
    package func member(_ key: BodyMember.Key) -> BodyMember? {
        self.members.last { $0.key == key }
    }

    package mutating func remove(_ key: BodyMember.Key) {
        for (index, member) in self.members.enumerated() where member.key == key { self.removed.insert(index) }
    }

    package mutating func replace(_ key: BodyMember.Key, with value: [UInt8]) {
        for (index, member) in self.members.enumerated() where member.key == key {
            self.replacements[index] = value
        }
    }

    /// - Parameter member: `"key":value`.
    package mutating func append(_ member: String) {
        self.appended.append(Array(member.utf8))
    }

    /// The edits, in ascending order.
    package var edits: [BodyEdit] {
        var edits: [BodyEdit] = []
        var hasKept = false
        var index = 0
        while index < self.members.count {
            let member = self.members[index]
            guard self.removed.contains(index) else {
                hasKept = true
                if let value = self.replacements[index] {
                    edits.append(BodyEdit(range: member.value, replacement: value))
                }
                index += 1
                continue
            }
            var last = index
            while last + 1 < self.members.count, self.removed.contains(last + 1) { last += 1 }
            // With the comma before it, or, at the front, with the one behind it.
            let start = hasKept ? self.members[index - 1].range.upperBound : member.range.lowerBound
            let stop =
                hasKept || last + 1 == self.members.count
                ? self.members[last].range.upperBound : self.members[last + 1].range.lowerBound
            edits.append(BodyEdit(range: start..<stop, replacement: []))
            index = last + 1
        }
        if !self.appended.isEmpty {
            var text: [UInt8] = []
            for (index, member) in self.appended.enumerated() {
                if index > 0 || hasKept { text.append(0x2C) }
                text += member
            }
            edits.append(BodyEdit(range: self.end..<self.end, replacement: text))
        }
        return edits
    }

    /// The edited text as a whole.
    package static func apply(_ edits: [BodyEdit], to body: any BodyReading) -> [UInt8] {
        var out: [UInt8] = []
        out.reserveCapacity(body.count + 256)
        var at = 0
        for edit in edits {
            out += body.bytes(at..<edit.range.lowerBound)
            out += edit.replacement
            at = edit.range.upperBound
        }
        out += body.bytes(at..<body.count)
        return out
    }
}
