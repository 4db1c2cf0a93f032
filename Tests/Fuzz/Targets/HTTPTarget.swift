// SPDX-License-Identifier: Apache-2.0

import Foundation
import GatewayCore
import GatewayPolicy
import GatewayProviders
import GatewayRelay
import Logging
import NIOCore
import NIOHTTP1
import Synchronization

/// A listening server that gets bytes as they come. It must answer or close, and go on serving others.
enum HTTPTarget {
    private struct Echo: PlainResponder {
        func immediateAnswer(to request: PlainRequest) -> PlainResponse? { nil }

        func respond(to request: PlainRequest) async -> PlainResponse {
            .text(.ok, request.path)
        }
    }

    private struct Nobody: BearerVerifying {
        func verify(_ token: String, now: Timestamp) -> VerifiedBearer? { nil }
    }

    private struct NoAudit: AuditSink {
        func record(_ event: AuditEvent) {}
    }

    private static let port: Int = {
        let done = DispatchSemaphore(value: 0)
        let port = Mutex(0)
        Task {
            let configuration = RelayConfiguration(
                edge: EdgeSettings(maximumBodyBytes: 4096), upstreams: [],
                catalog: ModelCatalog(custom: [], includesBuiltIns: false, upstreams: []),
                policies: ManagedPolicies(policies: []), firstByteTimeout: .seconds(1),
                addressGuard: AddressGuard(allowsLoopback: true))
            let server = try await RelayServer(
                services: RelayServices(audit: NoAudit(), log: Logger(label: "f") { _ in SwiftLogNoOpLogHandler() }),
                serving: RelayServing(configuration: configuration, verifier: Nobody(), responder: Echo()))
            let bound = try await server.listen(RelayServer.Address(host: "127.0.0.1", port: 0), tls: nil)
            port.withLock { $0 = bound }
            done.signal()
        }
        done.wait()
        return port.withLock { $0 }
    }()

    @Sendable static func run(_ input: [UInt8]) {
        let first = self.exchange(input, saysEnd: true)
        // Whatever is answered is an answer of ours, whole lines and all.
        if !first.isEmpty { precondition(first.starts(with: Array("HTTP/1.".utf8)), "an answer that is no HTTP") }
        if UInt8.random(in: 0...15) == 0 {
            let probe = self.exchange(
                Array("GET /probe HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n".utf8), saysEnd: false)
            precondition(String(decoding: probe, as: UTF8.self).hasSuffix("/probe"), "the server has stopped serving")
        }
    }

    /// Sends, and reads to the end.
    ///
    /// - Parameter saysEnd: Says that nothing more comes, which ends the connection.
    private static func exchange(_ bytes: [UInt8], saysEnd: Bool) -> [UInt8] {
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        defer { close(descriptor) }
        var limit = timeval(tv_sec: 2, tv_usec: 0)
        setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
        // Many short connections would use up the ports.
        var linger = linger(l_onoff: 1, l_linger: 0)
        setsockopt(descriptor, SOL_SOCKET, SO_LINGER, &linger, socklen_t(MemoryLayout.size(ofValue: linger)))
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = UInt16(self.port).bigEndian
        address.sin_addr.s_addr = inet_addr("127.0.0.1")
        let result = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        guard result == 0 else { return [] }
        _ = send(descriptor, bytes, bytes.count, Int32(MSG_NOSIGNAL))
        if saysEnd { shutdown(descriptor, Int32(SHUT_WR)) }
        var all: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 1 << 16)
        while all.count < 1 << 20 {
            let count = recv(descriptor, &buffer, buffer.count, 0)
            guard count > 0 else { break }
            all += buffer.prefix(count)
        }
        return all
    }
}
