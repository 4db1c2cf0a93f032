// SPDX-License-Identifier: Apache-2.0

internal import GatewayCore

/// `If-None-Match` (RFC 9110 §13.1.2).
package enum EntityTag {
    /// Whether one of the header's tags is `tag` by weak comparison. `*` is not decided here: its meaning to the client
    /// of managed settings is its own.
    package static func isListed(_ tag: String, in header: String) -> Bool {
        var rest = Substring(header)
        while let quote = rest.firstIndex(of: "\"") {
            guard let end = rest[rest.index(after: quote)...].firstIndex(of: "\"") else { return false }
            if rest[quote...end] == tag { return true }
            rest = rest[rest.index(after: end)...]
        }
        return false
    }
}
