// SPDX-License-Identifier: Apache-2.0

package import GatewayCore
internal import Synchronization

/// What is counted about the relay of developers' telemetry.
package final class TelemetryMetrics: Sendable {
    private let exports: MetricFamily
    private let drops: MetricFamily
    private let queues = Queues()

    private final class Queues: Sendable {
        let all = Mutex<[String: @Sendable () -> (count: Int, bytes: Int)]>([:])
    }

    package init(_ registry: MetricRegistry) {
        self.exports = registry.counter(
            "claude_gateway_telemetry_exports_total", "Exports of developers' clients sent to collectors.",
            labels: ["destination", "outcome"])
        self.drops = registry.counter(
            "claude_gateway_telemetry_dropped_total", "Exports that a collector will never get.",
            labels: ["destination", "reason"])
        registry.observe { [queues] in
            queues.all.withLock { $0 }.sorted { $0.key < $1.key }.flatMap { host, look in
                let (count, bytes) = look()
                return [
                    MetricRegistry.Observation(
                        "claude_gateway_telemetry_queue_exports", "Exports waiting for a collector, or on their way.",
                        labels: [("destination", host)], value: Double(count)),
                    MetricRegistry.Observation(
                        "claude_gateway_telemetry_queue_bytes", "Their bytes.", labels: [("destination", host)],
                        value: Double(bytes)),
                ]
            }
        }
    }

    /// The newest queue of a destination is the one that is looked at: a reload replaces it.
    func watch(_ host: String, _ look: @escaping @Sendable () -> (count: Int, bytes: Int)) {
        self.queues.all.withLock { $0[host] = look }
        for reason in ["queue_full", "expired", "refused", "failed"] { self.drops.add(0, host, reason) }
    }

    func exported(_ host: String, _ outcome: String) { self.exports.add(1, host, outcome) }
    func dropped(_ host: String, _ reason: String) { self.drops.add(1, host, reason) }
}
