// SPDX-License-Identifier: Apache-2.0

package import GatewayPolicy
internal import NIOCore

/// What the listener checks before it looks at a path. A class, because it is looked at with each request and never
/// changes.
package final class EdgeSettings: Sendable {
    package let access: AccessControl
    /// Largest request body in bytes.
    package let maximumBodyBytes: Int
    /// Sum over the headers of name, value and four bytes; `nil` for no bound beyond the parser's.
    package let maximumHeaderBytes: Int?
    /// Length of scheme, host, path and query together; `nil` for no bound beyond the parser's.
    package let maximumURLLength: Int?
    /// Whether this process terminates TLS, and so may promise it (`Strict-Transport-Security`).
    package let terminatesTLS: Bool
    package let timeouts: ConnectionTimeouts

    package init(
        access: AccessControl = AccessControl(), maximumBodyBytes: Int = 33_554_432, maximumHeaderBytes: Int? = nil,
        maximumURLLength: Int? = nil, terminatesTLS: Bool = false, timeouts: ConnectionTimeouts = ConnectionTimeouts(),
    ) {
        self.access = access
        self.maximumBodyBytes = maximumBodyBytes
        self.maximumHeaderBytes = maximumHeaderBytes
        self.maximumURLLength = maximumURLLength
        self.terminatesTLS = terminatesTLS
        self.timeouts = timeouts
    }
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
