// SPDX-License-Identifier: Apache-2.0

internal import NIOCore

/// Waits for many things that all have the same time, and mostly end before it: one timer for all of them, and a list in
/// the order in which they began. Confined to its event loop.
final class DeadlineQueue {
    /// Something that is waited for.
    final class Entry {
        fileprivate var deadline = NIODeadline.uptimeNanoseconds(0)
        fileprivate var onDeadline: (() -> Void)?
        fileprivate var next: Entry?
        fileprivate unowned(unsafe) var previous: Entry?
    }

    private let loop: any EventLoop
    private let amount: TimeAmount
    private var first: Entry?
    private unowned(unsafe) var last: Entry?
    private var timer: Scheduled<Void>?

    init(_ amount: TimeAmount, loop: any EventLoop) {
        self.amount = amount
        self.loop = loop
    }

    /// Begins to wait, anew if the entry is waiting already. The queue holds the entry until it ends.
    func begin(_ entry: Entry, now: NIODeadline, _ onDeadline: @escaping () -> Void) {
        self.end(entry)
        entry.deadline = now + self.amount
        entry.onDeadline = onDeadline
        entry.previous = self.last
        if let last { last.next = entry } else { self.first = entry }
        self.last = entry
        if self.timer == nil { self.schedule(entry.deadline) }
    }

    func end(_ entry: Entry) {
        guard entry.onDeadline != nil else { return }
        entry.onDeadline = nil
        let next = entry.next
        entry.next = nil
        if let next { next.previous = entry.previous } else { self.last = entry.previous }
        // The queue lets go of the entry here.
        if let previous = entry.previous { previous.next = next } else { self.first = next }
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
            let onDeadline = entry.onDeadline
            self.end(entry)
            onDeadline?()
        }
        if self.timer == nil, let first { self.schedule(first.deadline) }
    }
}
