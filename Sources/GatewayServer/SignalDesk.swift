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
        case serving(hangUp: @Sendable () -> Void, end: @Sendable (UnixSignal) -> Void)
        case draining
    }

    private struct State {
        var stage = Stage.starting
        var hasHungUp = false
        /// What came while it was listening and did not serve yet.
        var end: UnixSignal?
    }

    private let state = Mutex(State())
    private let hurry = Atomic(false)
    private let log: Logger
    private let signals: UnixSignalsSequence
    private let leave: @Sendable (UnixSignal) -> Void

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
        let (first, begin) = AsyncStream.makeStream(of: UnixSignal.self)
        let (hasHungUp, end) = self.state.withLock { state in
            state.stage = state.end == nil ? .serving(hangUp: hangUp) { begin.yield($0) } : .draining
            return (state.hasHungUp, state.end)
        }
        if let end { return end }
        if hasHungUp { hangUp() }
        return await first.first { _ in true }
    }

    func receive(_ signal: UnixSignal) {
        let isHangUp = signal == .sighup
        let stage = self.state.withLock { state in
            let stage = state.stage
            switch stage {
            case .starting: if isHangUp { state.hasHungUp = true }
            case .listening: if isHangUp { state.hasHungUp = true } else { state.end = state.end ?? signal }
            case .serving: if !isHangUp { state.stage = .draining }
            case .draining: break
            }
            return stage
        }
        switch stage {
        case .starting:
            guard !isHangUp else { return }
            self.log.info("\(signal) received while starting: nothing was open")
            self.leave(signal)
        case .listening: break
        case .serving(let hangUp, let end): if isHangUp { hangUp() } else { end(signal) }
        case .draining:
            guard !isHangUp else {
                self.log.info("SIGHUP received: there is nothing to reload")
                return
            }
            self.log.warning("\(signal) received while shutting down: open requests are closed now")
            self.hurry.store(true, ordering: .relaxed)
        }
    }
}
