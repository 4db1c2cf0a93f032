// SPDX-License-Identifier: Apache-2.0

internal import Foundation

/// Why the store did not do what was asked. The texts name no password and no row content.
package enum StoreError: Error, Equatable {
    /// No connection could be made or kept.
    case unavailable(String)
    /// The store took longer than the bound.
    case timedOut
    /// Every connection was busy for longer than the waiting bound.
    case busy
    /// The store refused a statement.
    case refused(sqlState: String, String)
}

extension StoreError: CustomStringConvertible, LocalizedError {
    package var description: String {
        switch self {
        case .unavailable(let reason): "the store is unavailable: \(reason)"
        case .timedOut: "the store did not answer in time"
        case .busy: "all store connections are busy; raise store.max_connections"
        case .refused(let state, let reason): "the store refused a statement (SQLSTATE \(state)): \(reason)"
        }
    }

    package var errorDescription: String? { self.description }
}
