// SPDX-License-Identifier: Apache-2.0

internal import GatewayCore
internal import Glibc
internal import NIOCore

/// Hears from a socket. All calls come on its loop.
protocol SocketUser: AnyObject {
    func socketReceived(_ bytes: ByteBuffer)
    /// Reads into memory of the user's own, when it is known that what comes next belongs there.
    ///
    /// - Parameter read: Fills memory from its begin; returns how many bytes came, or 0 when none did.
    /// - Returns: How many bytes were asked for; `nil` when there is no such memory, and `read` was not called.
    func socketFills(_ read: (UnsafeMutableRawBufferPointer) -> Int) -> Int?
    /// The bytes that `socketFills` read are there.
    func socketFilled()
    /// What had come is through; now is the time to write.
    func socketPaused()
    func socketWritabilityChanged()
    /// The last call.
    ///
    /// - Parameter error: What broke the connection; `nil` when one of its sides closed it.
    func socketClosed(_ error: SocketError?)
}

extension SocketUser {
    func socketFills(_ read: (UnsafeMutableRawBufferPointer) -> Int) -> Int? { nil }
    func socketFilled() {}
}

/// What the system says of a connection.
struct SocketError: Error, CustomStringConvertible {
    let code: Int32

    var description: String { "\(String(cString: strerror(self.code))) (errno: \(self.code))" }
}

/// One TCP connection on a loop, confined to it. What is written leaves at the next flush; what the other side does not
/// take waits here, and `isWritable` says whether it is too much.
final class Socket: Watched {
    private static let highWatermark = 64 << 10
    private static let lowWatermark = 32 << 10
    /// So many reads come before other sockets have their turn.
    private static let readsAtOnce = 4
    private static let slicesAtOnce = 64
    /// What waits up to this length is put together, so that it holds no larger buffers.
    private static let compactLimit = 128 << 10

    let loop: PollLoop
    private let copiesReads: Bool
    private let readLimit: Int
    /// -1 when closed.
    private var descriptor: Int32
    private var user: (any SocketUser)?
    /// What was written and has not left.
    private var waiting: [ByteBuffer] = []
    private(set) var pendingBytes = 0
    private(set) var isWritable = true
    /// The system takes no more for now; it tells when it does.
    private var isBlocked = false
    /// Something of what was written is in the loop's batch.
    private var isBatched = false
    private var isReading = true
    /// Whether something may be there to be read.
    private var isReadable = false
    private var isHungUp = false
    private var isContinued = false
    /// What broke writing: what has come already is read before the end.
    private var writeError: Int32?
    /// Bytes written and sent since the beginning, and who waits for a mark of that count.
    private var sentBytes = 0
    private var marks: [(count: Int, reached: (Bool) -> Void)] = []

    /// - Parameters:
    ///   - descriptor: A connected socket that does not block, which this owns from now on.
    ///   - copiesReads: Whether small reads get memory of their own. Otherwise whoever keeps a part of one keeps 64 kB.
    ///   - readLimit: So many bytes are read at once, where it is not known what they are.
    init(_ descriptor: Int32, loop: PollLoop, copiesReads: Bool = true, readLimit: Int = PollLoop.readSize) {
        self.descriptor = descriptor
        self.readLimit = readLimit
        self.loop = loop
        self.copiesReads = copiesReads
    }

    deinit {
        if self.descriptor >= 0 { Glibc.close(self.descriptor) }
    }

    /// Begins to read for a user, who is held until the socket is closed.
    ///
    /// - Returns: Whether the system has room for it; the socket is closed otherwise.
    func start(_ user: any SocketUser) -> Bool {
        self.user = user
        let events: UInt32 = .readable | .writable | .hungUp | .edgeTriggered
        if self.loop.watch(self.descriptor, for: self, events) { return true }
        Glibc.close(self.descriptor)
        self.descriptor = -1
        self.user = nil
        return false
    }

    var isOpen: Bool { self.descriptor >= 0 }

    var peer: SocketAddress? { self.address(getpeername) }
    var name: SocketAddress? { self.address(getsockname) }

