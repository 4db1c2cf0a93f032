// SPDX-License-Identifier: Apache-2.0

internal import Foundation
internal import GatewayCore

/// Replaces `${VAR}` and `${file:/path}` in the string values of a configuration file.
///
/// - `${VAR}`: anywhere in a value, several times; names are `[A-Za-z0-9_]+`. What a variable holds is not expanded
///   again. An undefined variable is a fault.
/// - `${file:/path}`: the whole value; the file's text, trimmed. The path must be absolute.
///
/// Everything else that looks similar (`${VAR:-default}`, `${file:…}` inside a longer text) stays literal text, as
/// existing files expect, but with a warning: a secret could silently become the text itself.
package struct SecretExpansion: Sendable {
    package struct Result: Sendable {
        package var text: String
        package var problems: [String] = []
        package var cautions: [String] = []
        package var isUnresolved = false
        package var isExpanded = false
    }

    private let variables: [String: String]?

    /// Expands from `variables` and from files.
    package static func resolving(_ variables: [String: String]) -> SecretExpansion {
        SecretExpansion(variables: variables)
    }

    /// Leaves every reference as it stands: for linting on a machine that has no secrets.
    package static let skipping = SecretExpansion(variables: nil)

    package func expand(_ text: String) -> Result {
        guard text.utf8.contains(0x24), text.contains("${") else { return Result(text: text) }
        if text.hasPrefix("${file:"), text.hasSuffix("}"), text.count > "${file:}".count {
            return self.expandFile(String(text.dropFirst("${file:".count).dropLast()))
        }
        var result = Result(text: "")
        if text.contains("${file:") {
            result.cautions.append(
                "${file:…} is replaced only when it is the whole value; here it stays literal text. Put it alone.")
        }
        var rest = Substring(text)
        while let dollar = rest.firstIndex(of: "$") {
            result.text += rest[..<dollar]
            rest = rest[dollar...]
            let after = rest.dropFirst()
            if after.first == "{", let close = after.firstIndex(of: "}") {
                let name = after[after.index(after: after.startIndex)..<close]
                let isName = !name.isEmpty && name.utf8.allSatisfy(Self.isNameByte)
                if isName {
                    self.expandVariable(String(name), into: &result)
                    rest = after[after.index(after: close)...]
                    continue
                }
                if !name.hasPrefix("file:") {
                    result.cautions.append(
                        "this '${' does not begin a variable of the form ${NAME}, so it stays literal text; defaults such as ${NAME:-x} are not supported."
                    )
                }
            }
            result.text += "$"
            rest = after
        }
        result.text += rest
        return result
    }

    private func expandVariable(_ name: String, into result: inout Result) {
        guard let variables else {
            result.text += "${\(name)}"
            result.isUnresolved = true
            return
        }
        result.isExpanded = true
        guard let value = variables[name] else {
            // One fault is enough: rules about the content would only repeat it.
            result.isUnresolved = true
            result.problems.append("the environment variable \(name) is not defined; set it before the gateway starts.")
            return
        }
        result.text += value
    }

    private func expandFile(_ path: String) -> Result {
        guard path.hasPrefix("/") else {
            return Result(
                text: "", problems: ["${file:…} needs an absolute path, such as ${file:/run/secrets/name}."],
                isUnresolved: true)
        }
        guard self.variables != nil else { return Result(text: "${file:\(path)}", isUnresolved: true) }
        guard let data = FileManager.default.contents(atPath: path) else {
            let reason = FileManager.default.fileExists(atPath: path) ? "cannot be read" : "does not exist"
            return Result(
                text: "", problems: ["the file \(path) \(reason); check the path and its permissions."],
                isUnresolved: true)
        }
        var text = String(decoding: data, as: UTF8.self)
        if text.hasPrefix("\u{FEFF}") { text.removeFirst() }
        return Result(text: text.trimmingSpaces, isExpanded: true)
    }

    private static func isNameByte(_ byte: UInt8) -> Bool {
        switch byte {
        case 0x30...0x39, 0x41...0x5A, 0x61...0x7A, 0x5F: true
        default: false
        }
    }
}
