// SPDX-License-Identifier: Apache-2.0

/// What became of one attempt at one upstream that did not serve the request.
package struct FailedAttempt: Sendable, Equatable {
    package enum Reason: Sendable, Equatable {
        /// The upstream answered with a status that another upstream might do better than.
        case status(Int)
        /// No answer: the connection failed, broke, or took too long.
        case noAnswer(String)
    }

    package let upstream: String
    package let reason: Reason

    package init(upstream: String, reason: Reason) {
        self.upstream = upstream
        self.reason = reason
    }
}

/// Decides, from what upstreams answered, whether to go on and what the client is told when none served the request.
package struct AttemptLedger: Sendable, Equatable {
    package private(set) var failures: [FailedAttempt] = []
    private let candidates: Int

    /// - Parameter candidates: How many upstreams may be tried.
    package init(candidates: Int) {
        self.candidates = candidates
    }

    /// Statuses that say something about this upstream rather than about the request.
    package static func movesOn(_ status: Int) -> Bool {
        switch status {
        case 206, 401, 403, 404, 429: true
        default: status >= 500
        }
    }

    package mutating func record(_ failure: FailedAttempt) {
        self.failures.append(failure)
    }

    /// What the client gets.
    package enum Verdict: Sendable, Equatable {
        /// The stored answer of the attempt at that index.
        case answer(Int)
        /// The upstream refused the gateway's own credential. The developer's is fine, so this must not look like a 401.
        case credentialRefused(Int)
        /// Nobody served it.
        case allFailed
    }

    /// The most telling of several failures: the last 429, else the last 401 or 403, else 404, else 501. A lone
    /// upstream's overload (529, 503) is passed on as what it is; other server errors become one gateway error.
    package var verdict: Verdict {
        func last(_ statuses: Int...) -> Int? {
            self.failures.lastIndex { failure in
                if case .status(let status) = failure.reason { statuses.contains(status) } else { false }
            }
        }
        if let index = last(429) { return .answer(index) }
        if let index = last(401, 403) {
            return self.failures[index].reason == .status(401) ? .credentialRefused(index) : .answer(index)
        }
        if let index = last(404) ?? last(501) { return .answer(index) }
        if self.candidates == 1, let index = last(503, 529) { return .answer(index) }
        return .allFailed
    }
}
