// SPDX-License-Identifier: Apache-2.0

internal import GatewayCore
internal import GatewayMetering
internal import GatewayProviders

/// What a request body says about its cost, read from a scan that lists members.
struct BodySpend {
    private static func isPrompt(_ key: BodyMember.Key) -> Bool { key == .messages || key == .system || key == .tools }

    /// A tag is a short word; a longer value is none.
    private static let tagsLimit = 1 << 14

    private let members: [BodyMember]
    private let body: any BodyReading

    init(_ scan: BodyScan, _ body: any BodyReading) {
        self.members = scan.members
        self.body = body
    }

    /// The prompt's tokens by its length: a quarter of the bytes of `messages`, `system` and `tools`.
    var promptTokens: Int {
        var bytes = 2
        var count = 0
        for member in self.members where Self.isPrompt(member.key) {
            bytes += member.range.count
            count += 1
        }
        return (bytes + max(0, count - 1) + 3) / 4
    }

    /// `max_tokens`; `nil` when it is missing or no count.
    var maximumOutput: Int? {
        guard let member = self.members.last(where: { $0.key == .maximumTokens }), member.value.count <= 20 else {
            return nil
        }
        let text = self.body.bytes(member.value)
        if text.count < 10, text.allSatisfy({ (0x30...0x39).contains($0) }), text.first != 0x30 {
            return min(text.reduce(0) { $0 * 10 + Int($1 - 0x30) }, UsageReader.maximumTokens)
        }
        guard let count = (try? JSONValue(parsing: text))?.integer, count >= 0 else { return nil }
        return min(count, UsageReader.maximumTokens)
    }

    /// A body with the model and the prompt alone, for counting.
    var countable: [UInt8] {
        var out: [UInt8] = [0x7B]
        for member in self.members where member.key == .model || Self.isPrompt(member.key) {
            if out.count > 1 { out.append(0x2C) }
            out += self.body.bytes(member.range)
        }
        return out + [0x7D]
    }

    var hasTags: Bool { self.members.contains { $0.key == .tags } }

    /// Which group the request names under `tags.<name>`.
    func billing(tag: String, groups: [String]) -> BillingTag {
        guard let member = self.members.last(where: { $0.key == .tags }), member.value.count <= Self.tagsLimit,
            let tags = try? JSONValue(parsing: self.body.bytes(member.value)), let value = tags[tag]
        else { return .none }
        guard let name = value.string, groups.contains(name) else { return .ignored }
        return .group(name)
    }

    /// The body without its tags.
    var untagged: [UInt8] {
        var end = self.body.count
        while end > 0, self.body.bytes(end - 1..<end) != [0x7D] { end -= 1 }
        var editor = BodyEditor(members: self.members, end: max(0, end - 1))
        editor.remove(.tags)
        return BodyEditor.apply(editor.edits, to: self.body)
    }
}
