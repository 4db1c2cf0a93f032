// SPDX-License-Identifier: Apache-2.0

/// The place of a value in a configuration file, written as operators write it: `upstreams[1].auth.api_key`.
package struct ConfigPath: Sendable, Hashable, CustomStringConvertible {
    package let description: String

    package init(_ description: String = "") {
        self.description = description
    }

    package func appending(_ key: String) -> ConfigPath {
        ConfigPath(self.description.isEmpty ? key : "\(self.description).\(key)")
    }

    package func appending(index: Int) -> ConfigPath {
        ConfigPath("\(self.description)[\(index)]")
    }
}

/// A place in a file's text; lines and columns count from 1.
package struct ConfigPosition: Sendable, Hashable, Comparable {
    package let line: Int
    package let column: Int

    package init(line: Int, column: Int) {
        self.line = line
        self.column = column
    }

    package static func < (left: ConfigPosition, right: ConfigPosition) -> Bool {
        (left.line, left.column) < (right.line, right.column)
    }
}
