// SPDX-License-Identifier: Apache-2.0

internal import Foundation
internal import GatewayConfig
internal import GatewayCore
internal import GatewayProviders
internal import GatewayTelemetry
internal import Logging
internal import Synchronization
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
        let gateway: Gateway
        do {
            gateway = try await Gateway.start(
                settings,
                Gateway.Environment(
                    audit: console.audit, log: console.log, allowsLoopback: console.allowsLoopback,
                    variables: console.variables))
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
        return await self.untilSignalled(gateway, console, reloader)
    }

    /// The first signal begins the drain, the second ends it at once.
    private static func untilSignalled(_ gateway: Gateway, _ console: Console, _ reloader: Reloader?) async -> Ending {
        let hurry = Flag()
        let signals = await UnixSignalsSequence(trapping: .sigterm, .sigint, .sighup)
        let (first, begin) = AsyncStream.makeStream(of: UnixSignal.self)
        return await withTaskGroup(of: Ending?.self) { group in
            group.addTask {
                var isDraining = false
                for await signal in signals {
                    if signal == .sighup {
                        if let reloader, !isDraining {
                            Task { await reloader.reload(because: "SIGHUP") }
                        } else {
                            console.log.info("SIGHUP received: there is nothing to reload")
                        }
                    } else if isDraining {
                        console.log.warning("\(signal) received while shutting down: open requests are closed now")
                        hurry.raise()
                    } else {
                        isDraining = true
                        begin.yield(signal)
                    }
                }
                return nil
            }
            group.addTask {
                guard let signal = await first.first(where: { _ in true }) else { return nil }
                let limit = console.drainLimit
                console.log.info(
                    "\(signal) received: shutting down. Refusing new requests; open requests get up to \(limit) to finish (set by CLAUDE_GATEWAY_DRAIN_TIMEOUT_MS)"
                )
                let cut = await gateway.stop(within: limit) { hurry.isRaised }
                guard cut > 0 else {
                    console.log.info("shutdown complete: every open request finished, none was cut")
                    return .stopped
                }
                console.log.warning(
                    "shutdown complete: \(cut) request(s) still open were cut. Raise CLAUDE_GATEWAY_DRAIN_TIMEOUT_MS and the orchestrator's grace period together to give streams longer"
                )
                return .cutRequests(cut)
            }
            for await ending in group {
                guard let ending else { continue }
                group.cancelAll()
                return ending
            }
            return .stopped
        }
    }
}

/// Something that happens once.
private final class Flag: Sendable {
    private let value = Atomic(false)

    var isRaised: Bool { self.value.load(ordering: .relaxed) }

    func raise() {
        self.value.store(true, ordering: .relaxed)
    }
}
