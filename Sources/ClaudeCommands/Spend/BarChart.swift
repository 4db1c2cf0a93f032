// SPDX-License-Identifier: Apache-2.0

/// Horizontal bars.
enum BarChart {
    enum Style {
        /// Unicode block elements, exact to an eighth of a column.
        case blocks
        /// Number signs, which every terminal, font and log file has.
        case plain
    }

    private static let eighths: [Character] = ["▏", "▎", "▍", "▌", "▋", "▊", "▉", "█"]

    /// One bar.
    ///
    /// - Parameters:
    ///   - share: Of the longest bar, 0 to 1.
    ///   - width: The longest bar's, in columns.
    /// - Returns: Nothing for zero and at least the smallest piece for anything above it.
    static func bar(_ share: Double, width: Int, _ style: Style) -> String {
        guard share > 0, share.isFinite else { return "" }
        let length = min(share, 1) * Double(width)
        switch style {
        case .plain: return String(repeating: "#", count: max(1, Int(length.rounded())))
        case .blocks:
            let pieces = max(1, Int((length * 8).rounded()))
            let rest = pieces % 8 == 0 ? "" : String(Self.eighths[pieces % 8 - 1])
            return String(repeating: Self.eighths[7], count: pieces / 8) + rest
        }
    }
}
