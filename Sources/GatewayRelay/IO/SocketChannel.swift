// SPDX-License-Identifier: Apache-2.0

internal import Glibc
internal import NIOCore

/// A socket as NIO's handlers know it, for TLS and HTTP/2. Bytes go in and out; nobody connects or binds here.
final class SocketChannel: Channel, ChannelCore, SocketUser, @unchecked Sendable {
    private let socket: Socket
    private let loop: PollLoop
    private let closePromise: EventLoopPromise<Void>
    private var currentPipeline: ChannelPipeline!
    private var autoRead = true
    private var isReadWanted = false
    /// Whether handlers have been told that the connection is there, and not yet that it has gone.
    private(set) var isActive = false
    private let addresses: (local: SocketAddress?, remote: SocketAddress?)

    private init(_ socket: Socket) {
        self.socket = socket
        self.loop = socket.loop
        self.closePromise = socket.loop.makePromise()
        self.addresses = (socket.name, socket.peer)
        self.currentPipeline = ChannelPipeline(channel: self)
    }

    /// Opens a channel over a connected socket, on the socket's loop.
    ///
    /// - Parameter addHandlers: Called before the first event.
    @discardableResult
    static func open(_ socket: Socket, addHandlers: (SocketChannel) throws -> Void) rethrows -> SocketChannel {
        let channel = SocketChannel(socket)
        do {
            channel.currentPipeline.fireChannelRegistered()
            try addHandlers(channel)
        } catch {
            channel.end()
            throw error
        }
        socket.setReading(false)
        guard socket.start(channel) else {
            channel.end()
            return channel
        }
        channel.isActive = true
        channel.currentPipeline.fireChannelActive()
        if channel.autoRead, channel.isActive { channel.currentPipeline.read() }
        return channel
    }

    // MARK: The socket

    func socketReceived(_ bytes: ByteBuffer) {
        self.currentPipeline.syncOperations.fireChannelRead(NIOAny(bytes))
    }

    func socketPaused() {
        self.isReadWanted = false
        self.currentPipeline.syncOperations.fireChannelReadComplete()
        guard self.isActive else { return }
        if self.autoRead { self.currentPipeline.syncOperations.read() }
        if !self.isReadWanted { self.socket.setReading(false) }
    }

    func socketWritabilityChanged() {
        self.currentPipeline.syncOperations.fireChannelWritabilityChanged()
    }

    func socketClosed(_ error: SocketError?) {
        if let error { self.currentPipeline.syncOperations.fireErrorCaught(error) }
        self.end()
    }

    private func end() {
        if self.isActive {
            self.isActive = false
            self.currentPipeline.syncOperations.fireChannelInactive()
        }
        self.currentPipeline.syncOperations.fireChannelUnregistered()
        // Handlers may be in the middle of something.
        self.loop.execute {
            self.removeHandlers(pipeline: self.currentPipeline)
            self.closePromise.succeed(())
        }
    }

    // MARK: Channel

    var allocator: ByteBufferAllocator { ByteBufferAllocator() }
    var closeFuture: EventLoopFuture<Void> { self.closePromise.futureResult }
    var pipeline: ChannelPipeline { self.currentPipeline }
    var localAddress: SocketAddress? { self.addresses.local }
    var remoteAddress: SocketAddress? { self.addresses.remote }
    var parent: (any Channel)? { nil }
    var isWritable: Bool { self.socket.isWritable }
    var _channelCore: any ChannelCore { self }
    var eventLoop: any EventLoop { self.loop }
    var syncOptions: (any NIOSynchronousChannelOptions)? { Options(channel: self) }

    func setOption<Option: ChannelOption>(_ option: Option, value: Option.Value) -> EventLoopFuture<Void> {
        self.loop.submit { try self.set(option, value) }
    }

    func getOption<Option: ChannelOption>(_ option: Option) -> EventLoopFuture<Option.Value> {
        self.loop.submit { try self.get(option) }
    }

