// SPDX-License-Identifier: Apache-2.0

package import GatewayCore

/// Gives audit events to several sinks, and counts them.
package struct AuditFan: AuditSink {
    private let sinks: [any AuditSink]
    private let count: MetricFamily?

    package init(_ sinks: [any AuditSink], registry: MetricRegistry?) {
        self.sinks = sinks
        self.count = registry?.counter(
            "claude_gateway_audit_events_total",
            "Audit events, with their reason or outcome where they have one: sign-ins, refusals, blocked spend.",
            labels: ["event", "reason"])
    }

    package func record(_ event: AuditEvent) {
        for sink in self.sinks { sink.record(event) }
        self.count(event)
    }

    package func gathering() -> (any AuditGathering)? {
        let gatherings = self.sinks.map { $0.gathering() }
        guard gatherings.contains(where: { $0 != nil }) else { return nil }
        return Gathering(
            self, gatherings.compactMap(\.self), zip(self.sinks, gatherings).filter { $0.1 == nil }.map(\.0))
    }

    private final class Gathering: AuditGathering {
        private let fan: AuditFan
        private let gatherings: [any AuditGathering]
        private let others: [any AuditSink]

        init(_ fan: AuditFan, _ gatherings: [any AuditGathering], _ others: [any AuditSink]) {
            self.fan = fan
            self.gatherings = gatherings
            self.others = others
        }

        func record(_ event: AuditEvent) {
            for gathering in self.gatherings { gathering.record(event) }
            for sink in self.others { sink.record(event) }
            self.fan.count(event)
        }

        func flush() {
            for gathering in self.gatherings { gathering.flush() }
        }
    }

    private func count(_ event: AuditEvent) {
        guard let count else { return }
        let reason = event.label ?? Self.fields[event.name].flatMap { event[$0]?.string } ?? ""
        count.add(1, event.name, Self.isWord(reason) ? reason : "other")
    }

    /// The fields that hold a word of the gateway's own; others may hold what somebody wrote.
    private static let fields = [
        "access.denied": "reason", "admin.denied": "reason", "auth.denied": "reason", "config.reload": "result",
        "device.callback": "result", "rate.limited": "reason", "session.mint": "result",
        "session.refresh": "result", "spend.blocked": "cause", "telemetry.refused": "reason",
    ]

    /// The gateway's own words, and no text that came from outside.
    private static func isWord(_ text: String) -> Bool {
        text.utf8.count <= 40 && text.utf8.allSatisfy { (0x61...0x7A).contains($0) || $0 == 0x5F || $0 == 0x2D }
    }
}

/// The lines of an audit log for a file or a system logger.
package final class AuditOutput: AuditSink {
    private let writer: LineWriter

    private init(_ output: any LineOutput) {
        self.writer = LineWriter(output)
    }

    /// - Throws: `AuditOutputFailure` when the file cannot be opened.
    package static func file(
        _ settings: ObservabilitySettings.File, onFailure: @escaping @Sendable (String) -> Void,
    ) throws(AuditOutputFailure) -> AuditOutput {
        let file = RotatingFile(
            path: settings.path, maximumBytes: settings.maximumBytes, keep: settings.keep, onFailure: onFailure)
        if let reason = file.open() { throw AuditOutputFailure(reason: reason) }
        return AuditOutput(file)
    }

    package static func syslog(
        _ settings: ObservabilitySettings.Syslog, onFailure: @escaping @Sendable (String) -> Void,
    ) -> AuditOutput {
        AuditOutput(SyslogOutput(address: settings.address, facility: settings.facility, onFailure: onFailure))
    }

    package func record(_ event: AuditEvent) {
        self.writer.write(whole: event.line)
    }

    package func gathering() -> (any AuditGathering)? {
        LineGathering(self.writer)
    }

    /// Writes what is waiting.
    package func close() {
        self.writer.close()
    }
}

package struct AuditOutputFailure: Error, Sendable {
    package let reason: String
}
