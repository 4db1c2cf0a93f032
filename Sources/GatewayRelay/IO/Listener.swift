// SPDX-License-Identifier: Apache-2.0

internal import CLinuxIO
internal import Glibc
internal import NIOCore

/// A listening socket. It accepts on one loop, and hands out to all in turn.
final class Listener: Watched {
    private static let backlog: Int32 = 4096
    /// So many connections are accepted before other sockets have their turn.
    private static let acceptsAtOnce = 64
    /// How long to wait when the process or the system has no descriptor left.
    private static let shortage = TimeAmount.milliseconds(100)

    private let loop: PollLoop
    private var descriptor: Int32
    /// Whether it waits for descriptors to be given back.
    private var isResting = false
    private let accepted: (_ descriptor: Int32) -> Void

    /// - Parameter accepted: Owns the connection's descriptor from then on.
    /// - Throws: ``SocketError`` when the address cannot be bound.
    init(_ address: SocketAddress, loop: PollLoop, _ accepted: @escaping (_ descriptor: Int32) -> Void)
        throws(SocketError)
    {
        self.loop = loop
        self.accepted = accepted
        let family = address.protocol == .inet6 ? AF_INET6 : AF_INET
        self.descriptor = try .newSocket(family)
        super.init()
        let one: Int32 = 1
        self.descriptor.set(SOL_SOCKET, SO_REUSEADDR, one)
        let isBound = address.withSockAddr { address, size in
            bind(self.descriptor, address, socklen_t(size)) == 0 && listen(self.descriptor, Self.backlog) == 0
        }
        guard isBound else {
            let code = errno
            Glibc.close(self.descriptor)
            throw SocketError(code: code)
        }
    }

    /// The port, which the system has chosen when that of the address was 0.
    var port: Int? {
        var storage = sockaddr_storage()
        var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
        return withUnsafeMutablePointer(to: &storage) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { address in
                getsockname(self.descriptor, address, &length) == 0 ? SocketAddress(copying: address)?.port : nil
            }
        }
    }

    /// Begins to accept.
    func start() throws(SocketError) {
        // Not edge-triggered: what one turn leaves is told again.
        guard self.loop.watch(self.descriptor, for: self, .readable) else { throw SocketError(code: errno) }
    }

    func close() {
        guard self.descriptor >= 0 else { return }
        if !self.isResting { self.loop.forget(self.descriptor, of: self) }
        Glibc.close(self.descriptor)
        self.descriptor = -1
    }

    override func happened(_ events: UInt32) {
        for _ in 0..<Self.acceptsAtOnce where self.descriptor >= 0 {
            let connection = linux_accept(
                self.descriptor, Int32(SOCK_NONBLOCK.rawValue | SOCK_CLOEXEC.rawValue))
            if connection >= 0 {
                self.accepted(connection)
                continue
            }
            switch errno {
            case EAGAIN: return
            case EMFILE, ENFILE, ENOBUFS, ENOMEM:
                self.rest()
                return
            // A connection that has broken meanwhile (accept(2)).
            default: continue
            }
        }
    }

    /// Without descriptors the same event would come again and again.
    private func rest() {
        self.isResting = true
        self.loop.forget(self.descriptor, of: self)
        let bound = NIOLoopBound(self, eventLoop: self.loop)
        _ = self.loop.scheduleTask(in: Self.shortage) {
            let listener = bound.value
            guard listener.descriptor >= 0 else { return }
            listener.isResting = false
            if !listener.loop.watch(listener.descriptor, for: listener, .readable) { listener.rest() }
        }
    }
}

extension Int32 {
    /// A TCP socket that does not block.
    static func newSocket(_ family: Int32) throws(SocketError) -> Int32 {
        let kind = Int32(SOCK_STREAM.rawValue | SOCK_NONBLOCK.rawValue | SOCK_CLOEXEC.rawValue)
        let descriptor = socket(family, kind, 0)
        guard descriptor >= 0 else { throw SocketError(code: errno) }
        return descriptor
    }

    /// What every connection has: nothing waits for more to be written, and a peer that is gone is noticed at last.
    func setConnectionOptions() {
        self.set(Int32(IPPROTO_TCP), TCP_NODELAY, 1)
        self.set(SOL_SOCKET, SO_KEEPALIVE, 1)
    }

    func set(_ level: Int32, _ option: Int32, _ value: Int32) {
        var value = value
        _ = setsockopt(self, level, option, &value, socklen_t(MemoryLayout<Int32>.size))
    }
}
