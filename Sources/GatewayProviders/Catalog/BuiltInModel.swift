// SPDX-License-Identifier: Apache-2.0

/// A model that the gateway knows without configuration, with the id that each provider gives it.
package struct BuiltInModel: Sendable {
    /// The id of Anthropic's own API; requests in any spelling become this.
    package let id: String
    /// The id without its date, which clients may send too.
    package let undated: String?
    /// Bedrock's foundation-model id, without a geographic prefix.
    package let bedrock: String
    package let mantle: String?
    package let vertex: String
    package let foundry: String
    package let isOnGoogleCloud: Bool
    package let maximumInputTokens: Int?
    /// Whether Claude Desktop may offer the model's 1M context window.
    package let supportsMillionTokens: Bool
    /// Whether `/v1/models` lists it; the others are accepted when asked for.
    package let isListed: Bool

    /// The model that a request or a provider's id means, in any spelling and with any geographic prefix.
    package static func spelled(_ name: String) -> BuiltInModel? {
        let name = name.lowercased()
        if let known = self.all.first(where: { $0.spellings.contains(name) || $0.bedrock == name }) { return known }
        // `us.`, `eu.`, `apac.`, `global.`: inference profiles of one foundation model.
        guard let dot = name.firstIndex(of: "."), name[..<dot].allSatisfy(\.isLetter) else { return nil }
        let bare = String(name[name.index(after: dot)...])
        return self.all.first { $0.bedrock == bare }
    }

    /// Every spelling that a request may carry, lower-cased.
    package var spellings: Set<String> {
        var all: Set<String> = [self.id, "us." + self.bedrock, self.vertex, self.foundry]
        if let undated { all.insert(undated) }
        if let mantle { all.insert(mantle) }
        return all
    }
}

extension BuiltInModel {
    /// In the order of `/v1/models`. Measured on the contract's release; a provider's own list is authoritative.
    package static let all: [BuiltInModel] = [
        plain("claude-opus-4-6", bedrock: "anthropic.claude-opus-4-6-v1", mantle: false, window: nil, long: true),
        dated("claude-sonnet-4-5", "20250929", window: nil),
        dated("claude-haiku-4-5", "20251001", window: 200_000, mantle: true),
        plain("claude-fable-5-2"),
        plain("claude-fable-5-1"),
        plain("claude-fable-5"),
        plain("claude-opus-5-5"),
        plain("claude-opus-5"),
        plain("claude-opus-4-8"),
        plain("claude-opus-4-7"),
        dated("claude-opus-4-1", "20250805", window: 200_000, googleCloud: false),
        plain("claude-sonnet-5-5"),
        plain("claude-sonnet-5"),
        plain("claude-sonnet-4-6", mantle: false, window: nil),
        plain("claude-haiku-5-5"),
        dated("claude-opus-4-5", "20251101", window: nil, listed: false),
        dated("claude-opus-4", "20250514", window: nil, googleCloud: false, listed: false),
        dated("claude-sonnet-4", "20250514", window: nil, googleCloud: false, listed: false),
        dated("claude-3-7-sonnet", "20250219", window: nil, googleCloud: false, listed: false, takesUndated: false),
        dated(
            "claude-3-5-sonnet", "20241022", window: nil, googleCloud: false, listed: false, takesUndated: false,
            revision: "v2"),
        dated("claude-3-5-haiku", "20241022", window: nil, googleCloud: false, listed: false, takesUndated: false),
    ]

    private static func plain(
        _ id: String, bedrock: String? = nil, mantle: Bool = true, window: Int? = 1_000_000, long: Bool = true,
    ) -> BuiltInModel {
        BuiltInModel(
            id: id, undated: nil, bedrock: bedrock ?? "anthropic.\(id)", mantle: mantle ? "anthropic.\(id)" : nil,
            vertex: id, foundry: id, isOnGoogleCloud: true, maximumInputTokens: window, supportsMillionTokens: long,
            isListed: true)
    }

    /// - Parameters:
    ///   - takesUndated: Whether the undated form is accepted as such. Where it is not, Foundry's undated id still is.
    ///   - revision: The cloud providers' revision where it is not the first.
    private static func dated(
        _ name: String, _ date: String, window: Int?, mantle: Bool = false, googleCloud: Bool = true,
        listed: Bool = true, takesUndated: Bool = true, revision: String? = nil,
    ) -> BuiltInModel {
        BuiltInModel(
            id: "\(name)-\(date)", undated: takesUndated ? name : nil,
            bedrock: "anthropic.\(name)-\(date)-\(revision ?? "v1"):0", mantle: mantle ? "anthropic.\(name)" : nil,
            vertex: "\(name)\(revision.map { "-" + $0 } ?? "")@\(date)", foundry: name, isOnGoogleCloud: googleCloud,
            maximumInputTokens: window, supportsMillionTokens: false, isListed: listed)
    }
}
