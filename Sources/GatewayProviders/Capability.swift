// SPDX-License-Identifier: Apache-2.0

internal import GatewayCore

/// What some requests need and not every upstream has.
///
/// Source: <https://platform.claude.com/docs/en/build-with-claude/overview>, as of November 2026.
package enum Capability: String, Sendable, CaseIterable {
    case webSearch = "web_search"
    case webFetch = "web_fetch"
    case codeExecution = "code_execution"
    /// Cache entries with `"ttl": "1h"`.
    case longCache = "cache_ttl_1h"

    /// For sentences.
    package var noun: String {
        switch self {
        case .webSearch: "web search"
        case .webFetch: "web fetch"
        case .codeExecution: "code execution"
        case .longCache: "caching for an hour"
        }
    }

    /// Tools that run at the provider, which Amazon's own service of the models has none of.
    package static let serverTools: Set<Capability> = [.webSearch, .webFetch, .codeExecution]

    /// What a body asks for among `candidates`.
    ///
    /// Bodies are long and these are rare: a body without the bytes that every such request has is not parsed.
    package static func needed(by body: some BodyReading, _ members: [BodyMember], among candidates: Set<Capability>)
        -> [Capability]
    {
        let tools = candidates.intersection(Self.serverTools)
        var types: [String] = []
        if !tools.isEmpty {
            // The last of repeated keys is the one that providers read.
            let list = members.last { $0.key == .tools }.flatMap { try? JSONValue(parsing: body.bytes($0.value)) }
            types = (list?.array ?? []).compactMap { $0["type"]?.string }
        }
        return Self.allCases.filter { capability in
            guard candidates.contains(capability) else { return false }
            if capability == .longCache {
                return (try? JSONValue(parsing: body.bytes(0..<body.count))).map(Self.cachesLong) ?? false
            }
            return types.contains { $0.hasPrefix(capability.rawValue + "_") }
        }
    }

    /// The bytes that a request with that need has somewhere, unless it hides them behind escapes.
    package var mark: String {
        switch self {
        case .longCache: "\"1h\""
        default: "\"\(self.rawValue)_"
        }
    }

    private static func cachesLong(_ value: JSONValue) -> Bool {
        switch value {
        case .array(let list): list.contains(where: self.cachesLong)
        case .object(let object):
            object["cache_control"]?["ttl"] == "1h" || object.members.contains { self.cachesLong($0.value) }
        default: false
        }
    }
}
