// SPDX-License-Identifier: Apache-2.0

internal import Foundation
internal import GatewayConfig
internal import GatewayCore
internal import GatewayProviders
internal import GatewayTelemetry
internal import Logging
internal import UnixSignals

/// `claude gateway`: boot, serve until a signal, drain. Everything it says goes to standard error.
package enum GatewayCommand {
    /// How it ended; `ClaudeCommands` turns it into an exit code.
    package enum Ending: Sendable, Equatable {
        case stopped
        /// Some requests were still open at the end of the drain.
        case cutRequests(Int)
        /// The configuration is not usable.
        case badConfiguration
        /// Something outside the file kept the gateway from starting.
        case bootFailed
    }

    /// - Parameter watches: Whether the file, and those it names, are looked at for changes.
    package static func run(configuration path: String, watches: Bool = false, environment: [String: String]) async
        -> Ending
    {
        let console = Console(environment: environment)
        defer { console.writer.close() }
        let file = ConfigurationFile(
            path: path, .running(environment, allowsLoopback: console.allowsLoopback))
        guard let settings = file.settings else {
            for fault in file.report.sorted { console.writer.write(fault.line(inFile: path)) }
            let count = file.report.errors.count
            let last =
                "claude gateway: \(path) cannot be used: \(count == 1 ? "one fault" : "\(count) faults"), listed above. Try claude config validate \(path)"
            console.writer.write(last)
            return .badConfiguration
        }
        if settings.observability.logsJSON { console.format.useJSON(true) }
        let loaded = AuditEvent(
            "config.load",
            [
                "path": .string(path), "sha256": .string(file.digest), "file_sha256": .string(file.fileDigest),
            ])
        if settings.observability.auditToStderr { console.audit.record(loaded) }
        for fault in file.report.warnings { console.log.warning("\(fault.line(inFile: path))") }
        let source = ConfigurationSource(
            path: path, environment: environment, allowsLoopback: console.allowsLoopback, first: file)
        return await self.serve(
            settings, console, notices: [], loaded: loaded, reloading: source, watches: watches)
    }

    /// Serves until a signal. `notices` are printed under the banner.
    static func serve(
        _ settings: GatewaySettings, _ console: Console, notices: [String], loaded: AuditEvent? = nil,
        reloading source: ConfigurationSource? = nil,
        watches: Bool = false,
    ) async -> Ending {
        let desk = await SignalDesk(console.log) { signal in
            console.writer.close()
            // As a shell has it of a process that a signal has ended.
            _exit(128 + signal.rawValue)
        }
        let signals = Task { await desk.run() }
        defer { signals.cancel() }
        let gateway: Gateway
        do {
            gateway = try await Gateway.start(
                settings,
                Gateway.Environment(
                    audit: console.audit, log: console.log, allowsLoopback: console.allowsLoopback,
                    variables: console.variables, willListen: { desk.listens() }))
        } catch {
            console.writer.write("claude gateway: \("\(error)".singleLine)")
            return .bootFailed
        }
        if let loaded { gateway.repeatForOutputs(loaded) }
        for line in Banner.lines(settings, port: gateway.port, notices: notices) { console.writer.write(line) }
        for fact in Banner.facts(settings, port: gateway.port) { console.log.info("\(fact)") }
        StartupMemory.release()
        let reloader = source.map { Reloader(gateway: gateway, source: $0, audit: gateway.audit, log: console.log) }
        let watcher = watches ? reloader.map { reloader in Task { await reloader.watch() } } : nil
        defer { watcher?.cancel() }
        let signal = await desk.untilEnd {
            guard let reloader else {
                console.log.info("SIGHUP received: there is nothing to reload")
                return
            }
            Task { await reloader.reload(because: "SIGHUP") }
        }
        guard let signal else { return .stopped }
        return await self.drain(gateway, console, signal) { desk.isHurried }
    }

    private static func drain(
        _ gateway: Gateway, _ console: Console, _ signal: UnixSignal, isHurried: @escaping @Sendable () -> Bool,
    ) async -> Ending {
        let limit = console.drainLimit
        console.log.info(
            "\(signal) received: shutting down. Refusing new requests; open requests get up to \(limit) to finish (set by CLAUDE_GATEWAY_DRAIN_TIMEOUT_MS)"
        )
        let cut = await gateway.stop(within: limit, isHurried: isHurried)
        guard cut > 0 else {
            console.log.info("shutdown complete: every open request finished, none was cut")
            return .stopped
        }
        console.log.warning(
            "shutdown complete: \(cut) request(s) still open were cut. Raise CLAUDE_GATEWAY_DRAIN_TIMEOUT_MS and the orchestrator's grace period together to give streams longer"
        )
        return .cutRequests(cut)
    }
}
