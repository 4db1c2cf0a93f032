// SPDX-License-Identifier: Apache-2.0

internal import Foundation

/// Why the gateway did not start, in a sentence that names the key to look at and the remedy.
package struct BootFailure: Error, CustomStringConvertible, LocalizedError {
    package let description: String

    package init(_ description: String) {
        self.description = description
    }

    package var errorDescription: String? { self.description }
}
