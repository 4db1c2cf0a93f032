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
        /// How many lines may be written where they arise; grows with time, up to `busyStreak`.
        var credit = Double(busyStreak)
        /// Until when it has grown.
        var creditTime = MonotonicTime.now
        /// An output that was slow is left to the thread until then.
        var isSlowUntil = MonotonicTime.now
        var dropped = 0
        var isClosed = false
    }

    private static let limit = 16 << 20
    /// So much memory is kept for the lines that come next.
    private static let kept = 256 << 10
    /// How long lines are gathered after a write once many writes have followed each other closely, so that a busy gateway
    /// writes many at once and a quiet one writes at once.
    private static let pause = useconds_t(1000)
    /// In nanoseconds, as all that follow.
    private static let closeness = 1_500_000.0
    private static let busyStreak = 32
    /// An output that takes longer for one line must not be waited for, and for so long.
    private static let slowness: Int64 = 5_000_000
    private static let rest: Int64 = 60_000_000_000

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
        self.write(whole: line + [0x0A])
    }

    /// Appends one line that has its end, or several.
    package func write(whole line: [UInt8], count: Int = 1) {
        let isFirst = self.state.withLock { state in
            // A busy log is not asked for the time.
            if state.pending.isEmpty, !state.isPutting, !state.isClosed, self.putAtOnce(line, &state) { return false }
            guard state.pending.count + line.count <= Self.limit else {
                state.dropped += count
                return false
            }
            let wasEmpty = state.pending.isEmpty
            state.pending += line
            return wasEmpty
        }
        if isFirst { self.signal.signal() }
    }

    private func putAtOnce(_ line: [UInt8], _ state: inout State) -> Bool {
        let now = MonotonicTime.now
        state.credit = min(state.credit + Double(now - state.creditTime) / Self.closeness, Double(Self.busyStreak))
        state.creditTime = now
        guard state.credit >= 1, state.isSlowUntil <= now, self.output.takesAtOnce(line.count) else { return false }
        state.credit -= 1
        self.output.put(line)
        let end = MonotonicTime.now
        if end - now > Self.slowness { state.isSlowUntil = end + Self.rest }
        return true
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
        var lastWrite = MonotonicTime.now
        // Changes places with what has been gathered, so that memory is used again.
        var bytes: [UInt8] = []
        while true {
            self.signal.wait()
            while true {
                if bytes.capacity > Self.kept { bytes = [] } else { bytes.removeAll(keepingCapacity: true) }
                let isClosed = self.state.withLock { state in
                    swap(&bytes, &state.pending)
                    state.isPutting = !bytes.isEmpty
                    if state.dropped > 0 {
                        bytes += Array(
                            "[gateway] \(state.dropped) log lines were dropped because the log is read too slowly\n"
                                .utf8)
                        state.dropped = 0
                    }
                    return state.isClosed
                }
                if bytes.isEmpty {
                    if isClosed {
                        self.finished.signal()
                        return
                    }
                    break
                }
                self.output.put(bytes)
                let now = MonotonicTime.now
                streak = Double(now - lastWrite) < Self.closeness ? streak + 1 : 0
                lastWrite = now
                if streak > Self.busyStreak, !isClosed { usleep(Self.pause) }
            }
        }
    }
}

/// The system's clock that only goes forward, in nanoseconds: without the durations of `ContinuousClock`, since it is read
/// for each line.
private enum MonotonicTime {
    static var now: Int64 { Int64(DispatchTime.now().uptimeNanoseconds) }
}
