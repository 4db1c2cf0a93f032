// SPDX-License-Identifier: Apache-2.0

package import GatewayPolicy

/// What the listener checks before it looks at a path.
package struct EdgeSettings: Sendable {
    package var access = AccessControl()
    /// Largest request body in bytes.
    package var maximumBodyBytes = 33_554_432
    /// Sum over the headers of name, value and four bytes; `nil` for no bound beyond the parser's.
    package var maximumHeaderBytes: Int?
    /// Length of scheme, host, path and query together; `nil` for no bound beyond the parser's.
    package var maximumURLLength: Int?
    /// Whether this process terminates TLS, and so may promise it (`Strict-Transport-Security`).
    package var terminatesTLS = false

    package init() {}
}
