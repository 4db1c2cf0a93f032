// SPDX-License-Identifier: Apache-2.0

import Foundation
import NIOCore
import Synchronization
import TestSupport
import Testing

@testable import GatewayRelay

@Suite("The relay's own loops")
struct PollLoopTests {
    private let loop = PollLoops.shared.all[0]

    @Test("run what other threads have for them once, in the order of each")
    func jobs() async throws {
        let seen = Mutex<[Int: [Int]]>([:])
        let loop = self.loop
        try await offPool {
            DispatchQueue.concurrentPerform(iterations: 4) { thread in
                for number in 0..<500 {
                    loop.execute { seen.withLock { $0[thread, default: []].append(number) } }
                }
            }
        }
        try await self.loop.submit {}.get()
        #expect(seen.withLock { $0 } == Dictionary(uniqueKeysWithValues: (0..<4).map { ($0, Array(0..<500)) }))
    }

    @Test("keep appointments in their order, and none that was cancelled")
    func timers() async throws {
        let seen = Mutex<[Int]>([])
        let start = NIODeadline.now()
        let last = self.loop.scheduleTask(deadline: start + .milliseconds(60)) { seen.withLock { $0.append(3) } }
        let cancelled = self.loop.scheduleTask(deadline: start + .milliseconds(30)) { seen.withLock { $0.append(0) } }
        cancelled.cancel()
        try await self.loop.submit {
            let own = self.loop.scheduleTask(in: .milliseconds(10)) { seen.withLock { $0.append(9) } }
            _ = self.loop.scheduleTask(deadline: start + .milliseconds(40)) { seen.withLock { $0.append(2) } }
            _ = self.loop.scheduleTask(deadline: start + .milliseconds(20)) { seen.withLock { $0.append(1) } }
            own.cancel()
        }.get()
        try await last.futureResult.get()
        #expect(NIODeadline.now() - start >= .milliseconds(60))
        #expect(seen.withLock { $0 } == [1, 2, 3])
        await #expect(throws: EventLoopError.self) { try await cancelled.futureResult.get() }
    }
}

@Suite("Sockets of the relay")
struct SocketTests {
    private static let loop = PollLoops.shared.all[0]

    /// Sends back what comes, stops reading while too much waits, and says what it saw.
    private final class Echo: SocketUser {
        let socket: Socket
        let onClose: (SocketError?) -> Void

        init(_ socket: Socket, onClose: @escaping (SocketError?) -> Void = { _ in }) {
            self.socket = socket
            self.onClose = onClose
        }

        func socketReceived(_ bytes: ByteBuffer) {
            self.socket.write(bytes)
        }

        func socketPaused() {
            self.socket.flush()
        }

        func socketWritabilityChanged() {
            self.socket.setReading(self.socket.isWritable)
        }

        func socketClosed(_ error: SocketError?) {
            self.onClose(error)
        }
    }

