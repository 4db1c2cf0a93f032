// SPDX-License-Identifier: Apache-2.0

/// What a value may be. Shapes are data: decoding, suggestions, the man page and the sample file all read them.
package indirect enum ConfigShape: Sendable {
    /// Text of at least `minimum` and at most `maximum` characters.
    case string(minimum: Int = 0, maximum: Int? = nil)
    case boolean
    /// An http or https URL that the gateway will connect to: not a cloud's metadata service, and loopback only where
    /// that is allowed.
    case outboundURL
    /// A number; `above` is exclusive, the others inclusive.
    case number(above: Double? = nil, minimum: Double? = nil, maximum: Double? = nil)
    case integer(above: Int? = nil, minimum: Int? = nil, maximum: Int? = nil)
    /// A number that must be written as one, for documents that are passed on as they are; `above` is exclusive.
    case plainNumber(above: Double? = nil, minimum: Double? = nil, maximum: Double? = nil, whole: Bool = false)
    case choice([String])
    case list(of: ConfigShape, minimum: Int = 0)
    /// A mapping with free keys.
    case map(of: ConfigShape)
    case section(ConfigSection)
    /// A mapping whose keys depend on the value of one of them.
    case variants(discriminator: String, [(name: String, section: ConfigSection)])
    /// Any of several shapes; the first that fits the value's kind is applied.
    case either([ConfigShape])
    /// A document of somebody else's, as far as its keys are known.
    case document(ConfigSection)
    /// Anything.
    case open
}

/// A mapping with known keys.
package struct ConfigSection: Sendable {
    /// A rule over several keys of a section. Single keys may be wrong or missing; their own faults are reported already.
    package typealias Rule = @Sendable (ConfigNode, inout ConfigReport) -> Void

    /// What to say about a key that is not known; `nil` is the usual sentence.
    package typealias Stranger = @Sendable (String) -> (ConfigFault.Severity, String)?

    package let keys: [ConfigKey]
    package let rules: [Rule]
    /// Whether keys that are not listed are taken as they are.
    package let isOpen: Bool
    package let stranger: Stranger?

    package init(_ keys: [ConfigKey], isOpen: Bool = false, stranger: Stranger? = nil, rules: [Rule] = []) {
        self.keys = keys
        self.isOpen = isOpen
        self.stranger = stranger
        self.rules = rules
    }
}

/// One key of a section: the single place where its name, shape, default and meaning are written.
package struct ConfigKey: Sendable {
    package typealias Check = @Sendable (ConfigNode) -> String?
    /// A judgement that points at the parts of a value.
    package typealias Inspection = @Sendable (ConfigNode, inout ConfigReport) -> Void

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
    /// Like `check`, for values of which single parts can be wrong.
    package let inspect: Inspection?

    package init(
        _ name: String,
        _ shape: ConfigShape,
        required: Bool = false,
        default defaultText: String? = nil,
        _ summary: String,
        example: String? = nil,
        check: Check? = nil,
        inspect: Inspection? = nil,
    ) {
        self.name = name
        self.shape = shape
        self.isRequired = required
        self.defaultText = defaultText
        self.summary = summary
        self.example = example
        self.check = check
        self.inspect = inspect
    }
}
