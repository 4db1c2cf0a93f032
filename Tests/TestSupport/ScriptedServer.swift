// SPDX-License-Identifier: Apache-2.0

internal import Foundation
internal import GatewayCore
internal import NIOCore
internal import NIOPosix
internal import NIOSSL
internal import Synchronization

/// A server on a free loopback port whose answers a test writes to the byte.
package final class ScriptedServer: Sendable {
    /// A request as it arrived.
    package struct Seen: Sendable {
        package let method: String
        package let target: String
        package let headers: [(name: String, value: String)]
        package let body: [UInt8]

        package func header(_ name: String) -> String? {
            self.headers.first { $0.name.lowercased() == name }?.value
        }

        package var form: [String: String] { FormCoding.firstValues(self.body) }
    }

    /// A step of an answer.
    package enum Step: Sendable {
        case bytes(String)
        case raw([UInt8])
        case pause(Duration)
        /// Ends the connection at once, with a reset.
        case reset
        case close
        /// Connects to the port that a CONNECT named, on this machine, and passes bytes both ways from then on.
        case tunnel
        /// Says nothing more until the other side hangs up.
        case hang
    }

    private struct State {
        var seen: [Seen] = []
        var hangUps = 0
        var open: [ObjectIdentifier: any Channel] = [:]
    }

    private let state = Mutex(State())
    private let behaviour: @Sendable (Seen) async -> [Step]
    private let listener = Mutex<(any Channel)?>(nil)
    package let port: Int
    private let isSecure: Bool

    package var url: String { "\(self.isSecure ? "https" : "http")://127.0.0.1:\(self.port)" }
    package var seen: [Seen] { self.state.withLock { $0.seen } }
    /// Connections that the other side closed while an answer was under way.
    package var hangUps: Int { self.state.withLock { $0.hangUps } }

    /// - Parameter certificate: Makes it serve TLS.
    package init(certificate: TestCertificate? = nil, _ behaviour: @escaping @Sendable (Seen) async -> [Step])
        async throws
    {
        self.behaviour = behaviour
        self.isSecure = certificate != nil
        let box = Box()
        let tls = try certificate.map { certificate in
            let chain = try NIOSSLCertificate.fromPEMFile(certificate.certificate).map {
                NIOSSLCertificateSource.certificate($0)
            }
            let key = try NIOSSLPrivateKey(file: certificate.key, format: .pem)
            return try NIOSSLContext(
                configuration: .makeServerConfiguration(certificateChain: chain, privateKey: .privateKey(key)))
        }
        let channel = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    if let tls {
                        try channel.pipeline.syncOperations.addHandler(NIOSSLServerHandler(context: tls))
                    }
                    try channel.pipeline.syncOperations.addHandler(Handler(box: box))
                }
            }
            .bind(host: "127.0.0.1", port: 0).get()
        self.port = channel.localAddress?.port ?? 0
        self.listener.withLock { $0 = channel }
        box.server.withLock { $0 = self }
    }

    package func stop() async {
        let channel = self.listener.withLock { $0 }
        try? await channel?.close().get()
        for channel in self.state.withLock({ Array($0.open.values) }) { channel.close(promise: nil) }
    }

    fileprivate final class Box: Sendable {
        let server = Mutex<ScriptedServer?>(nil)
    }

    fileprivate func note(_ seen: Seen) { self.state.withLock { $0.seen.append(seen) } }
    fileprivate func noteHangUp() { self.state.withLock { $0.hangUps += 1 } }
    fileprivate func opened(_ channel: any Channel) {
        self.state.withLock { $0.open[ObjectIdentifier(channel)] = channel }
    }
    fileprivate func closed(_ channel: any Channel) { self.state.withLock { $0.open[ObjectIdentifier(channel)] = nil } }

    private func tunnel(_ channel: any Channel, to port: Int) async throws {
        let other = try await ClientBootstrap(group: channel.eventLoop)
            .channelInitializer { other in
                other.eventLoop.makeCompletedFuture {
                    try other.pipeline.syncOperations.addHandler(Forwarder(to: channel))
                }
            }
            .connect(host: "127.0.0.1", port: port).get()
        try await channel.eventLoop.submit {
            let operations = channel.pipeline.syncOperations
            let handler = try operations.handler(type: Handler.self)
            try operations.addHandler(Forwarder(to: other))
            operations.removeHandler(handler).whenComplete { _ in
                channel.writeAndFlush(ByteBuffer(string: "HTTP/1.1 200 Connection established\r\n\r\n"), promise: nil)
            }
        }.get()
    }

    fileprivate func answer(_ seen: Seen, on channel: any Channel) async {
        for step in await self.behaviour(seen) {
            switch step {
            case .raw(let bytes): try? await channel.writeAndFlush(ByteBuffer(bytes: bytes))
            case .bytes(let text): try? await channel.writeAndFlush(ByteBuffer(string: text))
            case .pause(let time): try? await Task.sleep(for: time)
            case .close:
                try? await channel.close()
                return
            case .reset:
                // SO_LINGER with zero seconds makes close send a reset.
                try? await (channel as? any SocketOptionProvider)?.setSoLinger(linger(l_onoff: 1, l_linger: 0)).get()
                try? await channel.close()
                return
            case .tunnel: try? await self.tunnel(channel, to: Int(seen.target.split(separator: ":").last ?? "") ?? 0)
            case .hang: try? await Task.sleep(for: .seconds(60))
            }
        }
    }
}

