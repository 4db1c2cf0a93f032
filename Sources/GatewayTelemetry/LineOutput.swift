// SPDX-License-Identifier: Apache-2.0

internal import Foundation
internal import GatewayCore

#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Musl)
    internal import Musl
#else
    internal import Darwin
#endif

/// Where a `LineWriter` puts its lines: whole ones, and never two calls at once. Called from its one thread, except for
/// what is taken at once.
package protocol LineOutput: Sendable {
    func put(_ lines: [UInt8])
    /// Whether so many bytes can be put now without waiting for whoever reads them.
    func takesAtOnce(_ count: Int) -> Bool
}

extension LineOutput {
    package func takesAtOnce(_ count: Int) -> Bool { false }
}

/// A file descriptor that stays open, such as standard error.
struct DescriptorOutput: LineOutput {
    /// A pipe that is writable takes so many bytes (POSIX, `PIPE_BUF`; Linux has 4096).
    private static let pipeBuffer = 4096

    let descriptor: Int32
    private let isFile: Bool
    private let isPipe: Bool

    init(descriptor: Int32) {
        self.descriptor = descriptor
        var status = stat()
        let kind = fstat(descriptor, &status) == 0 ? status.st_mode & S_IFMT : 0
        self.isFile = kind == S_IFREG
        self.isPipe = kind == S_IFIFO
    }

    func takesAtOnce(_ count: Int) -> Bool {
        if self.isFile { return true }
        guard self.isPipe, count <= Self.pipeBuffer else { return false }
        var poll = pollfd(fd: self.descriptor, events: Int16(POLLOUT), revents: 0)
        return Foundation.poll(&poll, 1, 0) == 1 && poll.revents & Int16(POLLOUT) != 0
    }

    func put(_ lines: [UInt8]) {
        _ = Self.write(lines, to: self.descriptor)
    }

    /// - Returns: Whether everything was written.
    static func write(_ bytes: [UInt8], to descriptor: Int32) -> Bool {
        var rest = bytes[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes { Foundation.write(descriptor, $0.baseAddress!, $0.count) }
            if count < 0 {
                if errno == EINTR { continue }
                if errno == EAGAIN {
                    usleep(1000)
                    continue
                }
                return false
            }
            rest = rest.dropFirst(count)
        }
        return true
    }
}

/// A file that is renamed when it is full: `audit.jsonl`, `audit.jsonl.1`, … A file that somebody else has moved away
/// (logrotate) is made anew.
final class RotatingFile: LineOutput, @unchecked Sendable {
    private let path: String
    private let maximumBytes: Int
    private let keep: Int
    /// Told when writing fails, once until it works again.
    private let onFailure: @Sendable (String) -> Void
    // Only the writer's thread comes here.
    private var descriptor: Int32 = -1
    private var size = 0
    private var inode: ino_t = 0
    private var lookedAt = ContinuousClock.now
    private var hasFailed = false

    init(path: String, maximumBytes: Int, keep: Int, onFailure: @escaping @Sendable (String) -> Void) {
        self.path = path
        self.maximumBytes = maximumBytes
        self.keep = keep
        self.onFailure = onFailure
    }

    deinit {
        if self.descriptor >= 0 { close(self.descriptor) }
    }

    /// Opens the file, so that a wrong path is known at once.
    func open() -> String? {
        self.descriptor = Foundation.open(self.path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0o600)
        var status = stat()
        guard self.descriptor >= 0, fstat(self.descriptor, &status) == 0 else {
            return String(cString: strerror(errno))
        }
        self.size = Int(status.st_size)
        self.inode = status.st_ino
        return nil
    }

    func put(_ lines: [UInt8]) {
        self.notice()
        if self.size > 0, self.size + lines.count > self.maximumBytes { self.rotate() }
        if self.descriptor < 0, let reason = self.open() {
            self.fail(reason)
            return
        }
        if DescriptorOutput.write(lines, to: self.descriptor) {
            self.size += lines.count
            self.hasFailed = false
        } else {
            self.fail(String(cString: strerror(errno)))
        }
    }

