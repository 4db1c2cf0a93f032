// SPDX-License-Identifier: Apache-2.0

internal import NIOCore

/// Waits for many things that all have the same time, and mostly end before it: one timer for all of them, and a list in
/// the order in which they began. Confined to its event loop.
final class DeadlineQueue {
    /// Something that is waited for. It must have ended before it goes away, in its `deinit` at the latest: the queue does
    /// not hold it.
    class Entry {
        fileprivate var deadline = NIODeadline.uptimeNanoseconds(0)
        fileprivate var isWaiting = false
        fileprivate unowned(unsafe) var next: Entry?
        fileprivate unowned(unsafe) var previous: Entry?

        /// Its time has come, and it waits no longer.
        func deadlineCame() {}
    }

    private let loop: any EventLoop
    private let amount: TimeAmount
    private unowned(unsafe) var first: Entry?
    private unowned(unsafe) var last: Entry?
    private var timer: Scheduled<Void>?

    init(_ amount: TimeAmount, loop: any EventLoop) {
        self.amount = amount
        self.loop = loop
    }

    /// Begins to wait, anew if the entry is waiting already.
    func begin(_ entry: Entry, now: NIODeadline) {
        self.end(entry)
        entry.deadline = now + self.amount
        entry.isWaiting = true
        entry.previous = self.last
        if let last { last.next = entry } else { self.first = entry }
        self.last = entry
        if self.timer == nil { self.schedule(entry.deadline) }
    }

    func end(_ entry: Entry) {
        guard entry.isWaiting else { return }
        entry.isWaiting = false
        let (next, previous) = (entry.next, entry.previous)
        if let next { next.previous = previous } else { self.last = previous }
        if let previous { previous.next = next } else { self.first = next }
        entry.next = nil
        entry.previous = nil
    }

    /// The timer is left as it is when its entry ends early: it looks again when it comes.
    private func schedule(_ deadline: NIODeadline) {
        let bound = NIOLoopBound(self, eventLoop: self.loop)
        self.timer = self.loop.scheduleTask(deadline: deadline) { bound.value.fire() }
    }

    private func fire() {
        self.timer = nil
        let now = NIODeadline.now()
        while let entry = self.first, entry.deadline <= now {
            self.end(entry)
            entry.deadlineCame()
        }
        if self.timer == nil, let first { self.schedule(first.deadline) }
    }
}
