// SPDX-License-Identifier: Apache-2.0

internal import GatewayCore
internal import Glibc
internal import NIOCore

/// Connects to the first of several addresses that answers, in the manner of Happy Eyeballs: the families take turns, and
/// the next address is tried when one has failed, or has not answered for a while (RFC 8305 §4 and §5).
final class Connector {
    /// RFC 8305 §5, "Connection Attempt Delay".
    private static let attemptDelay = TimeAmount.milliseconds(250)

    /// A connection on its way.
    private final class Attempt: Watched {
        let descriptor: Int32
        private unowned let connector: Connector

        init(_ descriptor: Int32, _ connector: Connector) {
            self.descriptor = descriptor
            self.connector = connector
        }

        override func happened(_ events: UInt32) {
            var code: Int32 = 0
            var size = socklen_t(MemoryLayout<Int32>.size)
            getsockopt(self.descriptor, SOL_SOCKET, SO_ERROR, &code, &size)
            if code == 0, events & .writable == 0 { return }
            self.connector.ended(self, code)
        }
    }

    private let loop: PollLoop
    private var left: ArraySlice<SocketAddress>
    private var attempts: [Attempt] = []
    private var error = UpstreamConnectError.timeout
    private var delay: Scheduled<Void>?
    private var limit: Scheduled<Void>?
    private var done: ((Result<Int32, UpstreamConnectError>) -> Void)?
    /// Itself, until it is through.
    private var keeper: Connector?

    private init(
        _ addresses: [SocketAddress], _ loop: PollLoop,
        _ done: @escaping (Result<Int32, UpstreamConnectError>) -> Void,
    ) {
        self.loop = loop
        self.left = Self.interleaved(addresses)[...]
        self.done = done
    }

    /// - Parameter done: Gets the descriptor of the connection, and owns it; called on the loop, perhaps at once.
    static func connect(
        to addresses: [SocketAddress], by deadline: NIODeadline, on loop: PollLoop,
        _ done: @escaping (Result<Int32, UpstreamConnectError>) -> Void,
    ) {
        let connector = Connector(addresses, loop, done)
        connector.keeper = connector
        let bound = NIOLoopBound(connector, eventLoop: loop)
        connector.limit = loop.scheduleTask(deadline: deadline) {
            let connector = bound.value
            if connector.done != nil { connector.finish(.failure(.timeout)) }
        }
        connector.tryNext()
    }

    /// IPv6 first, then one of each family in turn (RFC 8305 §4).
    static func interleaved(_ addresses: [SocketAddress]) -> [SocketAddress] {
        let first = addresses.filter { $0.protocol == .inet6 }
        let second = addresses.filter { $0.protocol != .inet6 }
        var all: [SocketAddress] = []
        for index in 0..<max(first.count, second.count) {
            if index < first.count { all.append(first[index]) }
            if index < second.count { all.append(second[index]) }
        }
        return all
    }

    private func tryNext() {
        self.delay?.cancel()
        self.delay = nil
        while self.done != nil, let address = self.left.popFirst() {
            do throws(SocketError) {
                if try self.begin(address) { break }
            } catch {
                self.error = .failed(error.description)
            }
        }
        guard self.done != nil else { return }
        if self.attempts.isEmpty {
            self.finish(.failure(self.error))
        } else if !self.left.isEmpty {
            let bound = NIOLoopBound(self, eventLoop: self.loop)
            self.delay = self.loop.scheduleTask(in: Self.attemptDelay) { bound.value.tryNext() }
        }
    }

    /// - Returns: Whether the attempt goes on, or is through already.
    private func begin(_ address: SocketAddress) throws(SocketError) -> Bool {
        let descriptor = try Int32.newSocket(address.protocol == .inet6 ? AF_INET6 : AF_INET)
        descriptor.setConnectionOptions()
        let result = address.withSockAddr { address, size in
            Glibc.connect(descriptor, address, socklen_t(size)) == 0 ? 0 : errno
        }
        if result == 0 {
            self.finish(.success(descriptor))
            return true
        }
        let attempt = Attempt(descriptor, self)
        guard result == EINPROGRESS, self.loop.watch(descriptor, for: attempt, .writable | .edgeTriggered) else {
            Glibc.close(descriptor)
            throw SocketError(code: result == EINPROGRESS ? errno : result)
        }
        self.attempts.append(attempt)
        return true
    }

    private func ended(_ attempt: Attempt, _ code: Int32) {
        guard let index = self.attempts.firstIndex(where: { $0 === attempt }) else { return }
        self.attempts.remove(at: index)
        self.loop.forget(attempt.descriptor, of: attempt)
        if code == 0 {
            self.finish(.success(attempt.descriptor))
        } else {
            Glibc.close(attempt.descriptor)
            self.error = .failed(SocketError(code: code).description)
            self.tryNext()
        }
    }

    private func finish(_ result: Result<Int32, UpstreamConnectError>) {
        let done = self.done
        self.done = nil
        self.left = []
        self.limit?.cancel()
        self.delay?.cancel()
        for attempt in self.attempts {
            self.loop.forget(attempt.descriptor, of: attempt)
            Glibc.close(attempt.descriptor)
        }
        self.attempts = []
        self.keeper = nil
        done?(result)
    }
}
