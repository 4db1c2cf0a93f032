// SPDX-License-Identifier: Apache-2.0

internal import Foundation
internal import Logging
internal import Synchronization
internal import UnixSignals

/// What SIGTERM, SIGINT and SIGHUP do, from before the gateway listens until it has ended: whoever finds it listening may
/// stop it, and must not find a process that signals still kill.
///
/// While the gateway starts, SIGTERM and SIGINT end the process at once, and SIGHUP waits. Once it listens, the first of the
/// two begins the drain, and the second ends that.
final class SignalDesk: Sendable {
    private enum Stage {
        case starting
        case listening
        case draining
    }

    private struct State {
        var stage = Stage.starting
        /// What SIGHUP does, once the gateway serves.
        var hangUp: (@Sendable () -> Void)?
        /// SIGHUP came before that.
        var hasHungUp = false
    }

    private let state = Mutex(State())
    private let hurry = Atomic(false)
    private let log: Logger
    private let signals: UnixSignalsSequence
    private let leave: @Sendable (UnixSignal) -> Void
    /// The signal that begins the drain. It waits here until somebody asks.
    private let end = AsyncStream.makeStream(of: UnixSignal.self)

    /// Whether a second signal has asked for an end at once.
    var isHurried: Bool { self.hurry.load(ordering: .relaxed) }

    /// - Parameter leave: Ends the process.
    init(_ log: Logger, leave: @escaping @Sendable (UnixSignal) -> Void) async {
        self.log = log
        self.leave = leave
        self.signals = await UnixSignalsSequence(trapping: .sigterm, .sigint, .sighup)
    }

    /// Answers to signals until it is cancelled.
    func run() async {
        for await signal in self.signals { self.receive(signal) }
    }

    /// The gateway is about to listen: from now on a request may be open.
    func listens() { self.state.withLock { $0.stage = .listening } }

    /// The gateway serves.
    ///
    /// - Parameter hangUp: SIGHUP came.
    /// - Returns: The signal that begins the drain; `nil` when the task was cancelled.
    func untilEnd(hangUp: @escaping @Sendable () -> Void) async -> UnixSignal? {
        let mustReload = self.state.withLock { state in
            state.hangUp = hangUp
            return state.hasHungUp && state.stage != .draining
        }
        if mustReload { hangUp() }
        return await self.end.stream.first { _ in true }
    }

    func receive(_ signal: UnixSignal) {
        if signal == .sighup { self.receiveHangUp() } else { self.receiveEnd(signal) }
    }

    private func receiveHangUp() {
        let (stage, hangUp) = self.state.withLock { state in
            state.hasHungUp = true
            return (state.stage, state.hangUp)
        }
        if stage == .draining {
            self.log.info("SIGHUP received: there is nothing to reload")
        } else {
            hangUp?()
        }
    }

    private func receiveEnd(_ signal: UnixSignal) {
        let stage = self.state.withLock { state in
            defer { if state.stage == .listening { state.stage = .draining } }
            return state.stage
        }
        switch stage {
        case .starting:
            self.log.info("\(signal) received while starting: nothing was open")
            self.leave(signal)
        case .listening: self.end.continuation.yield(signal)
        case .draining:
            self.log.warning("\(signal) received while shutting down: open requests are closed now")
            self.hurry.store(true, ordering: .relaxed)
        }
    }
}
