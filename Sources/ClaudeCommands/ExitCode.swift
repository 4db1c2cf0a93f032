// SPDX-License-Identifier: Apache-2.0

internal import GatewayClient
internal import GatewayServer

/// What the program's exit says. The manual pages print this table.
package enum ExitCode: Int32, Sendable, CaseIterable {
    case success = 0
    case failure = 1
    case usage = 2
    case configuration = 3
    case notSignedIn = 4
    case signInEnded = 5
    case unreachable = 6
    case requestsCut = 7
    case accessWidens = 8

    package var meaning: String {
        switch self {
        case .success: "Success."
        case .failure: "The command did not succeed; the last line on standard error says why."
        case .usage: "The command line was not understood."
        case .configuration: "The configuration file has faults."
        case .notSignedIn: "Nobody is signed in, or the gateway no longer accepts the session."
        case .signInEnded: "The sign-in was denied, or timed out."
        case .unreachable: "The gateway does not answer."
        case .accessWidens: "The two configurations differ, and somebody may do more than before."
        case .requestsCut: "The gateway has stopped, but some requests were still open and were cut."
        }
    }

    init(_ failure: ClientFailure) {
        switch failure {
        case .notSignedIn: self = .notSignedIn
        case .signInEnded: self = .signInEnded
        case .unreachable: self = .unreachable
        case .refused: self = .failure
        case .badRequest: self = .usage
        }
    }

    init(_ ending: GatewayCommand.Ending) {
        switch ending {
        case .stopped: self = .success
        case .cutRequests: self = .requestsCut
        case .badConfiguration: self = .configuration
        case .bootFailed: self = .failure
        }
    }
}
