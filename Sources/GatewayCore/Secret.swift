// SPDX-License-Identifier: Apache-2.0

/// A value that must not be printed: every textual form of it is redacted, so that errors and logs may show the rest
/// of a structure in full.
package struct Secret: Sendable, Hashable {
    private let text: String

    package init(_ text: String) {
        self.text = text
    }

    /// The value itself. Each call site is a place to review.
    package func reveal() -> String {
        self.text
    }
}

extension Secret: CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
    package var description: String { "[redacted]" }
    package var debugDescription: String { "[redacted]" }
    package var customMirror: Mirror { Mirror(self, children: []) }
}
