// SPDX-License-Identifier: Apache-2.0

internal import Foundation

/// What standard output can show.
struct Screen {
    private static let standardWidth = 80

    private let terminal: Terminal
    private let isTerminal: Bool

    init(_ terminal: Terminal) {
        self.terminal = terminal
        self.isTerminal = isatty(STDOUT_FILENO) == 1
    }

    var barStyle: BarChart.Style { self.isTerminal && self.terminal.usesColor ? .blocks : .plain }

    /// In columns.
    var width: Int {
        var size = winsize()
        if self.isTerminal, ioctl(STDOUT_FILENO, UInt(TIOCGWINSZ), &size) == 0, size.ws_col > 0 {
            return Int(size.ws_col)
        }
        return self.terminal.environment["COLUMNS"].flatMap { Int($0) } ?? Self.standardWidth
    }

    func bold(_ text: String) -> String { self.isTerminal ? self.terminal.bold(text) : text }
}
