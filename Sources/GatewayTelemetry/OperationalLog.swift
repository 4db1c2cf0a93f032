// SPDX-License-Identifier: Apache-2.0

internal import GatewayCore
package import Logging

/// Operational lines: `[gateway] <time> <level> <message> key=value…`. What comes from outside is in the values, with
/// every control character made visible, so that one event is always one line.
package struct OperationalLog: LogHandler {
    package var logLevel: Logger.Level
    package var metadata: Logger.Metadata = [:]
    private let writer: LineWriter

    package init(writer: LineWriter, level: Logger.Level) {
        self.writer = writer
        self.logLevel = level
    }

    package subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { self.metadata[key] }
        set { self.metadata[key] = newValue }
    }

    package func log(event: LogEvent) {
        var line = "[gateway] \(Timestamp.now) \(Self.name(of: event.level)) \(event.message.description.singleLine)"
        let all = self.metadata.merging(event.metadata ?? [:]) { _, later in later }
        // The request id first: it is what people search for.
        for key in all.keys.sorted(by: { ($0 != "request_id", $0) < ($1 != "request_id", $1) }) {
            line += " \(key)=\(all[key]!.description.singleLine)"
        }
        self.writer.write(line)
    }

    private static func name(of level: Logger.Level) -> String {
        switch level {
        case .trace, .debug: "debug"
        case .info, .notice: "info"
        case .warning: "warn"
        case .error, .critical: "error"
        }
    }

    /// The level that `CLAUDE_GATEWAY_LOG_LEVEL` names; `nil` for a word that names none.
    package static func level(named name: String) -> Logger.Level? {
        switch name.lowercased() {
        case "debug": .debug
        case "", "info": .info
        case "warn": .warning
        case "error": .error
        default: nil
        }
    }
}

private func < (left: (Bool, String), right: (Bool, String)) -> Bool {
    left.0 == right.0 ? left.1 < right.1 : !left.0
}
