// SPDX-License-Identifier: Apache-2.0

/// Comma-separated values as RFC 4180 describes them.
enum CommaSeparatedValues {
    /// - Parameter records: The header first. A `nil` field is a null, which an empty text is written like.
    /// - Returns: One line a record, each ended by CR LF.
    static func text(_ records: [[String?]]) -> String {
        records.map { $0.map { self.field($0 ?? "") }.joined(separator: ",") + "\r\n" }.joined()
    }

    /// Quoted where it has to be (RFC 4180 §2), as it is elsewhere.
    private static func field(_ text: String) -> String {
        let needsQuotes = text.utf8.contains { [0x22, 0x2C, 0x0A, 0x0D].contains($0) }
        return needsQuotes ? "\"" + text.replacing("\"", with: "\"\"") + "\"" : text
    }
}
