// SPDX-License-Identifier: Apache-2.0

package import GatewayCore
package import GatewayCredentials
package import GatewayHTTPClient
internal import GatewayProviders
package import Logging

/// Passes developers' OTLP exports on to the operator's collectors, byte for byte. The client never waits for them.
package final class TelemetryRelay: Sendable {
    private let settings: TelemetrySettings
    private let destinations: [TelemetryDestination]
    private let audit: any AuditSink

    package init(
        settings: TelemetrySettings, client: OutboundClient, credentials: CredentialEnvironment,
        metrics: TelemetryMetrics?, audit: any AuditSink, log: Logger,
    ) {
        self.settings = settings
        self.audit = audit
        self.destinations = settings.destinations.map { destination in
            // Two collectors may share a host; a query may hold a secret.
            let host = WebURL(destination.url).map { $0.authority + $0.path } ?? destination.url
            return TelemetryDestination(
                host: host, client: client,
                credential: destination.google.map { UpstreamCredentials.google($0, credentials) },
                metrics: metrics, log: log)
        }
    }

    /// Takes an export.
    ///
    /// - Throws: `ExportIdentity.Refusal` when it claims to be somebody else's.
    package func pass(
        _ body: [UInt8], _ signal: TelemetrySettings.Signal, contentType: String?, contentEncoding: String?,
        from principal: Principal, requestID: RequestID,
    ) throws(ExportIdentity.Refusal) {
        let admitted: ExportIdentity.Body
        do {
            admitted = try ExportIdentity(mode: self.settings.identityMode, principal: principal)
                .admit(body, contentType: contentType, contentEncoding: contentEncoding)
        } catch {
            var attribute: JSONValue?
            if case .foreign(let name) = error { attribute = .string(name) }
            self.audit.record(
                AuditEvent(
                    "telemetry.refused",
                    [
                        "request_id": .string(requestID.description), "sub": .string(principal.subject),
                        "email": principal.email.map(JSONValue.string), "signal": .string(signal.rawValue),
                        "reason": attribute == nil ? "unreadable" : "foreign_identity", "attribute": attribute,
                    ]))
            throw error
        }
        for (destination, settings) in zip(self.destinations, self.settings.destinations)
        where settings.signals.contains(signal) {
            var headers: [(name: String, value: String)] = [
                ("content-type", contentType ?? "application/x-protobuf")
            ]
            if let encoding = admitted.contentEncoding { headers.append(("content-encoding", encoding)) }
            destination.take(
                OutboundRequest(
                    "POST", "\(settings.url)/v1/\(signal.rawValue)", headers: headers + settings.headers,
                    body: admitted.bytes, timeout: .seconds(10)))
        }
    }

    /// Ends; what is waiting gets until `limit` to be sent.
    package func stop(within limit: Duration) async {
        let deadline = ContinuousClock.now + limit
        for destination in self.destinations { destination.drain() }
        while self.destinations.contains(where: { !$0.isIdle }), ContinuousClock.now < deadline {
            try? await Task.sleep(for: .milliseconds(20))
        }
        for destination in self.destinations { destination.close() }
    }
}
