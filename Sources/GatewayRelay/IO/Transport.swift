// SPDX-License-Identifier: Apache-2.0

internal import NIOCore
internal import NIOHTTP1

/// What a connection writes to: a socket, or a channel of NIO's where TLS or HTTP/2 are in between. Confined to its loop.
enum Transport {
    case socket(Socket)
    case channel(any Channel)

    var remoteAddress: SocketAddress? {
        switch self {
        case .socket(let socket): socket.peer
        case .channel(let channel): channel.remoteAddress
        }
    }

    var isActive: Bool {
        switch self {
        case .socket(let socket): socket.isOpen
        case .channel(let channel): channel.isActive
        }
    }

    /// Whether what waits to leave is little enough for more.
    var isWritable: Bool {
        switch self {
        case .socket(let socket): socket.isWritable
        case .channel(let channel): channel.isWritable
        }
    }

    /// Bytes that wait to leave; 0 for a stream of HTTP/2, which does not say.
    var pendingBytes: Int {
        switch self {
        case .socket(let socket): socket.pendingBytes
        case .channel(let channel): (try? channel.syncOptions?.getOption(.bufferedWritableBytes)) ?? 0
        }
    }

    func write(_ bytes: ByteBuffer) {
        switch self {
        case .socket(let socket): socket.write(bytes)
        case .channel(let channel): channel.write(bytes, promise: nil)
        }
    }

    func writeAndFlush(_ bytes: ByteBuffer) {
        switch self {
        case .socket(let socket): socket.writeAndFlush(bytes)
        case .channel(let channel): channel.writeAndFlush(bytes, promise: nil)
        }
    }

    /// The same for bytes that are only copied if they must wait.
    func writeAndFlush(_ bytes: UnsafeRawBufferPointer) {
        switch self {
        case .socket(let socket): socket.writeAndFlush(bytes)
        case .channel(let channel): channel.writeAndFlush(ByteBuffer(bytes: bytes), promise: nil)
        }
    }

    func flush() {
        switch self {
        case .socket(let socket): socket.flush()
        case .channel(let channel): channel.flush()
        }
    }

    /// A part of the answer on a stream of HTTP/2.
    func write(part: HTTPServerResponsePart) {
        guard case .channel(let channel) = self else { return }
        channel.write(part, promise: nil)
    }

    /// Calls when everything written so far has left, with whether it could.
    func whenSent(isStream: Bool, _ done: @escaping (Bool) -> Void) {
        switch self {
        case .socket(let socket): socket.whenSent(done)
        case .channel(let channel):
            let done = NIOLoopBound(done, eventLoop: channel.eventLoop)
            // Nothing, behind everything: written when all of it is.
            let sent =
                isStream
                ? channel.writeAndFlush(HTTPServerResponsePart.body(.byteBuffer(ByteBuffer())))
                : channel.writeAndFlush(ByteBuffer())
            sent.whenComplete { result in
                if case .success = result { done.value(true) } else { done.value(false) }
            }
        }
    }

    /// Ends the direction from here.
    func closeOutput() {
        switch self {
        case .socket(let socket): socket.closeOutput()
        case .channel(let channel): channel.close(mode: .output, promise: nil)
        }
    }

    func close() {
        switch self {
        case .socket(let socket): socket.close()
        case .channel(let channel): channel.close(promise: nil)
        }
    }

    /// Stops or resumes reading.
    func setReading(_ isOn: Bool) {
        switch self {
        case .socket(let socket): socket.setReading(isOn)
        case .channel(let channel):
            guard channel.isActive else { return }
            _ = try? channel.syncOptions?.setOption(.autoRead, value: isOn)
            if isOn { channel.read() }
        }
    }
}
