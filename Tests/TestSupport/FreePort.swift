// SPDX-License-Identifier: Apache-2.0

internal import Foundation
internal import Synchronization

/// Ports that nobody listens on, below those that the system gives to outgoing connections. The public URL must be known
/// before the gateway listens.
package enum FreePort {
    private static let next = Mutex(Int.random(in: 11_000..<18_000))

    package static func take() throws -> Int {
        for _ in 0..<500 {
            let port = self.next.withLock { next in
                next = next < 18_900 ? next + 1 : 11_000
                return next
            }
            if self.isFree(port) { return port }
        }
        throw POSIXError(.EADDRINUSE)
    }

    private static func isFree(_ port: Int) -> Bool {
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        defer { close(descriptor) }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = UInt16(port).bigEndian
        address.sin_addr.s_addr = inet_addr("127.0.0.1")
        return withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) == 0
            }
        }
    }
}
