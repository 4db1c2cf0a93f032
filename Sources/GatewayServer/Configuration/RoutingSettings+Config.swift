// SPDX-License-Identifier: Apache-2.0

internal import GatewayConfig
internal import GatewayRelay

extension RoutingSettings {
    /// Decodes `routing`.
    init(_ node: ConfigNode) {
        self.init()
        self.keepsSessions = node["session_affinity"]?.boolean ?? false
        self.breaker = node["circuit_breaker"].map { breaker in
            UpstreamHealth.Breaker(
                failures: breaker["failures"]?.integer ?? 1, restSeconds: breaker["rest_seconds"]?.number ?? 30)
        }
        self.retryBudget = node["retry_budget"].map { budget in
            RetryBudget.Settings(
                percent: budget["percent"]?.number ?? 0, minimumPerSecond: budget["minimum_per_second"]?.number ?? 10)
        }
    }
}
