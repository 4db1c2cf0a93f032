// SPDX-License-Identifier: Apache-2.0

internal import Foundation

/// Why a client command did not do what was asked, and what to do next.
package enum ClientFailure: Error, Equatable {
    /// There is no credential, or the gateway no longer takes it.
    case notSignedIn(String)
    /// The person at the browser, or the identity provider, said no; or time ran out.
    case signInEnded(String)
    /// Nothing answers.
    case unreachable(String)
    /// The gateway answered something else than what was needed.
    case refused(String)
    /// What was asked for cannot be done as written.
    case badRequest(String)
}

extension ClientFailure: CustomStringConvertible, LocalizedError {
    package var description: String {
        switch self {
        case .notSignedIn(let text), .signInEnded(let text), .unreachable(let text), .refused(let text),
            .badRequest(let text):
            text
        }
    }

    package var errorDescription: String? { self.description }
}
