// SPDX-License-Identifier: Apache-2.0

internal import CLinuxIO
internal import Glibc
internal import NIOCore

/// What the sockets of a loop have to send, gathered for a moment and sent in one system call. Confined to its loop.
///
/// Who receives is woken by a send, and on a busy machine has the processor at once, for the one message that is there.
/// With several sends in one call it finds all of them (docs/decisions/0016).
final class SendBatch {
    private struct Entry {
        /// Held until it is sent.
        let socket: Unmanaged<Socket>
        let descriptor: Int32
        let bytes: UnsafeRawBufferPointer
    }

    /// So many sends are made at once.
    static let limit = linux_batch_limit
    /// What is longer is sent by itself.
    private static let largest = 8 << 10
    private static let memorySize = 64 << 10
    /// So long may what is there wait for more.
    private static let patience = TimeAmount.milliseconds(1)

    /// Whether the system makes several sends at once, and lets this process ask for it.
    let isAvailable: Bool
    /// Whether what is to be sent from now on may wait for more.
    var isGathering = true
    private let batch = UnsafeMutablePointer<linux_batch>.allocate(capacity: 1)
    private let memory = UnsafeMutableRawPointer.allocate(byteCount: SendBatch.memorySize, alignment: 64)
    private let entries = UnsafeMutableBufferPointer<Entry>.allocate(capacity: SendBatch.limit)
    private let results = UnsafeMutablePointer<Int>.allocate(capacity: SendBatch.limit)
    private var count = 0
    private var used = 0
    private var deadline = NIODeadline.distantFuture
    private var isSending = false

    init(isOn: Bool = true) {
        self.isAvailable = isOn && linux_batch_open(self.batch)
    }

    deinit {
        if self.isAvailable { linux_batch_close(self.batch) }
        self.batch.deallocate()
        self.memory.deallocate()
        self.entries.deallocate()
        self.results.deallocate()
    }

    /// Sends what is there if so much more has no room. Sockets hear of it, and may end others.
    func makeRoom(_ length: Int) {
        guard length <= Self.largest else { return }
        if self.count == Self.limit || self.used + length > Self.memorySize { self.send() }
    }

    /// Takes a copy of what a socket has to send, for which room has been made.
    ///
    /// - Returns: Whether it was taken, and the socket hears what became of it; otherwise it is to be sent at once.
    func add(_ bytes: UnsafeRawBufferPointer, of socket: Socket, _ descriptor: Int32) -> Bool {
        guard self.isAvailable, self.isGathering, !self.isSending, 1...Self.largest ~= bytes.count else { return false }
        if self.count == 0 { self.deadline = socket.loop.eventTime + Self.patience }
        let copy = UnsafeMutableRawBufferPointer(start: self.memory + self.used, count: bytes.count)
        copy.copyMemory(from: bytes)
        self.entries.initializeElement(
            at: self.count,
            to: Entry(socket: .passRetained(socket), descriptor: descriptor, bytes: UnsafeRawBufferPointer(copy)))
        self.count += 1
        self.used += bytes.count
        return true
    }

    /// Sends what has waited long enough.
    func sendIfDue(_ now: NIODeadline) {
        if now >= self.deadline { self.send() }
    }

    /// Sends what is there. What sockets add while they hear of it is not gathered.
    func send() {
        guard self.count > 0, !self.isSending else { return }
        self.isSending = true
        let entries = self.entries[..<self.count]
        self.makeSends(entries)
        for (entry, result) in zip(entries, UnsafeBufferPointer(start: self.results, count: entries.count)) {
            entry.socket._withUnsafeGuaranteedRef { $0.batchSent(entry.bytes, result) }
            entry.socket.release()
        }
        self.count = 0
        self.used = 0
        self.deadline = .distantFuture
        self.isSending = false
    }

    /// Makes all of them before anyone hears of one, and may close another.
    private func makeSends(_ entries: Slice<UnsafeMutableBufferPointer<Entry>>) {
        if entries.count == 1 {
            self.results[0] = linux_not_sent
        } else {
            for entry in entries {
                linux_batch_add(self.batch, entry.descriptor, entry.bytes.baseAddress, entry.bytes.count)
            }
            linux_batch_send(self.batch, self.results)
        }
        for (index, entry) in entries.enumerated() where self.results[index] == linux_not_sent {
            self.results[index] = Socket.send(entry.bytes, to: entry.descriptor)
        }
    }
}