    private func fail(_ reason: String) {
        if !self.hasFailed { self.onFailure(reason) }
        self.hasFailed = true
    }

    /// Looks, at most once a second, whether the path is still this file's.
    private func notice() {
        let now = ContinuousClock.now
        guard self.descriptor >= 0, now - self.lookedAt > .seconds(1) else { return }
        self.lookedAt = now
        var status = stat()
        if stat(self.path, &status) != 0 || status.st_ino != self.inode { self.release() }
    }

    private func release() {
        if self.descriptor >= 0 { close(self.descriptor) }
        self.descriptor = -1
        self.size = 0
    }

    private func rotate() {
        self.release()
        if self.keep == 0 { unlink(self.path) }
        for number in stride(from: self.keep, to: 0, by: -1) {
            let older = "\(self.path).\(number)"
            let newer = number == 1 ? self.path : "\(self.path).\(number - 1)"
            rename(newer, older)
        }
    }
}

/// A system logger: one message for each line (RFC 5424), over a Unix datagram socket or UDP (RFC 5426).
final class SyslogOutput: LineOutput, @unchecked Sendable {
    package enum Address: Sendable, Equatable {
        case unix(String)
        case udp(host: String, port: String)
    }

    private let address: Address
    /// Facility and severity.
    private let priority: Int
    private let hostname: String
    private let onFailure: @Sendable (String) -> Void
    private var descriptor: Int32 = -1
    private var hasFailed = false

    init(address: Address, facility: Int, onFailure: @escaping @Sendable (String) -> Void) {
        self.address = address
        self.priority = facility * 8 + 5
        let name = ProcessInfo.processInfo.hostName.printableASCII(limit: 255).replacing(" ", with: "")
        self.hostname = name.isEmpty ? "-" : name
        self.onFailure = onFailure
    }

    deinit {
        if self.descriptor >= 0 { close(self.descriptor) }
    }

    func put(_ lines: [UInt8]) {
        for line in lines.split(separator: 0x0A) where !line.isEmpty {
            if self.descriptor < 0 { self.connect() }
            let head = "<\(self.priority)>1 \(Timestamp.now) \(self.hostname) claude-gateway \(getpid()) audit - "
            let message = Array(head.utf8) + line
            let isSent = self.descriptor >= 0 && send(self.descriptor, message, message.count, Int32(MSG_NOSIGNAL)) >= 0
            if isSent {
                self.hasFailed = false
            } else {
                if !self.hasFailed { self.onFailure(String(cString: strerror(errno))) }
                self.hasFailed = true
                if self.descriptor >= 0 { close(self.descriptor) }
                self.descriptor = -1
            }
        }
    }

    private func connect() {
        switch self.address {
        case .unix(let path):
            var address = sockaddr_un()
            address.sun_family = sa_family_t(AF_UNIX)
            let bytes = Array(path.utf8)
            guard bytes.count < MemoryLayout.size(ofValue: address.sun_path) else { return }
            withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: bytes) }
            self.descriptor = socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
            let result = withUnsafePointer(to: &address) { pointer in
                pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    Foundation.connect(self.descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
                }
            }
            if result != 0 { self.drop() }
        case .udp(let host, let port):
            var hints = addrinfo()
            hints.ai_socktype = Int32(SOCK_DGRAM.rawValue)
            var list: UnsafeMutablePointer<addrinfo>?
            guard getaddrinfo(host, port, &hints, &list) == 0, let first = list else { return }
            defer { freeaddrinfo(list) }
            self.descriptor = socket(
                first.pointee.ai_family, Int32(SOCK_DGRAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
            if Foundation.connect(self.descriptor, first.pointee.ai_addr, first.pointee.ai_addrlen) != 0 { self.drop() }
        }
    }

    private func drop() {
        let reason = errno
        if self.descriptor >= 0 { close(self.descriptor) }
        self.descriptor = -1
        errno = reason
    }
}
