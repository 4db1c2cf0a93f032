// SPDX-License-Identifier: Apache-2.0

package import GatewayPolicy
internal import NIOCore

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
    package var timeouts = ConnectionTimeouts()

    package init() {}
}

/// How long a connection may go without getting any further before it is closed. A dead peer is never waited for
/// without end, and what is slow but alive is left alone.
package struct ConnectionTimeouts: Sendable {
    /// From the connection's begin to its first whole request head.
    package var firstRequest = Duration.seconds(12)
    /// Between the pieces of a request body.
    package var body = Duration.seconds(60)
    /// Between two requests; longer than the idle times of the usual load balancers, which must be the first to close.
    package var idle = Duration.seconds(900)
    /// While a client takes nothing of an answer that waits for it, or an upstream that has begun to answer is silent.
    package var stall = Duration.seconds(600)
    /// How long a connection whose last answer is out may go on sending into the void.
    package var linger = Duration.seconds(2)

    package init() {}

    /// How often all connections are looked at.
    var interval: TimeAmount {
        let shortest = [self.firstRequest, self.body, self.idle, self.stall, self.linger].min()!
        return min(.seconds(1), TimeAmount(shortest / 4))
    }
}