    private struct Options: NIOSynchronousChannelOptions {
        let channel: SocketChannel

        func setOption<Option: ChannelOption>(_ option: Option, value: Option.Value) throws {
            try self.channel.set(option, value)
        }

        func getOption<Option: ChannelOption>(_ option: Option) throws -> Option.Value {
            try self.channel.get(option)
        }
    }

    private func set<Option: ChannelOption>(_ option: Option, _ value: Option.Value) throws {
        guard option is ChannelOptions.Types.AutoReadOption, let isOn = value as? Bool else {
            throw ChannelError.operationUnsupported
        }
        self.autoRead = isOn
        if isOn {
            self.currentPipeline.syncOperations.read()
        } else {
            self.isReadWanted = false
            self.socket.setReading(false)
        }
    }

    private func get<Option: ChannelOption>(_ option: Option) throws -> Option.Value {
        let value: Any
        switch option {
        case is ChannelOptions.Types.AutoReadOption: value = self.autoRead
        case is ChannelOptions.Types.BufferedWritableBytesOption: value = self.socket.pendingBytes
        case is ChannelOptions.Types.AllowRemoteHalfClosureOption: value = false
        default: throw ChannelError.operationUnsupported
        }
        guard let value = value as? Option.Value else { throw ChannelError.operationUnsupported }
        return value
    }

    // MARK: ChannelCore

    func localAddress0() throws -> SocketAddress {
        guard let address = self.addresses.local else { throw ChannelError.ioOnClosedChannel }
        return address
    }

    func remoteAddress0() throws -> SocketAddress {
        guard let address = self.addresses.remote else { throw ChannelError.ioOnClosedChannel }
        return address
    }

    func write0(_ data: NIOAny, promise: EventLoopPromise<Void>?) {
        guard self.isActive else {
            promise?.fail(ChannelError.ioOnClosedChannel)
            return
        }
        self.socket.write(self.unwrapData(data, as: ByteBuffer.self))
        guard let promise else { return }
        self.socket.whenSent { isSent in
            if isSent { promise.succeed(()) } else { promise.fail(ChannelError.ioOnClosedChannel) }
        }
    }

    func flush0() {
        self.socket.flush()
    }

    func read0() {
        guard self.isActive, !self.isReadWanted else { return }
        self.isReadWanted = true
        self.socket.setReading(true)
    }

    func close0(error: any Error, mode: CloseMode, promise: EventLoopPromise<Void>?) {
        guard self.isActive else {
            promise?.fail(ChannelError.alreadyClosed)
            return
        }
        switch mode {
        case .all:
            if let promise { self.closePromise.futureResult.cascade(to: promise) }
            self.socket.close()
        case .output:
            self.socket.closeOutput()
            promise?.succeed(())
            self.currentPipeline.fireUserInboundEventTriggered(ChannelEvent.outputClosed)
        case .input: promise?.fail(ChannelError.operationUnsupported)
        }
    }

    func triggerUserOutboundEvent0(_ event: Any, promise: EventLoopPromise<Void>?) {
        promise?.succeed(())
    }

    func register0(promise: EventLoopPromise<Void>?) {
        promise?.fail(ChannelError.operationUnsupported)
    }

    func registerAlreadyConfigured0(promise: EventLoopPromise<Void>?) {
        promise?.fail(ChannelError.operationUnsupported)
    }

    func bind0(to: SocketAddress, promise: EventLoopPromise<Void>?) {
        promise?.fail(ChannelError.operationUnsupported)
    }

    func connect0(to: SocketAddress, promise: EventLoopPromise<Void>?) {
        promise?.fail(ChannelError.operationUnsupported)
    }

    /// What reaches the end of the pipeline is of no interest to anybody.
    func channelRead0(_ data: NIOAny) {}

    func errorCaught0(error: any Error) {}
}