extension ScriptedServer {
    fileprivate final class Handler: ChannelInboundHandler, RemovableChannelHandler {
        typealias InboundIn = ByteBuffer
        typealias OutboundOut = ByteBuffer

        private let box: Box
        private var buffer = ByteBuffer()
        private var task: Task<Void, Never>?
        private var isAnswering = false

        init(box: Box) {
            self.box = box
        }

        private var server: ScriptedServer? { self.box.server.withLock { $0 } }

        func channelActive(context: ChannelHandlerContext) {
            self.server?.opened(context.channel)
        }

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            var bytes = self.unwrapInboundIn(data)
            self.buffer.writeBuffer(&bytes)
            guard let seen = self.parse(), let server = self.server else { return }
            server.note(seen)
            let channel = context.channel
            self.isAnswering = true
            let bound = NIOLoopBound(self, eventLoop: context.eventLoop)
            self.task = Task {
                await server.answer(seen, on: channel)
                bound.eventLoop.execute { bound.value.isAnswering = false }
            }
        }

        func channelInactive(context: ChannelHandlerContext) {
            self.server?.closed(context.channel)
            if self.isAnswering {
                self.server?.noteHangUp()
                self.task?.cancel()
            }
        }

        private func parse() -> Seen? {
            let text = String(decoding: self.buffer.readableBytesView, as: UTF8.self)
            guard let end = text.range(of: "\r\n\r\n") else { return nil }
            let lines = text[..<end.lowerBound].split(separator: "\r\n").map(String.init)
            let start = (lines.first ?? "").split(separator: " ").map(String.init)
            let headers = lines.dropFirst().compactMap { line -> (name: String, value: String)? in
                guard let colon = line.firstIndex(of: ":") else { return nil }
                return (String(line[..<colon]), String(line[line.index(after: colon)...]).trimmingSpaces)
            }
            let length = headers.first { $0.name.lowercased() == "content-length" }.flatMap { Int($0.value) } ?? 0
            let head = text[..<end.upperBound].utf8.count
            guard self.buffer.readableBytes >= head + length else { return nil }
            self.buffer.moveReaderIndex(forwardBy: head)
            let body = self.buffer.readBytes(length: length) ?? []
            self.buffer.discardReadBytes()
            guard start.count >= 2 else { return nil }
            return Seen(method: start[0], target: start[1], headers: headers, body: body)
        }
    }
}

extension ScriptedServer.Step {
    /// A whole answer with a declared length.
    package static func answer(_ status: Int = 200, _ body: String, headers: [(String, String)] = [])
        -> ScriptedServer.Step
    {
        let lines = ([("content-type", "application/json"), ("content-length", String(body.utf8.count))] + headers)
            .map { "\($0.0): \($0.1)\r\n" }.joined()
        return .bytes("HTTP/1.1 \(status) X\r\n\(lines)\r\n\(body)")
    }

    /// The head of a chunked event stream.
    package static let streamHead = ScriptedServer.Step.bytes(
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")

    package static func chunk(_ text: String) -> ScriptedServer.Step {
        .bytes("\(String(text.utf8.count, radix: 16))\r\n\(text)\r\n")
    }

    package static func rawChunk(_ bytes: [UInt8]) -> ScriptedServer.Step {
        .raw(Array("\(String(bytes.count, radix: 16))\r\n".utf8) + bytes + Array("\r\n".utf8))
    }

    package static let lastChunk = ScriptedServer.Step.bytes("0\r\n\r\n")
}
