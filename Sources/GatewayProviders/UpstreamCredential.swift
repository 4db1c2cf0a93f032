// SPDX-License-Identifier: Apache-2.0

package import GatewayCore

/// What makes one request known to an upstream.
package enum ResolvedCredential: Sendable, Equatable {
    case aws(AWSAuthentication.Keys)
    case bearer(Secret)
}

/// A credential that is fetched and renewed while the gateway runs.
package protocol UpstreamCredential: Sendable {
    /// The credential, when it is at hand and good at `now`. May begin a renewal; never waits.
    func ready(for principal: Principal, now: Timestamp) -> ResolvedCredential?
    /// The credential, fetched if need be. Of many callers one fetches.
    func resolve(for principal: Principal) async throws -> ResolvedCredential
    /// Where it comes from, fetched if need be: the link of a chain that answered, in words for people.
    func source(for principal: Principal) async throws -> String
    /// The upstream has refused it: fetch another one next time.
    func invalidate(_ credential: ResolvedCredential)
}
