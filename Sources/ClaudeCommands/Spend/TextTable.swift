// SPDX-License-Identifier: Apache-2.0

internal import GatewayCore

/// Rows under headings, for a terminal. Columns are as wide as their widest cell and two spaces apart.
struct TextTable {
    enum Alignment {
        case left
        case right
    }

    struct Column {
        let title: String
        let alignment: Alignment

        static func left(_ title: String) -> Column { Column(title: title, alignment: .left) }
        static func right(_ title: String) -> Column { Column(title: title, alignment: .right) }
    }

    private static let gap = "  "

    let columns: [Column]
    private var rows: [[String]] = []

    init(_ columns: [Column]) {
        self.columns = columns
    }

    /// - Parameter cells: One for each column. Control characters become visible, so that a row stays on its line.
    mutating func add(_ cells: [String]) {
        precondition(cells.count == self.columns.count, "a row has a cell for each column")
        self.rows.append(cells.map(\.singleLine))
    }

    /// Whole lines, the headings first.
    ///
    /// - Parameter bold: Sets off the headings.
    func text(bold: (String) -> String = { $0 }) -> String {
        let widths = self.columns.indices.map { index in
            ([self.columns[index].title] + self.rows.map { $0[index] }).map(\.terminalWidth).max() ?? 0
        }
        func line(_ cells: [String]) -> String {
            var line = zip(zip(cells, widths), self.columns).map { pair, column in
                let space = String(repeating: " ", count: pair.1 - pair.0.terminalWidth)
                return column.alignment == .left ? pair.0 + space : space + pair.0
            }.joined(separator: Self.gap)
            while line.last == " " { line.removeLast() }
            return line
        }
        let headings = bold(line(self.columns.map(\.title))) + "\n"
        return headings + self.rows.map { line($0) + "\n" }.joined()
    }
}

extension String {
    /// Columns that the text takes on a terminal: two for each East Asian wide character and emoji, else one.
    /// Source: the blocks that Unicode Standard Annex #11 marks as wide, <https://www.unicode.org/reports/tr11/>.
    var terminalWidth: Int {
        self.reduce(0) { width, character in
            switch character.unicodeScalars.first?.value ?? 0 {
            case 0x1100...0x115F, 0x2E80...0x303E, 0x3041...0xA4CF, 0xA960...0xA97F, 0xAC00...0xD7A3, 0xF900...0xFAFF,
                0xFE30...0xFE6F, 0xFF00...0xFF60, 0xFFE0...0xFFE6, 0x1F300...0x1F64F, 0x1F680...0x1F6FF,
                0x1F900...0x1F9FF, 0x20000...0x3FFFD:
                width + 2
            default: width + 1
            }
        }
    }
}
