// SPDX-License-Identifier: Apache-2.0

package import GatewayCore

/// The environment that makes clients export their telemetry to the gateway.
package enum TelemetryVariables {
    /// - Parameters:
    ///   - endpoint: The gateway's public URL. It must be the very origin that clients sign in to, or they export
    ///     without their bearer.
    ///   - signals: Whether at least one destination takes each signal.
    ///   - attributes: Labels for everything that is exported, as `name=value,…`.
    package static func make(
        endpoint: String, signals: (metrics: Bool, logs: Bool, traces: Bool), attributes: String? = nil,
    ) -> JSONObject {
        func exporter(_ isOn: Bool) -> JSONValue { isOn ? "otlp" : "none" }
        var variables: JSONObject = [
            "CLAUDE_CODE_ENABLE_TELEMETRY": "1",
            "OTEL_METRICS_EXPORTER": exporter(signals.metrics),
            "OTEL_LOGS_EXPORTER": exporter(signals.logs),
            "OTEL_TRACES_EXPORTER": exporter(signals.traces),
            "OTEL_EXPORTER_OTLP_ENDPOINT": .string(endpoint),
            "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        ]
        if let attributes { variables["OTEL_RESOURCE_ATTRIBUTES"] = .string(attributes) }
        return variables
    }
}
