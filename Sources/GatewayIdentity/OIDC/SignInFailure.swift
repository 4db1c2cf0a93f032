// SPDX-License-Identifier: Apache-2.0

internal import Foundation

/// Why a sign-in or a refresh did not succeed. The texts are for the operator's log; they name claims and expectations,
/// never tokens.
package enum SignInFailure: Error, Equatable {
    /// What the identity provider sent is wrong or not acceptable: the developer is not signed in.
    case rejected(String)
    /// The identity provider says that the grant is over.
    case invalidGrant(String)
    /// The identity provider did not answer, or not usefully: nothing is known about the developer.
    case unavailable(String)
}

extension SignInFailure: CustomStringConvertible, LocalizedError {
    package var description: String {
        switch self {
        case .rejected(let reason), .invalidGrant(let reason), .unavailable(let reason): reason
        }
    }

    package var errorDescription: String? { self.description }
}
