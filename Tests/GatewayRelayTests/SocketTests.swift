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