    private func address(
        _ ask: (Int32, UnsafeMutablePointer<sockaddr>, UnsafeMutablePointer<socklen_t>) -> Int32,
    ) -> SocketAddress? {
        var storage = sockaddr_storage()
        var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
        return withUnsafeMutablePointer(to: &storage) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { address in
                ask(self.descriptor, address, &length) == 0 ? SocketAddress(copying: address) : nil
            }
        }
    }

    // MARK: Writing

    func write(_ bytes: ByteBuffer) {
        guard self.isOpen, bytes.readableBytes > 0 else { return }
        self.pendingBytes += bytes.readableBytes
        if self.isBlocked, let last = self.waiting.indices.last, bytes.readableBytes < Self.highWatermark {
            self.waiting[last].writeImmutableBuffer(bytes)
        } else {
            self.waiting.append(bytes)
        }
    }

    func writeAndFlush(_ bytes: ByteBuffer) {
        guard let sent = bytes.withUnsafeReadableBytes({ self.sendAtOnce($0) }) else {
            self.write(bytes)
            self.flush()
            return
        }
        var rest = bytes
        rest.moveReaderIndex(forwardBy: sent)
        self.wait(rest)
    }

    /// The same for bytes that are only copied if they must wait.
    func writeAndFlush(_ bytes: UnsafeRawBufferPointer) {
        guard let sent = self.sendAtOnce(bytes) else {
            self.write(ByteBuffer(bytes: bytes))
            self.flush()
            return
        }
        if sent < bytes.count { self.wait(ByteBuffer(bytes: bytes[sent...])) }
    }

    /// - Returns: How many bytes have left; `nil` when others are to leave first.
    private func sendAtOnce(_ bytes: UnsafeRawBufferPointer) -> Int? {
        self.loop.sends.makeRoom(bytes.count)
        guard self.isOpen, self.pendingBytes == 0, !self.isBlocked else { return nil }
        if self.loop.sends.add(bytes, of: self, self.descriptor) {
            self.isBatched = true
            self.pendingBytes = bytes.count
            return bytes.count
        }
        return bytes.count > 0 ? self.noted(Self.send(bytes, to: self.descriptor)) : 0
    }

    /// What the loop's batch had of this socket has been sent.
    ///
    /// - Parameter result: How many bytes the system has taken, or a negative error.
    func batchSent(_ bytes: UnsafeRawBufferPointer, _ result: Int) {
        guard self.isOpen else { return }
        self.isBatched = false
        let sent = self.noted(result)
        self.pendingBytes -= sent
        if sent < bytes.count { self.waiting.insert(ByteBuffer(bytes: bytes[sent...]), at: 0) }
        if self.isBlocked { self.compact() }
        self.flush()
    }

    private func wait(_ rest: ByteBuffer) {
        guard rest.readableBytes > 0, self.isOpen else { return }
        self.pendingBytes = rest.readableBytes
        self.waiting.append(rest)
        self.flush()
    }

    func flush() {
        // What is in the batch comes first.
        guard self.isOpen, !self.isBatched else { return }
        let wasBlocked = self.isBlocked
        while self.pendingBytes > 0, !self.isBlocked, self.writeError == nil { self.sendWaiting() }
        if self.isBlocked, !wasBlocked { self.compact() }
        self.updateWritability()
        if !self.marks.isEmpty { self.reachMarks() }
    }

    private func sendWaiting() {
        let sent: Int
        if self.waiting.count == 1 {
            sent = self.waiting[0].withUnsafeReadableBytes { self.noted(Self.send($0, to: self.descriptor)) }
        } else {
            sent = self.sendSlices()
        }
        self.pendingBytes -= sent
        var left = sent
        var whole = 0
        while left > 0 {
            let count = self.waiting[whole].readableBytes
            guard left >= count else {
                self.waiting[whole].moveReaderIndex(forwardBy: left)
                break
            }
            left -= count
            whole += 1
        }
        self.waiting.removeFirst(whole)
    }

    /// - Returns: How many bytes were taken, or a negative error of the system's.
    static func send(_ bytes: UnsafeRawBufferPointer, to descriptor: Int32) -> Int {
        let sent = Glibc.send(descriptor, bytes.baseAddress, bytes.count, Int32(MSG_NOSIGNAL))
        return sent < 0 ? -Int(errno) : sent
    }

    private func sendSlices() -> Int {
        let count = min(self.waiting.count, Self.slicesAtOnce)
        return withUnsafeTemporaryAllocation(of: iovec.self, capacity: count) { slices in
            // `waiting` holds the memory until they are sent.
            for (index, bytes) in self.waiting.prefix(count).enumerated() {
                bytes.withUnsafeReadableBytes {
                    let start = UnsafeMutableRawPointer(mutating: $0.baseAddress)
                    slices.initializeElement(at: index, to: iovec(iov_base: start, iov_len: $0.count))
                }
            }
            var message = msghdr()
            message.msg_iov = slices.baseAddress
            message.msg_iovlen = count
            let sent = sendmsg(self.descriptor, &message, Int32(MSG_NOSIGNAL))
            return self.noted(sent < 0 ? -Int(errno) : sent)
        }
    }

    /// - Parameter result: How many bytes the system has taken, or a negative error.
    /// - Returns: How many have left; when it takes no more for now, or never, that is noted.
    private func noted(_ result: Int) -> Int {
        guard result < 0 else {
            self.sentBytes += result
            return result
        }
        switch Int32(-result) {
        case EINTR: break
        case EAGAIN: self.isBlocked = true
        case let code: self.breakWriting(code)
        }
        return 0
    }

    /// The other side takes no more. It may have said why: that is read first, and then the connection ends.
    private func breakWriting(_ code: Int32) {
        self.writeError = code
        self.isReadable = true
        self.continueLater()
    }

    /// Puts together what waits, so that it holds no larger buffers than it needs.
    private func compact() {
        guard self.pendingBytes <= Self.compactLimit else { return }
        var all = ByteBufferAllocator().buffer(capacity: self.pendingBytes)
        for bytes in self.waiting { all.writeImmutableBuffer(bytes) }
        self.waiting = [all]
    }

    private func updateWritability() {
        let isWritable =
            self.isWritable ? self.pendingBytes <= Self.highWatermark : self.pendingBytes < Self.lowWatermark
        guard isWritable != self.isWritable else { return }
        self.isWritable = isWritable
        self.user?.socketWritabilityChanged()
    }

    /// Calls when everything that was written so far has left (`true`), or never will.
    func whenSent(_ reached: @escaping (Bool) -> Void) {
        guard self.isOpen else {
            reached(false)
            return
        }
        guard self.pendingBytes > 0 else {
            reached(true)
            return
        }
        self.marks.append((self.sentBytes + self.pendingBytes, reached))
    }

    private func reachMarks() {
        let reached = self.marks.prefix { $0.count <= self.sentBytes }
        self.marks.removeFirst(reached.count)
        for mark in reached { mark.reached(true) }
    }

    // MARK: Reading

    /// Stops or resumes reading.
    func setReading(_ isOn: Bool) {
        self.isReading = isOn
        if isOn, self.isReadable { self.continueLater() }
    }

    private func continueLater() {
        guard !self.isContinued else { return }
        self.isContinued = true
        self.loop.continueLater(self)
    }

    override func happened(_ events: UInt32) {
        guard self.isOpen else { return }
        if self.isBlocked, events & (.writable | .hungUp) != 0 {
            self.isBlocked = false
            self.flush()
        }
        guard events & (.readable | .hungUp) != 0 else { return }
        self.isReadable = true
        if events & .hungUp != 0 { self.isHungUp = true }
        self.read()
    }

    override func goOn() {
        self.isContinued = false
        self.read()
    }

    private func read() {
        var reads = 0
        while self.isOpen, self.isReadable, self.isReading || self.writeError != nil {
            if reads == Self.readsAtOnce {
                self.continueLater()
                break
            }
            switch self.receive() {
            case .bytes(let bytes, let mayBeMore):
                reads += 1
                // A read that was not filled has emptied the socket, and what comes later is told; but for an end that
                // has been told already.
                self.isReadable = mayBeMore || self.isHungUp || self.writeError != nil
                if let bytes { self.user?.socketReceived(bytes) } else { self.user?.socketFilled() }
            case .end: self.close(self.writeError.map(SocketError.init))
            case .notYet:
                self.isReadable = false
                if let writeError { self.close(SocketError(code: writeError)) }
            case .failed(let code): self.close(SocketError(code: code))
            }
        }
        if reads > 0, self.isOpen { self.user?.socketPaused() }
    }

    private func receive() -> PollLoop.Received {
        var count = 0
        let asked = self.user?.socketFills { memory in
            count = PollLoop.fill(memory, from: self.descriptor)
            return max(0, count)
        }
        guard let asked else {
            return self.loop.receive(from: self.descriptor, atMost: self.readLimit, copies: self.copiesReads)
        }
        return count > 0 ? .bytes(nil, mayBeMore: count == asked) : PollLoop.Received(nothing: count)
    }

    // MARK: Ending

    /// Ends the direction from here (FIN); what waits to be written must have left.
    func closeOutput() {
        if self.isBatched { self.loop.sends.send() }
        guard self.isOpen else { return }
        shutdown(self.descriptor, Int32(SHUT_WR))
    }

    func close() {
        self.close(nil)
    }

    private func close(_ error: SocketError?) {
        if self.isBatched { self.loop.sends.send() }
        guard self.isOpen else { return }
        self.loop.forget(self.descriptor, of: self)
        Glibc.close(self.descriptor)
        self.descriptor = -1
        self.waiting = []
        self.pendingBytes = 0
        let (user, marks) = (self.user, self.marks)
        self.user = nil
        self.marks = []
        for mark in marks { mark.reached(false) }
        user?.socketClosed(error)
    }
}

extension SocketAddress {
    /// An address of the system's; `nil` for a family that is none of the Internet's.
    init?(copying address: UnsafePointer<sockaddr>) {
        switch Int32(address.pointee.sa_family) {
        case AF_INET: self = address.withMemoryRebound(to: sockaddr_in.self, capacity: 1) { SocketAddress($0.pointee) }
        case AF_INET6:
            self = address.withMemoryRebound(to: sockaddr_in6.self, capacity: 1) { SocketAddress($0.pointee) }
        default: return nil
        }
    }
}
