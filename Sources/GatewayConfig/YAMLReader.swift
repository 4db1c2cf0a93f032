// SPDX-License-Identifier: Apache-2.0

internal import GatewayCore
internal import Yams

/// Reads one YAML 1.2 document (JSON is YAML) into nodes that know their place.
package enum YAMLReader {
    /// Aliases can make a small file unfold into a huge one; no real configuration comes near this.
    private static let maximumNodes = 200_000
    private static let maximumDepth = 200

    /// - Returns: The document, or `nil` with the reason in `report`.
    package static func read(_ text: String, expanding expansion: SecretExpansion, into report: inout ConfigReport)
        -> ConfigNode?
    {
        let roots: [Node]
        do {
            let parser = try Parser(yaml: text)
            var documents: [Node] = []
            while let node = try parser.nextRoot() { documents.append(node) }
            roots = documents
        } catch {
            self.report(error, reading: text, into: &report)
            return nil
        }
        let start = ConfigNode(.null)
        guard roots.count <= 1 else {
            report.error(start, "the file holds \(roots.count) documents; keep one, and remove the '---' between them.")
            return nil
        }
        guard let root = roots.first else { return start }
        var converter = Converter(expansion: expansion, report: report)
        let node = converter.convert(root, path: ConfigPath(), depth: 0)
        report = converter.report
        return converter.isTooLarge ? nil : node
    }

    /// The first tab that indents a line.
    private static func tab(in text: String) -> ConfigPosition? {
        for (number, line) in text.split(separator: "\n", omittingEmptySubsequences: false).enumerated() {
            let margin = line.prefix { $0 == " " || $0 == "\t" }
            if margin.count < line.count, let tab = margin.firstIndex(of: "\t") {
                return ConfigPosition(line: number + 1, column: margin.distance(from: margin.startIndex, to: tab) + 1)
            }
        }
        return nil
    }

    private static func report(_ error: any Error, reading text: String, into report: inout ConfigReport) {
        if let place = self.tab(in: text) {
            report.add(
                ConfigFault(
                    .error, at: place, ConfigPath(), "not valid YAML: a tab stands in the indentation; use spaces."))
            return
        }
        func add(_ mark: Mark?, _ message: String, _ path: ConfigPath = ConfigPath()) {
            let position = ConfigPosition(line: max(1, mark?.line ?? 1), column: max(1, mark?.column ?? 1))
            report.add(ConfigFault(.error, at: position, path, message))
        }
        switch error as? YamlError {
        case .scanner(_, let problem, let mark, _), .parser(_, let problem, let mark, _),
            .composer(_, let problem, let mark, _):
            add(mark, "not valid YAML: \(problem.singleLine). Check the indentation and quoting around this line.")
        case .reader(let problem, _, _, _):
            add(nil, "not valid YAML: \(problem.singleLine). The file must be UTF-8 text without control characters.")
        case .duplicatedKeysInMapping(let duplicates, let context):
            for name in duplicates {
                add(
                    context.mark,
                    "the key is written more than once in the mapping that begins here; keep one of them.",
                    ConfigPath(name.singleLine))
            }
        default:
            add(nil, "not valid YAML: \("\(error)".singleLine).")
        }
    }

    private struct Converter {
        let expansion: SecretExpansion
        var report: ConfigReport
        var count = 0
        var isTooLarge = false

        mutating func convert(_ node: Node, path: ConfigPath, depth: Int) -> ConfigNode {
            let position = ConfigPosition(line: node.mark?.line ?? 1, column: node.mark?.column ?? 1)
            self.count += 1
            guard self.count <= YAMLReader.maximumNodes, depth <= YAMLReader.maximumDepth else {
                if !self.isTooLarge {
                    self.isTooLarge = true
                    let rule = "more than \(YAMLReader.maximumNodes) values or \(YAMLReader.maximumDepth) levels"
                    let message = "the file unfolds to \(rule); remove aliases that refer to each other."
                    self.report.add(ConfigFault(.error, at: position, path, message))
                }
                return ConfigNode(.null, at: position, path: path)
            }
            switch node {
            case .scalar(let scalar): return self.convert(scalar, at: position, path: path)
            case .sequence(let sequence):
                let items = sequence.enumerated().map { index, item in
                    self.convert(item, path: path.appending(index: index), depth: depth + 1)
                }
                return ConfigNode(.list(items), at: position, path: path)
            case .mapping(let mapping):
                return ConfigNode(
                    .mapping(self.members(of: mapping, path: path, depth: depth)), at: position, path: path)
            case .alias:
                return ConfigNode(.null, at: position, path: path)
            }
        }

        private mutating func members(of mapping: Node.Mapping, path: ConfigPath, depth: Int) -> [ConfigNode.Member] {
            var merged: [ConfigNode.Member] = []
            var own: [ConfigNode.Member] = []
            for (key, value) in mapping {
                let name = key.scalar?.string ?? "?"
                // YAML 1.1 merge keys, which existing files use with anchors.
                if name == "<<", key.scalar?.style == .plain {
                    for source in value.sequence.map(Array.init) ?? [value] {
                        if let source = source.mapping {
                            merged += self.members(of: source, path: path, depth: depth + 1)
                        }
                    }
                    continue
                }
                let position = ConfigPosition(line: key.mark?.line ?? 1, column: key.mark?.column ?? 1)
                let node = self.convert(value, path: path.appending(name), depth: depth + 1)
                own.append(ConfigNode.Member(key: name, position: position, value: node))
            }
            let names = Set(own.map(\.key))
            return merged.filter { !names.contains($0.key) } + own
        }

        private mutating func convert(_ scalar: Node.Scalar, at position: ConfigPosition, path: ConfigPath)
            -> ConfigNode
        {
            guard scalar.style == .plain, !scalar.tag.description.hasSuffix(":str") else {
                return self.expanded(scalar.string, at: position, path: path)
            }
            switch scalar.string {
            case "", "~", "null", "Null", "NULL": return ConfigNode(.null, at: position, path: path)
            case "true", "True", "TRUE": return ConfigNode(.boolean(true), at: position, path: path)
            case "false", "False", "FALSE": return ConfigNode(.boolean(false), at: position, path: path)
            default: break
            }
            if let number = Self.number(scalar.string) { return ConfigNode(.number(number), at: position, path: path) }
            return self.expanded(scalar.string, at: position, path: path)
        }

        private mutating func expanded(_ text: String, at position: ConfigPosition, path: ConfigPath) -> ConfigNode {
            let result = self.expansion.expand(text)
            self.report.referencedFiles += result.files
            for problem in result.problems {
                self.report.add(ConfigFault(.error, at: position, path, problem))
            }
            for caution in result.cautions {
                self.report.add(ConfigFault(.warning, at: position, path, caution))
            }
            return ConfigNode(
                .string(result.text), at: position, path: path,
                isUnresolved: result.isUnresolved, isExpanded: result.isExpanded)
        }

        /// YAML 1.2 core schema numbers (§10.3.2), with a sign and leading zeros allowed.
        private static func number(_ text: String) -> Double? {
            guard let first = text.utf8.first, (0x30...0x39).contains(first) || [0x2B, 0x2D, 0x2E].contains(first)
            else {
                return nil
            }
            switch text {
            case ".inf", ".Inf", ".INF", "+.inf", "-.inf", ".nan", ".NaN", ".NAN": return nil
            default: break
            }
            if text.hasPrefix("0x") { return UInt64(text.dropFirst(2), radix: 16).map { Double($0) } }
            if text.hasPrefix("0o") { return UInt64(text.dropFirst(2), radix: 8).map { Double($0) } }
            var digits = false
            for byte in text.utf8.dropFirst([0x2B, 0x2D].contains(first) ? 1 : 0) {
                switch byte {
                case 0x30...0x39: digits = true
                case 0x2E, 0x45, 0x65, 0x2B, 0x2D: continue
                default: return nil
                }
            }
            return digits ? Double(text) : nil
        }
    }
}
