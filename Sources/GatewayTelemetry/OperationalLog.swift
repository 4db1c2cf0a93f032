// SPDX-License-Identifier: Apache-2.0

internal import GatewayCore
package import Logging
internal import Synchronization

/// Operational lines: `[gateway] <time> <level> <message> key=value…`. What comes from outside is in the values, with
/// every control character made visible, so that one event is always one line.
package struct OperationalLog: LogHandler {
    package var logLevel: Logger.Level
    package var metadata: Logger.Metadata = [:]
    private let writer: LineWriter
    private let format: LogFormat

    package init(writer: LineWriter, level: Logger.Level, format: LogFormat = LogFormat()) {
        self.writer = writer
        self.logLevel = level
        self.format = format
    }

    package subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { self.metadata[key] }
        set { self.metadata[key] = newValue }
    }

    package func log(event: LogEvent) {
        if self.format.isJSON {
            self.writer.write(self.json(event))
            return
        }
        var line = "[gateway] \(Timestamp.now) \(Self.name(of: event.level)) \(event.message.description.singleLine)"
        let all = self.metadata.merging(event.metadata ?? [:]) { _, later in later }
        // The request id first: it is what people search for.
        for key in all.keys.sorted(by: { ($0 != "request_id", $0) < ($1 != "request_id", $1) }) {
            line += " \(key)=\(all[key]!.description.singleLine)"
        }
        self.writer.write(line)
    }

    /// The same as one JSON object: `ts`, `level`, `msg`, and the values by their names.
    private func json(_ event: LogEvent) -> [UInt8] {
        var object: JSONObject = [
            "ts": .string("\(Timestamp.now)"), "level": .string(Self.name(of: event.level)),
            "msg": .string(event.message.description),
        ]
        let all = self.metadata.merging(event.metadata ?? [:]) { _, later in later }
        for key in all.keys.sorted() where object[key] == nil { object[key] = .string(all[key]!.description) }
        return JSONValue.object(object).bytes()
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

/// Whether operational lines are text or JSON. It is known only after the configuration has been read, and some lines
/// come before.
package final class LogFormat: Sendable {
    private let json = Atomic(false)

    package init() {}

    package var isJSON: Bool { self.json.load(ordering: .relaxed) }

    package func useJSON(_ isOn: Bool) { self.json.store(isOn, ordering: .relaxed) }
}

private func < (left: (Bool, String), right: (Bool, String)) -> Bool {
    left.0 == right.0 ? left.1 < right.1 : !left.0
}
