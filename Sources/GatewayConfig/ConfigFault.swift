// SPDX-License-Identifier: Apache-2.0

/// One thing that is wrong with a configuration file, in a sentence that ends with the remedy.
///
/// A fault never carries the value of a secret: `message` quotes names and places, not contents.
package struct ConfigFault: Sendable, Hashable {
    package enum Severity: String, Sendable, Hashable {
        /// The gateway does not start.
        case error
        /// The gateway starts; `config validate --strict` fails.
        case warning
    }

    package let severity: Severity
    package let position: ConfigPosition
    package let path: ConfigPath
    package let message: String
    /// Whether the fault is one of kind, name or bounds, which a schema can tell too.
    package let isStructural: Bool

    package init(
        _ severity: Severity, at position: ConfigPosition, _ path: ConfigPath, _ message: String,
        isStructural: Bool = false,
    ) {
        self.isStructural = isStructural
        self.severity = severity
        self.position = position
        self.path = path
        self.message = message
    }

    /// `file:line:column: key: message`, the form that editors and CI systems link to.
    package func line(inFile file: String) -> String {
        let key = self.path.description.isEmpty ? "" : "\(self.path): "
        let level = self.severity == .warning ? "warning: " : ""
        return "\(file):\(self.position.line):\(self.position.column): \(level)\(key)\(self.message)"
    }
}

/// Collects faults while a file is read, so that all of them are reported together.
package struct ConfigReport: Sendable {
    package private(set) var faults: [ConfigFault] = []
    private var seen: Set<ConfigFault> = []
    /// Whether the process that will run the file may connect to loopback addresses; `nil` when that is not known, as
    /// for a linter on another machine.
    package let allowsLoopback: Bool?
    /// Whether files that the configuration names are looked at: not on a machine that only lints.
    package let readsFiles: Bool
    /// Files that the configuration names in `${file:…}`.
    package internal(set) var referencedFiles: [String] = []

    package init(allowsLoopback: Bool? = nil, readsFiles: Bool = false) {
        self.allowsLoopback = allowsLoopback
        self.readsFiles = readsFiles
    }

    package mutating func error(_ node: ConfigNode, _ message: String) {
        self.add(ConfigFault(.error, at: node.position, node.path, message))
    }

    /// The value is not of the shape that its key has.
    mutating func mismatch(_ node: ConfigNode, _ message: String) {
        self.add(ConfigFault(.error, at: node.position, node.path, message, isStructural: true))
    }

    package mutating func warning(_ node: ConfigNode, _ message: String) {
        self.add(ConfigFault(.warning, at: node.position, node.path, message))
    }

    package mutating func add(_ fault: ConfigFault) {
        if self.seen.insert(fault).inserted { self.faults.append(fault) }
    }

    /// Errors only, in file order.
    package var errors: [ConfigFault] { self.sorted.filter { $0.severity == .error } }
    /// Warnings only, in file order.
    package var warnings: [ConfigFault] { self.sorted.filter { $0.severity == .warning } }
    /// All faults, in file order.
    package var sorted: [ConfigFault] {
        self.faults.enumerated().sorted { ($0.element.position, $0.offset) < ($1.element.position, $1.offset) }
            .map(\.element)
    }
}

/// Thrown when a file cannot be used. `faults` is never empty and in file order.
package struct ConfigError: Error, CustomStringConvertible {
    package let file: String
    package let faults: [ConfigFault]

    package init(file: String, faults: [ConfigFault]) {
        self.file = file
        self.faults = faults
    }

    package var description: String {
        self.faults.map { $0.line(inFile: self.file) }.joined(separator: "\n")
    }
}