    private func pair() throws -> (ours: Int32, theirs: Int32) {
        var descriptors: [Int32] = [0, 0]
        guard socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0, &descriptors) == 0 else { throw POSIXError(.EMFILE) }
        _ = fcntl(descriptors[0], F_SETFL, O_NONBLOCK)
        return (descriptors[0], descriptors[1])
    }

    @Test("pass every byte in order however slowly the other side takes them")
    func backpressure() async throws {
        let (ours, theirs) = try self.pair()
        let mostPending = Mutex(0)
        try await Self.loop.submit {
            let socket = Socket(ours, loop: Self.loop)
            #expect(socket.start(Echo(socket)))
            let bound = NIOLoopBound(socket, eventLoop: Self.loop)
            _ = Self.loop.scheduleRepeatedTask(initialDelay: .zero, delay: .milliseconds(1)) { task in
                if bound.value.isOpen {
                    mostPending.withLock { $0 = max($0, bound.value.pendingBytes) }
                } else {
                    task.cancel()
                }
            }
        }.get()
        let sent = (0..<3_000_000).map { UInt8(truncatingIfNeeded: $0 &* 31 &+ $0 >> 8) }
        let received = try await offPool {
            let writer = Thread {
                var at = 0
                while at < sent.count {
                    let count = sent.withUnsafeBytes {
                        write(theirs, $0.baseAddress! + at, min(50_000, sent.count - at))
                    }
                    guard count > 0 else { return }
                    at += count
                }
            }
            writer.start()
            var received: [UInt8] = []
            var buffer = [UInt8](repeating: 0, count: 100_000)
            while received.count < sent.count {
                // Now and then so slow that the other direction fills.
                if received.count % 5 == 0 { usleep(2000) }
                let count = read(theirs, &buffer, buffer.count)
                guard count > 0 else { break }
                received += buffer[..<count]
            }
            close(theirs)
            return received
        }
        #expect(received == sent)
        #expect(mostPending.withLock { $0 } < 1 << 20)
    }

    @Test("tell when what was written has left, and when it never will")
    func marks() async throws {
        let (ours, theirs) = try self.pair()
        let seen = Mutex<[Bool]>([])
        let closed = Self.loop.makePromise(of: Bool.self)
        let socket = try await Self.loop.submit {
            let socket = Socket(ours, loop: Self.loop)
            #expect(socket.start(Echo(socket) { closed.succeed($0 != nil) }))
            socket.whenSent { isSent in seen.withLock { $0.append(isSent) } }
            socket.writeAndFlush(ByteBuffer(repeating: 1, count: 4_000_000))
            #expect(!socket.isWritable)
            socket.whenSent { isSent in seen.withLock { $0.append(isSent) } }
            return NIOLoopBound(socket, eventLoop: Self.loop)
        }.get()
        #expect(seen.withLock { $0 } == [true])
        close(theirs)
        _ = try await closed.futureResult.get()
        #expect(seen.withLock { $0 } == [true, false])
        try await Self.loop.submit {
            #expect(!socket.value.isOpen)
            // Late words are lost and harm nobody.
            socket.value.writeAndFlush(ByteBuffer(string: "late"))
            socket.value.close()
        }.get()
    }

    @Test("read what came before the other side broke off")
    func readsBeforeTheEnd() async throws {
        let (ours, theirs) = try self.pair()
        let closed = Self.loop.makePromise(of: Void.self)
        final class Listener: SocketUser {
            var received = 0
            let onClose: (Int) -> Void

            init(_ onClose: @escaping (Int) -> Void) {
                self.onClose = onClose
            }

            func socketReceived(_ bytes: ByteBuffer) { self.received += bytes.readableBytes }
            func socketPaused() {}
            func socketWritabilityChanged() {}
            func socketClosed(_ error: SocketError?) { self.onClose(self.received) }
        }
        let total = Mutex(0)
        let bytes = [UInt8](repeating: 7, count: 90_000)
        #expect(bytes.withUnsafeBytes { write(theirs, $0.baseAddress!, $0.count) } == bytes.count)
        close(theirs)
        try await Self.loop.submit {
            let socket = Socket(ours, loop: Self.loop)
            let listener = Listener { count in
                total.withLock { $0 = count }
                closed.succeed()
            }
            #expect(socket.start(listener))
            // The other side is gone; what it said is not.
            socket.writeAndFlush(ByteBuffer(string: "hello"))
        }.get()
        try await closed.futureResult.get()
        #expect(total.withLock { $0 } == bytes.count)
    }
}

@Suite("What the sockets of a loop send together")
struct SendBatchTests {
    /// One that gathers, and one on a system that cannot.
    private static let loops = [PollLoop(name: "gathers"), PollLoop(name: "alone", gathersSends: false)]

    private final class Listener: SocketUser {
        var received = ByteBuffer()
        var onClose: (Listener) -> Void = { _ in }

        func socketReceived(_ bytes: ByteBuffer) { self.received.writeImmutableBuffer(bytes) }
        func socketPaused() {}
        func socketWritabilityChanged() {}
        func socketClosed(_ error: SocketError?) { self.onClose(self) }
    }

    /// Connected sockets on a loop, and the descriptors of their other sides. Confined to the loop.
    private final class Pairs: @unchecked Sendable {
        let theirs: [Int32]
        private let ours: [Int32]
        private(set) var sockets: [Socket] = []
        private(set) var listeners: [Listener] = []

        init(_ count: Int) throws {
            let pairs = try (0..<count).map { _ in
                var descriptors: [Int32] = [0, 0]
                guard socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0, &descriptors) == 0 else {
                    throw POSIXError(.EMFILE)
                }
                for descriptor in descriptors { _ = fcntl(descriptor, F_SETFL, O_NONBLOCK) }
                return descriptors
            }
            self.ours = pairs.map { $0[0] }
            self.theirs = pairs.map { $0[1] }
        }

