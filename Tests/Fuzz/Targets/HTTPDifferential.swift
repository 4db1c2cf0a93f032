// SPDX-License-Identifier: Apache-2.0

import GatewayRelay
import NIOCore
import NIOEmbedded
import NIOHTTP1

/// The gateway's own parsers beside NIOHTTP1's (llhttp): what the gateway takes for a message, the other must take for the
/// same one. The other way round the gateway may be stricter.
enum HTTPDifferential {
    private struct Message: Equatable {
        var start = ""
        var fields: [String] = []
        var body: [UInt8] = []
    }

    private static func trimmed(_ value: String) -> String {
        var text = Substring(value)
        while text.first == " " || text.first == "\t" { text.removeFirst() }
        while text.last == " " || text.last == "\t" { text.removeLast() }
        return String(text)
    }

    private static func fields(_ headers: HTTPHeaders) -> [String] {
        headers.map { "\($0.name):\(self.trimmed($0.value))" }
    }

    // MARK: Requests

    private struct Requests {
        var whole: [Message] = []
        var hasFault = false
    }

    private static func own(_ pieces: [[UInt8]]) -> Requests {
        var parser = RequestParser()
        var input = ByteBuffer()
        var out = Requests()
        var message = Message()
        do throws(HTTPSyntaxError) {
            for piece in pieces {
                input.writeBytes(piece)
                while let event = try parser.next(&input) {
                    switch event {
                    case .head(let head):
                        message = Message(
                            start: "\(head.method.rawValue) \(head.target)", fields: self.fields(head.fields.headers))
                        if !head.keepsAlive || head.fields.first("upgrade") != nil {
                            // The other stops behind such a message.
                            message.start += " last"
                        }
                    case .body(let bytes): message.body += Array(bytes.readableBytesView)
                    case .end: out.whole.append(message)
                    }
                }
            }
        } catch {
            out.hasFault = true
        }
        return out
    }

    private static func others(_ bytes: [UInt8]) -> Requests {
        let channel = EmbeddedChannel(
            handler: ByteToMessageHandler(HTTPRequestDecoder(leftOverBytesStrategy: .dropBytes)))
        defer { _ = try? channel.finish(acceptAlreadyClosed: true) }
        var out = Requests()
        var message = Message()
        do { try channel.writeInbound(ByteBuffer(bytes: bytes)) } catch { out.hasFault = true }
        while let part = try? channel.readInbound(as: HTTPServerRequestPart.self) {
            switch part {
            case .head(let head):
                message = Message(start: "\(head.method.rawValue) \(head.uri)", fields: self.fields(head.headers))
            case .body(let bytes): message.body += Array(bytes.readableBytesView)
            case .end: out.whole.append(message)
            }
        }
        return out
    }

    /// The first byte decides how the rest is cut.
    @Sendable static func requests(_ input: [UInt8]) {
        let (whole, pieces) = FuzzTarget.pieces(input)
        let own = self.own([whole])
        let cut = self.own(pieces)
        precondition(own.whole == cut.whole && own.hasFault == cut.hasFault, "a cut changes what is read")
        let others = self.others(whole)
        for (index, message) in own.whole.enumerated() {
            var message = message
            let isLast = message.start.hasSuffix(" last")
            if isLast { message.start.removeLast(5) }
            let method = HTTPMethod(rawValue: String(message.start.prefix { $0 != " " }))
            // Methods that the other does not know are no error here; a body of CONNECT's is none there.
            if case .RAW = method { return }
            if method == .CONNECT { return }
            guard index < others.whole.count else {
                preconditionFailure(
                    "more lenient than NIOHTTP1: \(message) of \(String(decoding: whole, as: UTF8.self).debugDescription)"
                )
            }
            precondition(
                message == others.whole[index], "read otherwise than by NIOHTTP1: \(message) \(others.whole[index])")
            if isLast { return }
        }
    }

    // MARK: Responses

    private static func ownResponse(_ pieces: [[UInt8]]) -> (Message, isWhole: Bool, hasFault: Bool) {
        var parser = ResponseParser()
        parser.expectResponse()
        var input = ByteBuffer()
        var message = Message()
        var isWhole = false
        do throws(HTTPSyntaxError) {
            for piece in pieces where !isWhole {
                input.writeBytes(piece)
                while !isWhole, let event = try parser.next(&input) {
                    switch event {
                    case .head(let head):
                        message = Message(start: String(head.status), fields: self.fields(head.fields.headers))
                    case .body(let bytes, let framed):
                        if let framed { self.check(framed, bytes) }
                        message.body += Array(bytes.readableBytesView)
                    case .end: isWhole = true
                    }
                }
            }
            if !isWhole { isWhole = parser.close() }
        } catch {
            return (message, isWhole, true)
        }
        return (message, isWhole, false)
    }

    /// A frame is passed to clients as it is, so it must be one chunk and nothing else.
    private static func check(_ framed: ByteBuffer, _ bytes: ByteBuffer) {
        let text = Array(framed.readableBytesView)
        let size = text.prefix { $0 != 0x0D }
        let value = Int(String(decoding: size, as: UTF8.self), radix: 16)
        precondition(value == bytes.readableBytes && size.count <= 8, "a frame of another size")
        let body = Array(bytes.readableBytesView)
        precondition(text == Array(size) + [0x0D, 0x0A] + body + [0x0D, 0x0A], "a frame of something else")
    }

    @Sendable static func responses(_ input: [UInt8]) {
        let (whole, pieces) = FuzzTarget.pieces(input)
        let (message, isWhole, hasFault) = self.ownResponse([whole])
        let cut = self.ownResponse(pieces)
        precondition(isWhole == cut.isWhole && hasFault == cut.hasFault, "a cut changes whether an answer is one")
        // Of a broken one, parts may have gone on before it was seen to be broken.
        precondition(hasFault || message == cut.0, "a cut changes an answer")
        guard isWhole else { return }
        let channel = EmbeddedChannel()
        defer { _ = try? channel.finish(acceptAlreadyClosed: true) }
        do {
            try channel.pipeline.syncOperations.addHandler(HTTPRequestEncoder())
            try channel.pipeline.syncOperations.addHandler(
                ByteToMessageHandler(
                    HTTPResponseDecoder(leftOverBytesStrategy: .dropBytes, informationalResponseStrategy: .drop)))
            let head = HTTPRequestHead(version: .http1_1, method: .POST, uri: "/", headers: ["content-length": "0"])
            try channel.writeOutbound(HTTPClientRequestPart.head(head))
            try channel.writeOutbound(HTTPClientRequestPart.end(nil))
        } catch {
            preconditionFailure("the other parser cannot be set up")
        }
        _ = try? channel.writeInbound(ByteBuffer(bytes: whole))
        channel.pipeline.fireChannelInactive()
        var other = Message()
        var hasEnd = false
        while !hasEnd, let part = try? channel.readInbound(as: HTTPClientResponsePart.self) {
            switch part {
            case .head(let head): other = Message(start: String(head.status.code), fields: self.fields(head.headers))
            case .body(let bytes): other.body += Array(bytes.readableBytesView)
            case .end: hasEnd = true
            }
        }
        // Extensions of chunks are dropped whatever they say; the other refuses odd ones.
        if !hasEnd, whole.contains(UInt8(ascii: ";")) { return }
        let text = String(decoding: whole, as: UTF8.self).debugDescription
        precondition(hasEnd, "more lenient than NIOHTTP1: \(message) of \(text)")
        precondition(message == other, "read otherwise than by NIOHTTP1: \(message) \(other)")
    }
}
