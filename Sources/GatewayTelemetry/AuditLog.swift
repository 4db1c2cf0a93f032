// SPDX-License-Identifier: Apache-2.0

package import GatewayCore

/// Audit events as JSON lines.
package struct AuditLog: AuditSink {
    private let writer: LineWriter

    package init(writer: LineWriter) {
        self.writer = writer
    }

    package func record(_ event: AuditEvent) {
        self.writer.write(whole: event.line)
    }
}
