// SPDX-License-Identifier: Apache-2.0

internal import Crypto
internal import GatewayCore
internal import NIOCore

/// SHA-256 over slices, without joining them.
enum BodyDigest {
    static func hexadecimal(_ slices: [ByteBuffer]) -> String {
        var hash = SHA256()
        for slice in slices { slice.withUnsafeReadableBytes { hash.update(bufferPointer: $0) } }
        return Hexadecimal.encode(hash.finalize())
    }
}