        deinit {
            for descriptor in self.theirs { close(descriptor) }
        }

        func open(on loop: PollLoop) {
            for descriptor in self.ours {
                let (socket, listener) = (Socket(descriptor, loop: loop), Listener())
                #expect(socket.start(listener))
                self.sockets.append(socket)
                self.listeners.append(listener)
            }
        }

        /// Fills what the system holds for our side, as far as it takes anything.
        func fill(_ index: Int) -> Int {
            let zeros = [UInt8](repeating: 0, count: 100_000)
            var total = 0
            for size in [100_000, 1000, 1] {
                while true {
                    let count = write(self.ours[index], zeros, size)
                    guard count > 0 else { break }
                    total += count
                }
            }
            return total
        }

        /// What has come to the other side; `isAtEnd` when it has been closed.
        func take(_ index: Int) -> (text: String, isAtEnd: Bool) {
            var bytes: [UInt8] = []
            var buffer = [UInt8](repeating: 0, count: 100_000)
            while true {
                let count = read(self.theirs[index], &buffer, buffer.count)
                guard count > 0 else { return (String(decoding: bytes, as: UTF8.self), count == 0) }
                bytes += buffer[..<count]
            }
        }
    }

    /// A turn of the loop, and what comes after it.
    private func turn(_ loop: PollLoop, _ body: @escaping @Sendable () -> Void) async throws {
        try await loop.submit(body).get()
        try await loop.submit {}.get()
    }

    @Test("is gathered until the turn's end, however many they are", arguments: Self.loops)
    func together(_ loop: PollLoop) async throws {
        let pairs = try Pairs(150)
        try await self.turn(loop) {
            pairs.open(on: loop)
            for (index, socket) in pairs.sockets.enumerated() {
                socket.writeAndFlush(ByteBuffer(string: "hello \(index)"))
            }
            let waiting = pairs.sockets.filter { $0.pendingBytes > 0 }.count
            #expect(waiting == (loop.sends.isAvailable ? 150 % SendBatch.limit : 0))
        }
        #expect((0..<150).map { pairs.take($0).text } == (0..<150).map { "hello \($0)" })
        try await self.turn(loop) {
            #expect(pairs.sockets.allSatisfy { $0.pendingBytes == 0 && $0.isWritable })
            for socket in pairs.sockets { socket.close() }
        }
        #expect((0..<150).allSatisfy { pairs.take($0) == ("", true) })
    }

    @Test("keeps each socket's order, whatever is written in between", arguments: Self.loops)
    func order(_ loop: PollLoop) async throws {
        let pairs = try Pairs(3)
        let pieces = (0..<400).map { String(repeating: String($0 % 10), count: [7, 9000, 120, 40_000, 1][$0 % 5]) }
        let taken = Mutex(["", "", ""])
        try await loop.submit { pairs.open(on: loop) }.get()
        for chunk in 0..<40 {
            try await self.turn(loop) {
                for piece in pieces[(chunk * 10)..<(chunk * 10 + 10)] {
                    for (index, socket) in pairs.sockets.enumerated() {
                        switch (piece.utf8.count + index) % 3 {
                        case 0: socket.writeAndFlush(ByteBuffer(string: piece))
                        case 1: Array(piece.utf8).withUnsafeBytes { socket.writeAndFlush($0) }
                        default:
                            socket.write(ByteBuffer(string: piece))
                            socket.flush()
                        }
                    }
                }
            }
            for index in 0..<3 where (chunk + index) % 3 == 0 {
                taken.withLock { $0[index] += pairs.take(index).text }
            }
        }
        let all = pieces.joined()
        let isWhole = await eventually {
            for index in 0..<3 { taken.withLock { $0[index] += pairs.take(index).text } }
            return taken.withLock { $0.allSatisfy { $0.utf8.count >= all.utf8.count } }
        }
        #expect(isWhole)
        #expect(taken.withLock { $0 } == [all, all, all])
        try await self.turn(loop) { for socket in pairs.sockets { socket.close() } }
    }

    @Test("leaves before the end of its connection", arguments: Self.loops)
    func endings(_ loop: PollLoop) async throws {
        let pairs = try Pairs(4)
        let marks = Mutex<[Bool]>([])
        try await self.turn(loop) {
            pairs.open(on: loop)
            for socket in pairs.sockets {
                socket.writeAndFlush(ByteBuffer(string: "last words"))
                socket.whenSent { isSent in marks.withLock { $0.append(isSent) } }
            }
            pairs.sockets[0].close()
            pairs.sockets[1].closeOutput()
            // The third is closed when the fourth hears that it has sent.
            pairs.sockets[3].writeAndFlush(ByteBuffer(string: "!"))
            pairs.sockets[3].whenSent { _ in pairs.sockets[2].close() }
        }
        #expect(pairs.take(0) == ("last words", true))
        #expect(pairs.take(1) == ("last words", true))
        #expect(pairs.take(2) == ("last words", true))
        #expect(pairs.take(3) == ("last words!", false))
        #expect(marks.withLock { $0 } == [true, true, true, true])
        try await self.turn(loop) { for socket in pairs.sockets { socket.close() } }
    }

    @Test("waits for those who take no more, and ends those who are gone", arguments: Self.loops)
    func refused(_ loop: PollLoop) async throws {
        let pairs = try Pairs(3)
        let filled = pairs.fill(0)
        #expect(write(pairs.theirs[1], "farewell", 8) == 8)
        // The other side of the second is gone; its descriptor stays one to be closed.
        #expect(dup2(pairs.theirs[2], pairs.theirs[1]) >= 0)
        let farewell = loop.makePromise(of: String.self)
        try await self.turn(loop) {
            pairs.open(on: loop)
            pairs.listeners[1].onClose = { farewell.succeed(String(buffer: $0.received)) }
            for socket in pairs.sockets { socket.writeAndFlush(ByteBuffer(string: "first")) }
            for socket in pairs.sockets { socket.write(ByteBuffer(string: ", second")) }
            for socket in pairs.sockets { socket.flush() }
        }
        #expect(try await farewell.futureResult.get() == "farewell")
        try await loop.submit {
            #expect(pairs.sockets.map(\.isOpen) == [true, false, true])
            #expect(pairs.sockets[0].pendingBytes == 13)
        }.get()
        var late = pairs.take(0).text
        let isWhole = await eventually {
            late += pairs.take(0).text
            return late.utf8.count >= filled + 13
        }
        #expect(isWhole)
        #expect(late.dropFirst(filled) == "first, second")
        try await self.turn(loop) { for socket in pairs.sockets { socket.close() } }
    }
}

