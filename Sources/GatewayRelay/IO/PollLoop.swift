// SPDX-License-Identifier: Apache-2.0

internal import CLinuxIO
package import Dispatch
internal import GatewayCore
internal import Glibc
internal import HeapModule
package import NIOCore
internal import Synchronization

/// An event loop of the relay's own: one thread that waits for its sockets with epoll(7). What a request costs here is
/// little more than its system calls (docs/decisions/0014).
///
/// Sockets are registered once, edge-triggered; NIO's handlers run on it through `SocketChannel`.
package final class PollLoop: EventLoop, @unchecked Sendable {
    private typealias Job = () -> Void

    /// What other threads have for the loop.
    private struct Mailbox {
        var jobs: [Job] = []
        var isWoken = false
    }

    /// A scheduled task. It lets go of what it holds as soon as it ran or was cancelled.
    private final class Timer {
        var task: Job?

        init(_ task: @escaping Job) {
            self.task = task
        }
    }

    private struct Appointment: Comparable {
        let deadline: NIODeadline
        let number: UInt64
        let timer: Timer

        static func < (left: Appointment, right: Appointment) -> Bool {
            (left.deadline, left.number) < (right.deadline, right.number)
        }

        static func == (left: Appointment, right: Appointment) -> Bool { left.number == right.number }
    }

    private static let eventsAtOnce = 256
    /// So many bytes are read at once at most.
    static let readSize = 64 << 10
    /// Reads up to this length are copied, so that nobody who keeps a little holds a large buffer.
    private static let smallRead = 4 << 10

    private let poll: Int32
    private let wakeup: Int32
    private var thread = pthread_t()
    private let mailbox = Mutex(Mailbox())
    /// What the loop's own thread has for itself.
    private var jobs: [Job] = []
    private var appointments = Heap<Appointment>()
    private var appointmentNumber: UInt64 = 0
    /// Those that have more to do than one turn takes.
    private var unfinished: [Watched] = []
    /// Owners of descriptors that were closed in this turn: an event for them may still be in the list.
    private var forgotten: [Watched] = []
    /// When the event began that is being handled: a clock for what takes microseconds, read once for all of it.
    private(set) var eventTime = NIODeadline.now()
    let sends: SendBatch
    /// What is handed on at the end of each turn.
    var gatherings: [any Gathering] = []
    private var readBuffer = ByteBufferAllocator().buffer(capacity: PollLoop.readSize)

    /// - Parameter gathersSends: Whether small sends are made together, where the system can.
    init(name: String, gathersSends: Bool = true) {
        self.sends = SendBatch(isOn: gathersSends)
        self.poll = linux_epoll()
        self.wakeup = linux_eventfd()
        precondition(self.poll >= 0 && self.wakeup >= 0, "no descriptors are left for an event loop")
        var event = epoll_event(events: .readable, data: epoll_data_t(ptr: nil))
        epoll_ctl(self.poll, EPOLL_CTL_ADD, self.wakeup, &event)
        self.start(name)
    }

    private func start(_ name: String) {
        let isRunning = DispatchSemaphore(value: 0)
        let start = Unmanaged.passRetained(
            Start {
                self.thread = pthread_self()
                linux_name_thread(name)
                Self.ignoreBrokenPipes()
                isRunning.signal()
                self.run()
            })
        var thread = pthread_t()
        let result = pthread_create(&thread, nil, { Start.run($0) }, start.toOpaque())
        precondition(result == 0, "no thread is left for an event loop")
        isRunning.wait()
    }

    /// Sends that are made together cannot say that they want an error and no signal.
    private static func ignoreBrokenPipes() {
        var signals = sigset_t()
        sigemptyset(&signals)
        sigaddset(&signals, SIGPIPE)
        pthread_sigmask(SIG_BLOCK, &signals, nil)
    }

    private final class Start {
        private let body: () -> Void

        init(_ body: @escaping () -> Void) {
            self.body = body
        }

        static func run(_ argument: UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? {
            guard let argument else { return nil }
            Unmanaged<Start>.fromOpaque(argument).takeRetainedValue().body()
            return nil
        }
    }

    // MARK: The loop

    private func run() -> Never {
        let events = UnsafeMutablePointer<epoll_event>.allocate(capacity: Self.eventsAtOnce)
        while true {
            let count = epoll_wait(self.poll, events, Int32(Self.eventsAtOnce), self.patience())
            // Nothing will come to be sent together with what one event brings.
            self.sends.isGathering = count > 1
            for index in 0..<max(0, Int(count)) {
                guard let pointer = events[index].data.ptr else {
                    self.takeMail()
                    continue
                }
                self.eventTime = .now()
                self.sends.sendIfDue(self.eventTime)
                Unmanaged<Watched>.fromOpaque(pointer).takeUnretainedValue().happened(events[index].events)
            }
            self.sends.isGathering = true
            self.runTimers()
            self.runJobs()
            self.finish()
            for gathering in self.gatherings { gathering.flush() }
            self.sends.send()
            if !self.forgotten.isEmpty { self.forgotten.removeAll(keepingCapacity: true) }
        }
    }

    /// Milliseconds to wait: until the next timer, without end, or not at all.
    private func patience() -> Int32 {
        if !self.jobs.isEmpty || !self.unfinished.isEmpty { return 0 }
        guard let next = self.appointments.min else { return -1 }
        let left = (next.deadline - .now()).nanoseconds
        return left <= 0 ? 0 : Int32(clamping: (left + 999_999) / 1_000_000)
    }

    private func takeMail() {
        var count: UInt64 = 0
        _ = read(self.wakeup, &count, 8)
        let jobs = self.mailbox.withLock { mailbox in
            mailbox.isWoken = false
            let jobs = mailbox.jobs
            mailbox.jobs = []
            return jobs
        }
        if self.jobs.isEmpty { self.jobs = jobs } else { self.jobs += jobs }
    }

    private func runTimers() {
        guard let first = self.appointments.min else { return }
        self.eventTime = .now()
        guard first.deadline <= self.eventTime else { return }
        let now = self.eventTime
        while let next = self.appointments.min, next.deadline <= now {
            let timer = self.appointments.removeMin().timer
            timer.task.take()?()
        }
    }

    /// What jobs add comes in the next turn, so that sockets have theirs.
    private func runJobs() {
        guard !self.jobs.isEmpty else { return }
        let jobs = self.jobs
        self.jobs = []
        self.eventTime = .now()
        for job in jobs { job() }
    }

    private func finish() {
        guard !self.unfinished.isEmpty else { return }
        let owners = self.unfinished
        self.unfinished = []
        for owner in owners { owner.goOn() }
    }

    // MARK: Descriptors

    /// Begins to watch a descriptor; its owner is held until it is forgotten.
    ///
    /// - Parameter events: What to tell of, as epoll(7) has it.
    /// - Returns: Whether the system has room for it.
    func watch(_ descriptor: Int32, for owner: Watched, _ events: UInt32) -> Bool {
        let retained = Unmanaged.passRetained(owner)
        var event = epoll_event(events: events, data: epoll_data_t(ptr: retained.toOpaque()))
        guard epoll_ctl(self.poll, EPOLL_CTL_ADD, descriptor, &event) == 0 else {
            retained.release()
            return false
        }
        return true
    }

    /// Stops watching a descriptor, which its owner closes.
    func forget(_ descriptor: Int32, of owner: Watched) {
        _ = epoll_ctl(self.poll, EPOLL_CTL_DEL, descriptor, nil)
        self.forgotten.append(owner)
        Unmanaged.passUnretained(owner).release()
    }

    /// Has the owner of a descriptor go on at the end of this turn, or of the next.
    func continueLater(_ owner: Watched) {
        self.unfinished.append(owner)
    }

    enum Received {
        /// Without bytes when they were read into other memory. More may be there when the read was filled.
        case bytes(ByteBuffer?, mayBeMore: Bool)
        /// The other side has ended its direction.
        case end
        case notYet
        case failed(Int32)

        /// - Parameter count: As `fill` returns it, when nothing came.
        init(nothing count: Int) {
            switch count {
            case 0: self = .end
            case -Int(EAGAIN): self = .notYet
            default: self = .failed(Int32(-count))
            }
        }
    }

    /// Reads what has come to a socket, as much as one read takes.
    ///
    /// - Parameter copies: Whether a small read gets memory of its own, for who keeps parts of it.
    func receive(from descriptor: Int32, atMost limit: Int, copies: Bool) -> Received {
        // Whoever kept what was read before has it for itself: this makes another buffer then.
        self.readBuffer.clear()
        var count = 0
        self.readBuffer.writeWithUnsafeMutableBytes(minimumWritableBytes: Self.readSize) { space in
            count = Self.fill(UnsafeMutableRawBufferPointer(rebasing: space[..<limit]), from: descriptor)
            return max(0, count)
        }
        switch count {
        case 1...Self.smallRead where copies:
            var bytes = ByteBufferAllocator().buffer(capacity: count)
            bytes.writeWithUnsafeMutableBytes(minimumWritableBytes: count) { space in
                self.readBuffer.withUnsafeReadableBytes { space.copyMemory(from: $0) }
                return count
            }
            return .bytes(bytes, mayBeMore: count == limit)
        case 1...: return .bytes(self.readBuffer, mayBeMore: count == limit)
        default: return Received(nothing: count)
        }
    }

    /// - Returns: How many bytes came; 0 at the end; or a negative error of the system's.
    static func fill(_ memory: UnsafeMutableRawBufferPointer, from descriptor: Int32) -> Int {
        while true {
            let count = recv(descriptor, memory.baseAddress, memory.count, 0)
            if count >= 0 { return count }
            if errno != EINTR { return -Int(errno) }
        }
    }

    // MARK: EventLoop

    package var inEventLoop: Bool { pthread_equal(self.thread, pthread_self()) != 0 }

    package func execute(_ task: @escaping @Sendable () -> Void) {
        if self.inEventLoop {
            self.jobs.append(task)
            return
        }
        let mustWake = self.mailbox.withLock { mailbox in
            mailbox.jobs.append(task)
            defer { mailbox.isWoken = true }
            return !mailbox.isWoken
        }
        if mustWake {
            var one: UInt64 = 1
            _ = write(self.wakeup, &one, 8)
        }
    }

    @preconcurrency
    package func scheduleTask<T>(deadline: NIODeadline, _ task: @escaping @Sendable () throws -> T) -> Scheduled<T> {
        let promise = self.makePromise(of: T.self)
        let timer = Timer {
            do {
                promise.assumeIsolated().succeed(try task())
            } catch {
                promise.fail(error)
            }
        }
        let keeper = Keeper(timer, self)
        if self.inEventLoop {
            self.keep(timer, until: deadline)
        } else {
            self.execute { keeper.loop.keep(keeper.timer, until: deadline) }
        }
        return Scheduled(promise: promise) {
            if keeper.loop.inEventLoop {
                keeper.timer.task = nil
            } else {
                keeper.loop.execute { keeper.timer.task = nil }
            }
        }
    }

    package func scheduleTask<T>(in amount: TimeAmount, _ task: @escaping @Sendable () throws -> T) -> Scheduled<T> {
        self.scheduleTask(deadline: .now() + amount, task)
    }

    /// A timer on its way to its loop, where alone it is touched.
    private struct Keeper: @unchecked Sendable {
        let timer: Timer
        let loop: PollLoop

        init(_ timer: Timer, _ loop: PollLoop) {
            self.timer = timer
            self.loop = loop
        }
    }

    private func keep(_ timer: Timer, until deadline: NIODeadline) {
        guard timer.task != nil else { return }
        self.appointmentNumber += 1
        self.appointments.insert(Appointment(deadline: deadline, number: self.appointmentNumber, timer: timer))
    }

    package func next() -> any EventLoop { self }

    package func any() -> any EventLoop { self }

    package func makeIterator() -> EventLoopIterator { EventLoopIterator([self]) }

    /// The relay's loops run as long as their process.
    package func shutdownGracefully(queue: DispatchQueue, _ callback: @escaping @Sendable ((any Error)?) -> Void) {
        queue.async { callback(EventLoopError.unsupportedOperation) }
    }

    package func preconditionInEventLoop(file: StaticString, line: UInt) {
        precondition(self.inEventLoop, file: file, line: line)
    }

    package func preconditionNotInEventLoop(file: StaticString, line: UInt) {
        precondition(!self.inEventLoop, file: file, line: line)
    }
}

/// The owner of a descriptor that a loop watches. All calls come on the loop.
class Watched {
    /// Something happened there, as epoll(7) tells it.
    func happened(_ events: UInt32) {}

    /// Called after `continueLater`.
    func goOn() {}
}

/// What epoll(7) tells, and is asked for.
extension UInt32 {
    static let readable = linux_readable
    static let writable = linux_writable
    static let hungUp = linux_hung_up
    static let edgeTriggered = linux_edge_triggered
}

/// The relay's loops, one for each core that the process may use.
package final class PollLoops: Sendable {
    package static let shared = PollLoops(count: System.coreCount)

    package let all: [PollLoop]

    package init(count: Int) {
        self.all = (0..<count).map { PollLoop(name: "relay-\($0)") }
    }
}
