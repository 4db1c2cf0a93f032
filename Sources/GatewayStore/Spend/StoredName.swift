// SPDX-License-Identifier: Apache-2.0

internal import GatewayCore

/// Names as the spend tables hold them. PostgreSQL's text holds no U+0000, and its indexes no long texts; an identity
/// provider or a client can name things so all the same.
struct StoredNames {
    /// Five such names fit into one index entry (2,704 bytes).
    static let maximumBytes = 480
    private static let digestLength = 32

    private var originals: [String: String] = [:]
    /// The names in both forms, as far as the database can be asked for them.
    private(set) var asked: [String] = []

    init(_ names: some Sequence<String>) {
        for name in names {
            let stored = Self.stored(name)
            self.asked.append(stored)
            guard stored != name else { continue }
            self.originals[stored] = name
            // Limits are kept under the name that the administrator wrote.
            if !name.utf8.contains(0) { self.asked.append(name) }
        }
    }

    func original(_ stored: String) -> String { self.originals[stored] ?? stored }

    /// U+0000 is replaced; of a long name the beginning and a digest are kept.
    static func stored(_ name: String) -> String {
        let text = Self.withoutZero(name)
        guard text.utf8.count > self.maximumBytes else { return text }
        var start = ""
        for character in text {
            guard start.utf8.count + character.utf8.count < self.maximumBytes - self.digestLength else { break }
            start.append(character)
        }
        return start + "~" + Digest.hexadecimal(name).prefix(self.digestLength)
    }

    static func withoutZero(_ text: String) -> String {
        text.utf8.contains(0) ? String(text.map { $0 == "\0" ? "\u{FFFD}" : $0 }) : text
    }
}
