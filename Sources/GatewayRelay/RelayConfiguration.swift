// SPDX-License-Identifier: Apache-2.0

package import GatewayCore
package import GatewayMetering
package import GatewayPolicy
package import GatewayProviders
package import Logging

/// Everything that the hot path reads and that follows from one configuration file. Replaced whole on a reload.
package final class RelayConfiguration: Sendable {
    package let edge: EdgeSettings
    package let upstreams: [UpstreamSettings]
    package let catalog: ModelCatalog
    package let policies: ManagedPolicies
    /// Until when an upstream must have begun to answer.
    package let firstByteTimeout: Duration
    package let addressGuard: AddressGuard
    /// One for each upstream.
    package let routes: [UpstreamRoute]
    /// One for each upstream; `nil` where the configuration holds the whole credential.
    package let credentials: [(any UpstreamCredential)?]
    package let health: UpstreamHealth
    /// `nil` when nothing is limited.
    package let rates: (limiter: InferenceLimiter, settings: InferenceLimiter.Settings)?
    /// `nil` when spend is neither metered nor limited.
    package let spend: SpendControl?
    package let routing: RoutingSettings
    let retryBudget: RetryBudget?
    /// What some upstream lacks, and requests are therefore searched for.
    let unevenCapabilities: Set<Capability>
    let hasWeights: Bool
    /// Whether some upstream takes another body than the client's, so that its parts must be found.
    let hasCloudUpstreams: Bool
    /// Whether the members of a body's top level are needed.
    var listsMembers: Bool { self.hasCloudUpstreams || self.spend != nil || !self.unevenCapabilities.isEmpty }

    package init(
        edge: EdgeSettings, upstreams: [UpstreamSettings], catalog: ModelCatalog, policies: ManagedPolicies,
        firstByteTimeout: Duration, addressGuard: AddressGuard, routes: [UpstreamRoute] = [],
        credentials: [(any UpstreamCredential)?] = [], routing: RoutingSettings = RoutingSettings(),
        spend: SpendControl? = nil,
        rates: (limiter: InferenceLimiter, settings: InferenceLimiter.Settings)? = nil,
    ) {
        self.rates = rates
        self.spend = spend
        self.routing = routing
        self.retryBudget = routing.retryBudget.map { RetryBudget($0, now: .now) }
        self.unevenCapabilities = upstreams.reduce(into: []) { $0.formUnion($1.lacks) }
        self.hasWeights = upstreams.contains { $0.weight != nil }
        self.credentials = credentials.isEmpty ? Array(repeating: nil, count: upstreams.count) : credentials
        self.health = UpstreamHealth(count: upstreams.count, breaker: routing.breaker)
        self.hasCloudUpstreams = upstreams.contains { !$0.passesAnswers }
        self.edge = edge
        self.upstreams = upstreams
        self.catalog = catalog
        self.policies = policies
        self.firstByteTimeout = firstByteTimeout
        self.addressGuard = addressGuard
        self.routes = routes
    }

    package func caller(_ bearer: VerifiedBearer) -> Caller {
        Caller(
            principal: bearer.principal, expiresAt: bearer.expiresAt,
            outcome: self.policies.outcome(for: bearer.principal),
            upstreams: self.upstreams.indices.filter { self.upstreams[$0].serves(bearer.principal) })
    }
}

/// `routing`.
package struct RoutingSettings: Sendable, Equatable {
    /// Whether a client's session stays with one of several weighted upstreams.
    package var keepsSessions = false
    package var breaker: UpstreamHealth.Breaker?
    package var retryBudget: RetryBudget.Settings?

    package init() {}
}

/// Everything that follows from one configuration file: what the hot path reads, who checks bearers, and the other
/// routes. A request is served by one of these from its head to its last byte.
package struct RelayServing: Sendable {
    package let configuration: RelayConfiguration
    package let verifier: any BearerVerifying
    package let responder: any PlainResponder

    package init(
        configuration: RelayConfiguration, verifier: any BearerVerifying, responder: any PlainResponder,
    ) {
        self.configuration = configuration
        self.verifier = verifier
        self.responder = responder
    }
}

/// What the relay is given from outside, for the life of the process.
package final class RelayServices: Sendable {
    private let audit: any AuditSink
    package let log: Logger
    /// `nil` when nobody reads metrics.
    package let metrics: RelayMetrics?
    /// `nil` when no traces are kept.
    package let spans: (any SpanSink)?
    /// Whether the end of each answer is recorded besides its begin.
    package let recordsOutcomes: Bool

    package init(
        audit: any AuditSink, log: Logger, metrics: RelayMetrics? = nil, spans: (any SpanSink)? = nil,
        recordsOutcomes: Bool = true,
    ) {
        self.audit = audit
        self.log = log
        self.metrics = metrics
        self.spans = spans
        self.recordsOutcomes = recordsOutcomes
    }

    /// The same for one loop: an object that all of them hold for each request wanders between their processors' caches.
    func copy() -> RelayServices {
        RelayServices(
            audit: self.audit, log: self.log, metrics: self.metrics, spans: self.spans,
            recordsOutcomes: self.recordsOutcomes)
    }

    func record(_ event: AuditEvent) {
        self.audit.record(event)
    }

    func gathering() -> (any AuditGathering)? {
        self.audit.gathering()
    }
}