@Suite("Connecting to upstreams")
struct ConnectorTests {
    private static let loop = PollLoops.shared.all[0]

    private func connect(_ addresses: [SocketAddress]) async -> Result<Int32, UpstreamConnectError> {
        await withCheckedContinuation { continuation in
            Self.loop.execute {
                Connector.connect(to: addresses, by: .now() + .seconds(5), on: Self.loop) {
                    continuation.resume(returning: $0)
                }
            }
        }
    }

    @Test("takes the first address that answers, and says why when none does")
    func addresses() async throws {
        let server = try await ScriptedServer { _ in [.answer(200, "{}")] }
        let port = try #require(URL(string: server.url)?.port)
        let good = try SocketAddress(ipAddress: "127.0.0.1", port: port)
        let bad = try SocketAddress(ipAddress: "127.0.0.1", port: try FreePort.take())
        for list in [[good], [bad, good], [bad, bad, good], [good, bad]] {
            close(try await self.connect(list).get())
        }
        guard case .failure(let error) = await self.connect([bad, bad]) else {
            Issue.record("nobody listens there")
            return
        }
        #expect(error.description.contains("refused"))
        await server.stop()
    }

    @Test("lets the families take turns")
    func interleaves() throws {
        let v4 = try (1...3).map { try SocketAddress(ipAddress: "127.0.0.\($0)", port: 1) }
        let v6 = try (1...2).map { try SocketAddress(ipAddress: "::\($0)", port: 1) }
        #expect(Connector.interleaved(v4 + v6) == [v6[0], v4[0], v6[1], v4[1], v4[2]])
        #expect(Connector.interleaved(v4) == v4)
        #expect(Connector.interleaved([]) == [])
    }
}
