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

    package func gathering() -> (any AuditGathering)? {
        LineGathering(self.writer)
    }
}

/// Gathers lines of one thread: their writer is locked, and its memory fetched from another processor's cache, once for
/// many of them.
final class LineGathering: AuditGathering {
    private static let limit = 64 << 10

    private let writer: LineWriter
    private var lines: [UInt8] = []
    private var count = 0

    init(_ writer: LineWriter) {
        self.writer = writer
    }

    func record(_ event: AuditEvent) {
        self.lines += event.line
        self.count += 1
        if self.lines.count >= Self.limit { self.flush() }
    }

    func flush() {
        guard self.count > 0 else { return }
        self.writer.write(whole: self.lines, count: self.count)
        self.lines.removeAll(keepingCapacity: true)
        self.count = 0
    }
}
