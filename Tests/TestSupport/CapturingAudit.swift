// SPDX-License-Identifier: Apache-2.0

package import GatewayCore
internal import Synchronization

/// Collects audit events.
package final class CapturingAudit: AuditSink {
    private let recorded = Mutex<[AuditEvent]>([])

    package init() {}

    package func record(_ event: AuditEvent) {
        self.recorded.withLock { $0.append(event) }
    }

    package func events(_ name: String) -> [AuditEvent] {
        self.recorded.withLock { $0.filter { $0.name == name } }
    }
}
