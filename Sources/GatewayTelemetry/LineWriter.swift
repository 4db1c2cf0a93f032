// SPDX-License-Identifier: Apache-2.0

internal import Foundation
internal import Synchronization

#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Musl)
    internal import Musl
#else
    internal import Darwin
#endif

/// Writes whole lines to an output from one thread, so that a request never waits for a slow log. While lines are rare and
/// the output takes them at once, they are written where they arise: whoever has an answer finds its line in the log.
///
/// Lines wait in a bounded buffer. When the reader of the log is so slow that the buffer fills, new lines are dropped
/// and counted, and the count is written as soon as there is room.
package final class LineWriter: Sendable {
    private struct State {
        var pending: [UInt8] = []
        /// Whether the thread has bytes that it may not have put yet.
        var isPutting = false
        var lastLine = ContinuousClock.now
        /// How many lines may be written where they arise; grows with time, up to `busyStreak`.
        var credit = Double(busyStreak)
        /// An output that was slow is left to the thread until then.
        var isSlowUntil = ContinuousClock.now
        var dropped = 0
        var isClosed = false
    }

    private static let limit = 16 << 20
    /// How long lines are gathered after a write once many writes have followed each other closely, so that a busy gateway
    /// writes many at once and a quiet one writes at once.
    private static let pause = useconds_t(1000)
    private static let closeness = Duration.microseconds(1500)
    private static let busyStreak = 32
    /// An output that takes longer for one line must not be waited for, and for so long.
    private static let slowness = Duration.milliseconds(5)
    private static let rest = Duration.seconds(60)

    private let state = Mutex(State())
    private let signal = DispatchSemaphore(value: 0)
    private let finished = DispatchSemaphore(value: 0)
    private let output: any LineOutput

    package convenience init(descriptor: Int32 = STDERR_FILENO) {
        self.init(DescriptorOutput(descriptor: descriptor))
    }

    package init(_ output: any LineOutput) {
        self.output = output
        let thread = Thread { [self] in self.run() }
        thread.name = "log-writer"
        thread.stackSize = 128 << 10
        thread.start()
    }

    /// Appends one line; its end is added.
    package func write(_ line: [UInt8]) {
        let now = ContinuousClock.now
        let isFirst = self.state.withLock { state in
            state.credit += state.lastLine.duration(to: now) / Self.closeness
            state.credit = min(state.credit, Double(Self.busyStreak))
            state.lastLine = now
            if state.credit >= 1, state.pending.isEmpty, !state.isPutting, !state.isClosed, state.isSlowUntil <= now,
                self.output.takesAtOnce(line.count + 1)
            {
                state.credit -= 1
                self.output.put(line + [0x0A])
                let end = ContinuousClock.now
                if now.duration(to: end) > Self.slowness { state.isSlowUntil = end + Self.rest }
                return false
            }
            guard state.pending.count + line.count < Self.limit else {
                state.dropped += 1
                return false
            }
            let wasEmpty = state.pending.isEmpty
            state.pending += line
            state.pending.append(0x0A)
            return wasEmpty
        }
        if isFirst { self.signal.signal() }
    }

    package func write(_ line: String) {
        self.write(Array(line.utf8))
    }

    /// Writes what is waiting and stops. Lines that come later are lost.
    package func close() {
        let wasOpen = self.state.withLock { state in
            defer { state.isClosed = true }
            return !state.isClosed
        }
        guard wasOpen else { return }
        self.signal.signal()
        _ = self.finished.wait(timeout: .now() + 5)
    }

    private func run() {
        var streak = 0
        var lastWrite = ContinuousClock.now
        while true {
            self.signal.wait()
            while true {
                let (bytes, isClosed) = self.state.withLock { state in
                    var bytes = state.pending
                    state.pending = []
                    state.isPutting = !bytes.isEmpty
                    if state.dropped > 0 {
                        bytes += Array(
                            "[gateway] \(state.dropped) log lines were dropped because the log is read too slowly\n"
                                .utf8)
                        state.dropped = 0
                    }
                    return (bytes, state.isClosed)
                }
                if bytes.isEmpty {
                    if isClosed {
                        self.finished.signal()
                        return
                    }
                    break
                }
                self.output.put(bytes)
                let now = ContinuousClock.now
                streak = lastWrite.duration(to: now) < Self.closeness ? streak + 1 : 0
                lastWrite = now
                if streak > Self.busyStreak, !isClosed { usleep(Self.pause) }
            }
        }
    }
}
