// SPDX-License-Identifier: Apache-2.0

internal import GatewayCore
internal import GatewayTelemetry
internal import Logging

/// Standard error and what the environment says about it.
struct Console: Sendable {
    let writer: LineWriter
    let format = LogFormat()
    let audit: AuditLog
    let log: Logger
    let drainLimit: Duration
    let allowsLoopback: Bool
    let variables: [String: String]

    private static let defaultDrain = 25_000

    init(environment: [String: String], allowsLoopback: Bool? = nil) {
        ProcessLimits.prepare()
        self.variables = environment
        let writer = LineWriter()
        self.writer = writer
        self.audit = AuditLog(writer: writer)
        let name = environment["CLAUDE_GATEWAY_LOG_LEVEL"] ?? ""
        let level = OperationalLog.level(named: name)
        let format = self.format
        format.useJSON(environment["CLAUDE_GATEWAY_LOG_FORMAT"]?.lowercased() == "json")
        self.log = Logger(label: "gateway") { _ in
            OperationalLog(writer: writer, level: level ?? .info, format: format)
        }
        if level == nil {
            self.log.warning("CLAUDE_GATEWAY_LOG_LEVEL is not debug, info, warn or error; using info")
        }
        let drain = environment["CLAUDE_GATEWAY_DRAIN_TIMEOUT_MS"]
        let milliseconds = drain.flatMap(Int.init).flatMap { $0 > 0 ? $0 : nil }
        if drain != nil, milliseconds == nil {
            self.log.warning(
                "CLAUDE_GATEWAY_DRAIN_TIMEOUT_MS is not a positive number of milliseconds; using \(Self.defaultDrain)")
        }
        self.drainLimit = .milliseconds(milliseconds ?? Self.defaultDrain)
        self.allowsLoopback =
            allowsLoopback ?? ["1", "true"].contains(environment["CLAUDE_GATEWAY_ALLOW_LOOPBACK"] ?? "")
    }
}
