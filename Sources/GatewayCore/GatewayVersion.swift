// SPDX-License-Identifier: Apache-2.0

/// What this build calls itself, on the wire and in `claude --version`.
package enum GatewayVersion {
    /// Semantic version of the product.
    package static let current = "0.1.0"

    /// The release of the Claude apps gateway whose wire contract this build speaks. Clients read it from
    /// `x-cc-gateway-version` and decide by it what to ask for, so it is not our own version.
    package static let contract = "2.1.330"
}
