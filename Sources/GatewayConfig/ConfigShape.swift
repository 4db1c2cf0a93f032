// SPDX-License-Identifier: Apache-2.0

/// What a value may be. Shapes are data: decoding, suggestions, the man page and the sample file all read them.
package indirect enum ConfigShape: Sendable {
    /// Text of at least `minimum` and at most `maximum` characters.
    case string(minimum: Int = 0, maximum: Int? = nil)
    case boolean
    /// A number; `above` is exclusive, the others inclusive.
    case number(above: Double? = nil, minimum: Double? = nil, maximum: Double? = nil)
    case integer(above: Int? = nil, minimum: Int? = nil, maximum: Int? = nil)
    case choice([String])
    case list(of: ConfigShape, minimum: Int = 0)
    /// A mapping with free keys.
    case map(of: ConfigShape)
    case section(ConfigSection)
    /// A mapping whose keys depend on the value of one of them.
    case variants(discriminator: String, [(name: String, section: ConfigSection)])
    /// Any of several shapes; the first that fits the value's kind is applied.
    case either([ConfigShape])
    /// A document that somebody else's schema governs.
    case open
}

/// A mapping with known keys.
package struct ConfigSection: Sendable {
    /// A rule over several keys of a section; runs only when each key by itself is right.
    package typealias Rule = @Sendable (ConfigNode, inout ConfigReport) -> Void

    package let keys: [ConfigKey]
    package let rules: [Rule]

    package init(_ keys: [ConfigKey], rules: [Rule] = []) {
        self.keys = keys
        self.rules = rules
    }

    package func appending(_ keys: [ConfigKey], rules: [Rule] = []) -> ConfigSection {
        ConfigSection(self.keys + keys, rules: self.rules + rules)
    }
}

/// One key of a section: the single place where its name, shape, default and meaning are written.
package struct ConfigKey: Sendable {
    package typealias Check = @Sendable (ConfigNode) -> String?

    package let name: String
    package let shape: ConfigShape
    package let isRequired: Bool
    /// The default as documentation shows it; `nil` when leaving the key out means "off" or "none".
    package let defaultText: String?
    /// One or two sentences for the man page and the sample.
    package let summary: String
    /// What the sample file shows, as YAML; `nil` leaves the key out of the sample.
    package let example: String?
    /// A judgement of the value's content: the fault's sentence, or `nil` when it is fine. Not applied to unresolved
    /// secrets.
    package let check: Check?

    package init(
        _ name: String,
        _ shape: ConfigShape,
        required: Bool = false,
        default defaultText: String? = nil,
        _ summary: String,
        example: String? = nil,
        check: Check? = nil,
    ) {
        self.name = name
        self.shape = shape
        self.isRequired = required
        self.defaultText = defaultText
        self.summary = summary
        self.example = example
        self.check = check
    }
}
