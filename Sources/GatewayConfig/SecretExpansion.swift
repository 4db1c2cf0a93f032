// SPDX-License-Identifier: Apache-2.0

internal import Foundation
internal import GatewayCore

/// Replaces `${VAR}`, `${VAR:-default}` and `${file:/path}` in the string values of a configuration file.
///
/// - `${VAR}`: anywhere in a value, several times; names are `[A-Za-z0-9_]+`. What a variable holds is not expanded
///   again. An undefined variable is a fault.
/// - `${VAR:-default}`: the default where the variable is not defined or empty, as in a shell.
/// - `${file:/path}`: the file's text, trimmed; not expanded again. The path must be absolute.
///
/// Everything else that looks similar (`${a.b}`, `${ VAR }`) stays literal text, as existing files expect, but with a
/// warning: a secret could silently become the text itself.
package struct SecretExpansion: Sendable {
    package struct Result: Sendable {
        package var text: String
        package var problems: [String] = []
        package var cautions: [String] = []
        /// Paths that the value refers to.
        package var files: [String] = []
        package var isUnresolved = false
        package var isExpanded = false

        fileprivate mutating func caution(_ text: String) {
            if !self.cautions.contains(text) { self.cautions.append(text) }
        }
    }

    /// No path or default is longer; a text full of `${` must not be searched to its end each time.
    private static let longestReference = 4096

    private let variables: [String: String]?

    /// Expands from `variables` and from files.
    package static func resolving(_ variables: [String: String]) -> SecretExpansion {
        SecretExpansion(variables: variables)
    }

    /// Leaves every reference as it stands: for linting on a machine that has no secrets.
    package static let skipping = SecretExpansion(variables: nil)

    /// Whether references are looked up.
    package var resolves: Bool { self.variables != nil }

    package func expand(_ text: String) -> Result {
        guard text.utf8.contains(0x24), text.contains("${") else { return Result(text: text) }
        var result = Result(text: "")
        var rest = Substring(text)
        while let dollar = rest.utf8.firstIndex(of: 0x24) {
            result.text += rest[..<dollar]
            rest = rest[dollar...]
            if rest.utf8.dropFirst().first == 0x7B {
                if let end = self.expandReference(rest, into: &result) {
                    rest = rest[end...]
                    continue
                }
                result.caution(
                    "this '${' does not begin ${NAME}, ${NAME:-default} or ${file:/path}, so it stays literal text.")
            }
            result.text += "$"
            rest = rest.dropFirst()
        }
        result.text += rest
        return result
    }

    /// Expands the reference that the text begins with.
    ///
    /// - Returns: Where it ends; `nil` when it is none.
    private func expandReference(_ text: Substring, into result: inout Result) -> Substring.Index? {
        let inside = text.dropFirst(2)
        func close() -> Substring.Index? { inside.utf8.prefix(Self.longestReference).firstIndex(of: 0x7D) }
        if inside.hasPrefix("file:") {
            guard let end = close() else { return nil }
            let path = inside[..<end].dropFirst("file:".count)
            guard !path.isEmpty else { return nil }
            self.expandFile(String(path), into: &result)
            return inside.utf8.index(after: end)
        }
        let stop = inside.utf8.firstIndex { !Self.isNameByte($0) } ?? inside.endIndex
        let name = String(inside[..<stop])
        let tail = inside[stop...]
        guard !name.isEmpty, let next = tail.utf8.first else { return nil }
        if next == 0x7D {
            self.expandVariable(name, default: nil, into: &result)
            return tail.utf8.index(after: stop)
        }
        guard tail.hasPrefix(":-"), let end = close() else { return nil }
        self.expandVariable(name, default: String(tail[..<end].dropFirst(2)), into: &result)
        return inside.utf8.index(after: end)
    }

    private func expandVariable(_ name: String, default fallback: String?, into result: inout Result) {
        guard let variables else {
            result.text += "${\(name)}"
            result.isUnresolved = true
            return
        }
        result.isExpanded = true
        if let value = variables[name], fallback == nil || !value.isEmpty {
            result.text += value
        } else if let fallback {
            result.text += fallback
        } else {
            // One fault is enough: rules about the content would only repeat it.
            result.isUnresolved = true
            result.problems.append(
                "the environment variable \(name) is not defined; set it before the gateway starts, or write ${\(name):-default}."
            )
        }
    }

    private func expandFile(_ path: String, into result: inout Result) {
        guard path.hasPrefix("/") else {
            result.isUnresolved = true
            result.problems.append(
                "${file:…} needs an absolute path, such as ${file:/run/secrets/name}; '\(path.singleLine)' is not one.")
            return
        }
        result.files.append(path)
        guard self.variables != nil else {
            result.text += "${file:\(path)}"
            result.isUnresolved = true
            return
        }
        guard let data = FileManager.default.contents(atPath: path) else {
            let reason = FileManager.default.fileExists(atPath: path) ? "cannot be read" : "does not exist"
            result.isUnresolved = true
            result.problems.append("the file \(path.singleLine) \(reason); check the path and its permissions.")
            return
        }
        var text = String(decoding: data, as: UTF8.self)
        if text.hasPrefix("\u{FEFF}") { text.removeFirst() }
        result.text += text.trimmingSpaces
        result.isExpanded = true
    }

    private static func isNameByte(_ byte: UInt8) -> Bool {
        switch byte {
        case 0x30...0x39, 0x41...0x5A, 0x61...0x7A, 0x5F: true
        default: false
        }
    }
}
