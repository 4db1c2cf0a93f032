// SPDX-License-Identifier: Apache-2.0

internal import GatewayCore

/// Holds a document against its shapes and reports every disagreement.
package enum ConfigValidator {
    /// Who has more misspelled keys than this in one mapping has another file in hand.
    private static let maximumSuggestions = 50

    package static func validate(_ node: ConfigNode, as section: ConfigSection, into report: inout ConfigReport) {
        self.validate(node, as: .section(section), into: &report)
    }

    package static func validate(_ node: ConfigNode, as shape: ConfigShape, into report: inout ConfigReport) {
        switch shape {
        case .open: break
        case .string(let minimum, let maximum): self.string(node, minimum, maximum, &report)
        case .outboundURL:
            self.string(node, 0, nil, &report)
            if node.string != nil, !node.isUnresolved,
                let complaint = OutboundURL.complaint(node, allowsLoopback: report.allowsLoopback ?? true)
            {
                report.error(node, complaint)
            }
        case .boolean:
            if node.boolean == nil {
                let hint =
                    node.string.map { ["true", "false"].contains($0.lowercased()) } == true ? " without quotes" : ""
                report.mismatch(node, "expected true or false, found \(node.kind); write true or false\(hint).")
            }
        case .number(let above, let minimum, let maximum):
            self.number(node, above, minimum, maximum, whole: false, &report)
        case .integer(let above, let minimum, let maximum):
            self.number(
                node, above.map(Double.init), minimum.map(Double.init), maximum.map(Double.init), whole: true, &report)
        case .plainNumber(let above, let minimum, let maximum, let whole):
            guard case .number(let value) = node.value else {
                report.mismatch(node, "expected a number, found \(node.kind).")
                return
            }
            self.range(value, of: node, above, minimum, maximum, whole: whole, &report)
        case .choice(let options):
            guard let text = node.string else {
                report.mismatch(node, "expected one of \(options.joined(separator: ", ")), found \(node.kind).")
                return
            }
            if !options.contains(text), !node.isUnresolved {
                report.mismatch(node, "is not a known value; write one of \(options.joined(separator: ", ")).")
            }
        case .list(let item, let minimum):
            guard case .list(let items) = node.value else {
                report.mismatch(node, "expected a list, found \(node.kind); write the entries as a YAML list.")
                return
            }
            if items.count < minimum { report.mismatch(node, "the list is empty; it needs at least one entry.") }
            for entry in items { self.validate(entry, as: item, into: &report) }
        case .map(let value):
            guard case .mapping(let members) = node.value else {
                report.mismatch(node, "expected a mapping, found \(node.kind).")
                return
            }
            for member in members { self.validate(member.value, as: value, into: &report) }
        case .section(let section), .document(let section): self.section(node, section, &report)
        case .variants(let discriminator, let variants): self.variants(node, discriminator, variants, &report)
        case .either(let shapes):
            if let fitting = shapes.first(where: { self.fits(node, $0) }) {
                self.validate(node, as: fitting, into: &report)
            } else {
                let names = shapes.map(self.name(of:)).joined(separator: " or ")
                report.mismatch(node, "expected \(names), found \(node.kind).")
            }
        }
    }

    private static func string(_ node: ConfigNode, _ minimum: Int, _ maximum: Int?, _ report: inout ConfigReport) {
        guard let text = node.string else {
            let hint = if case .number = node.value { "; put it in quotes" } else { "" }
            report.mismatch(node, "expected text, found \(node.kind)\(hint).")
            return
        }
        guard !node.isUnresolved else { return }
        if text.count < minimum {
            let what =
                minimum == 1 ? "must not be empty" : "must have at least \(minimum) characters and has \(text.count)"
            let hint = node.isExpanded ? "; check the variable or file it comes from" : ""
            report.mismatch(node, "\(what)\(hint).")
        }
        if let maximum, text.count > maximum {
            report.mismatch(node, "must have at most \(maximum) characters and has \(text.count).")
        }
    }

    private static func number(
        _ node: ConfigNode, _ above: Double?, _ minimum: Double?, _ maximum: Double?, whole: Bool,
        _ report: inout ConfigReport,
    ) {
        if node.isUnresolved { return }
        guard let value = node.number, value.isFinite else {
            report.mismatch(node, "expected a \(whole ? "whole " : "")number, found \(node.kind) that is not one.")
            return
        }
        self.range(value, of: node, above, minimum, maximum, whole: whole, &report)
    }

    private static func range(
        _ value: Double, of node: ConfigNode, _ above: Double?, _ minimum: Double?, _ maximum: Double?, whole: Bool,
        _ report: inout ConfigReport,
    ) {
        if whole, value != value.rounded() {
            report.mismatch(node, "must be a whole number.")
        } else if let above, value <= above {
            report.mismatch(node, "must be greater than \(JSONValue.javaScriptText(of: above)).")
        } else if let minimum, value < minimum {
            report.mismatch(node, "must be at least \(JSONValue.javaScriptText(of: minimum)).")
        } else if let maximum, value > maximum {
            report.mismatch(node, "must be at most \(JSONValue.javaScriptText(of: maximum)).")
        }
    }

    private static func section(_ node: ConfigNode, _ section: ConfigSection, _ report: inout ConfigReport) {
        guard case .mapping(let members) = node.value else {
            let keys = section.keys.count > 12 || section.keys.isEmpty ? "" : " with the keys \(self.listing(section))"
            report.mismatch(node, "expected a mapping\(keys), found \(node.kind).")
            return
        }
        var strangers = 0
        for member in members {
            guard let key = section.keys.first(where: { $0.name == member.key }) else {
                if section.isOpen { continue }
                let path = node.path.appending(member.key.singleLine)
                if let (severity, sentence) = section.stranger?(member.key) {
                    report.add(ConfigFault(severity, at: member.position, path, sentence))
                    continue
                }
                strangers += 1
                let near =
                    strangers > Self.maximumSuggestions
                    ? nil : Suggestion.nearest(to: member.key, in: section.keys.map(\.name))
                let remedy = near.map { "did you mean \($0)?" } ?? "known keys here are \(self.listing(section))."
                report.add(
                    ConfigFault(.error, at: member.position, path, "is not a known key; \(remedy)", isStructural: true))
                continue
            }
            let own = report.errorCount
            self.validate(member.value, as: key.shape, into: &report)
            if report.errorCount == own, !member.value.isUnresolved {
                if let complaint = key.check?(member.value) { report.error(member.value, complaint) }
                key.inspect?(member.value, &report)
            }
        }
        for key in section.keys where key.isRequired && node[key.name] == nil {
            let path = node.path.appending(key.name)
            report.add(ConfigFault(.error, at: node.position, path, "is required. \(key.summary)", isStructural: true))
        }
        for rule in section.rules { rule(node, &report) }
    }

    private static func variants(
        _ node: ConfigNode, _ discriminator: String, _ variants: [(name: String, section: ConfigSection)],
        _ report: inout ConfigReport,
    ) {
        let names = variants.map(\.name).joined(separator: ", ")
        guard case .mapping = node.value else {
            report.mismatch(node, "expected a mapping with the key \(discriminator), found \(node.kind).")
            return
        }
        guard let chosen = node[discriminator] else {
            let path = node.path.appending(discriminator)
            report.add(
                ConfigFault(.error, at: node.position, path, "is required; write one of \(names).", isStructural: true))
            return
        }
        guard let name = chosen.string, let variant = variants.first(where: { $0.name == name }) else {
            let near = chosen.string.flatMap { Suggestion.nearest(to: $0, in: variants.map(\.name)) }
            let remedy = near.map { "did you mean \($0)?" } ?? "write one of \(names)."
            report.mismatch(chosen, "is not a known value; \(remedy)")
            return
        }
        self.section(node, variant.section, &report)
    }

    private static func fits(_ node: ConfigNode, _ shape: ConfigShape) -> Bool {
        switch (shape, node.value) {
        case (.string, .string), (.choice, .string), (.outboundURL, .string), (.boolean, .boolean), (.number, .number),
            (.integer, .number), (.plainNumber, .number),
            (.list, .list), (.map, .mapping), (.section, .mapping), (.document, .mapping), (.variants, .mapping),
            (.open, _):
            true
        default: false
        }
    }

    private static func name(of shape: ConfigShape) -> String {
        switch shape {
        case .string, .choice, .outboundURL: "text"
        case .boolean: "true or false"
        case .number, .integer, .plainNumber: "a number"
        case .list: "a list"
        case .map, .section, .document, .variants, .open: "a mapping"
        case .either(let shapes): shapes.map(self.name(of:)).joined(separator: " or ")
        }
    }

    private static func listing(_ section: ConfigSection) -> String {
        section.keys.map(\.name).joined(separator: ", ")
    }
}

extension ConfigReport {
    fileprivate var errorCount: Int {
        self.faults.count { $0.severity == .error }
    }
}
