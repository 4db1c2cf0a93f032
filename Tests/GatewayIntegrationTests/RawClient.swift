// SPDX-License-Identifier: Apache-2.0

import Foundation
import TestSupport

/// A blocking socket for requests that no HTTP client would send.
final class RawClient: Sendable {
    private let descriptor: Int32

    init(port: Int) throws {
        self.descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = UInt16(port).bigEndian
        address.sin_addr.s_addr = inet_addr("127.0.0.1")
        // A small window makes a slow reader slow at once.
        var size: Int32 = 64 << 10
        setsockopt(self.descriptor, SOL_SOCKET, SO_RCVBUF, &size, socklen_t(MemoryLayout<Int32>.size))
        var limit = timeval(tv_sec: 5, tv_usec: 0)
        setsockopt(self.descriptor, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
        let result = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(self.descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        guard result == 0 else { throw POSIXError(.ECONNREFUSED) }
    }

    deinit {
        close(self.descriptor)
    }

    func send(_ text: String) throws {
        let bytes = Array(text.utf8)
        guard bytes.withUnsafeBytes({ write(self.descriptor, $0.baseAddress!, $0.count) }) == bytes.count else {
            throw POSIXError(.EPIPE)
        }
    }

    private func readSome() -> [UInt8] {
        var buffer = [UInt8](repeating: 0, count: 1 << 16)
        var count = 0
        // A read with a time limit is not restarted after a signal, such as that of a child process that ended.
        repeat {
            count = buffer.withUnsafeMutableBytes { read(self.descriptor, $0.baseAddress!, $0.count) }
        } while count < 0 && errno == EINTR
        return Array(buffer.prefix(max(0, count)))
    }

    /// Everything until the other side closes or is silent.
    func readAll() async throws -> String {
        try await offPool { [self] in self.readToTheEnd() }
    }

    private func readToTheEnd() -> String {
        var all: [UInt8] = []
        while case let bytes = self.readSome(), !bytes.isEmpty { all += bytes }
        return String(decoding: all, as: UTF8.self)
    }

    /// Reads and counts until the text ends with `end`.
    func drain(until end: String) async throws -> Int {
        try await offPool { [self] in self.count(until: end) }
    }

    private func count(until end: String) -> Int {
        var total = 0
        var tail: [UInt8] = []
        while case let bytes = self.readSome(), !bytes.isEmpty {
            total += bytes.count
            tail = Array((tail + bytes).suffix(16))
            if String(decoding: tail, as: UTF8.self).hasSuffix(end) { break }
        }
        return total
    }

    /// Reads until the text holds `part`, and returns all of it.
    func receive(until part: String) async throws -> String {
        try await offPool { [self] in
            var all: [UInt8] = []
            while case let bytes = self.readSome(), !bytes.isEmpty {
                all += bytes
                if String(decoding: all, as: UTF8.self).contains(part) { break }
            }
            return String(decoding: all, as: UTF8.self)
        }
    }
}
