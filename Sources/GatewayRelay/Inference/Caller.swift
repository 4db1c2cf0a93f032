// SPDX-License-Identifier: Apache-2.0

package import GatewayCore
package import GatewayPolicy

/// A verified bearer and everything that follows from its claims, computed once and then shared by its requests.
package final class Caller: Sendable {
    package let principal: Principal
    /// The bearer's `exp`, in seconds since the epoch.
    package let expiresAt: Int64
    package let outcome: ManagedPolicies.Outcome
    /// Indexes of the upstreams whose `groups` admit the caller.
    package let upstreams: [Int]
    /// Whether the policy lists the models that may be asked for.
    let limitsModels: Bool
    /// Who it is, as audit lines have it.
    let auditFields: [UInt8]

    package init(principal: Principal, expiresAt: Int64, outcome: ManagedPolicies.Outcome, upstreams: [Int]) {
        self.principal = principal
        self.expiresAt = expiresAt
        self.outcome = outcome
        self.upstreams = upstreams
        if case .policy(let policy) = outcome {
            self.limitsModels = policy.models != nil
        } else {
            self.limitsModels = false
        }
        self.auditFields = AuditEvent.fields { event in
            event.add("sub", principal.subject)
            event.add("email", ifAny: principal.email)
        }
    }

    /// The effective policy, when one fits.
    package var policy: EffectivePolicy? {
        if case .policy(let policy) = self.outcome { policy } else { nil }
    }
}

/// Checks bearers. Implemented by the identity module; the relay knows only this much of it.
package protocol BearerVerifying: Sendable {
    /// The claims of a token that is ours, whole and unexpired at `now`; `nil` for anything else.
    func verify(_ token: String, now: Timestamp) -> VerifiedBearer?
    /// Changes whenever a bearer that was good may be so no longer.
    var epoch: Int { get }
}

extension BearerVerifying {
    package var epoch: Int { 0 }
}

package struct VerifiedBearer: Sendable {
    package let principal: Principal
    package let expiresAt: Int64

    package init(principal: Principal, expiresAt: Int64) {
        self.principal = principal
        self.expiresAt = expiresAt
    }
}

/// The outcome of reading an `Authorization` header; the raw value is the audit event's `reason`.
package enum BearerProblem: String, Sendable {
    case missing = "missing_token"
    case invalid = "invalid_token"
}
