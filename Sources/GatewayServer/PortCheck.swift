// SPDX-License-Identifier: Apache-2.0

internal import Foundation

/// Finds out early whether an address can be listened on, without listening: nobody may connect before the gateway
/// serves.
enum PortCheck {
    /// - Throws: `POSIXError` when the address is taken, not this machine's, or does not resolve.
    static func check(host: String, port: Int) throws {
        guard port != 0 else { return }
        var hints = addrinfo()
        hints.ai_flags = AI_PASSIVE
        hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        var first: UnsafeMutablePointer<addrinfo>?
        guard getaddrinfo(host, String(port), &hints, &first) == 0, let address = first else {
            throw POSIXError(.EADDRNOTAVAIL)
        }
        defer { freeaddrinfo(first) }
        let descriptor = socket(
            address.pointee.ai_family, address.pointee.ai_socktype | Int32(SOCK_CLOEXEC.rawValue), 0)
        guard descriptor >= 0 else { throw POSIXError(POSIXErrorCode(rawValue: errno) ?? .EIO) }
        defer { close(descriptor) }
        // As the listener does: an address in TIME_WAIT is free, one that is listened on is not.
        var on: Int32 = 1
        setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &on, socklen_t(MemoryLayout<Int32>.size))
        guard bind(descriptor, address.pointee.ai_addr, address.pointee.ai_addrlen) == 0 else {
            throw POSIXError(POSIXErrorCode(rawValue: errno) ?? .EADDRINUSE)
        }
    }
}
