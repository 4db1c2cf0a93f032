// SPDX-License-Identifier: Apache-2.0

internal import GatewayCore
internal import GatewayProviders
internal import NIOCore

/// Asks an upstream how many tokens a prompt has, after it has answered it without saying so. Confined to its loop.
final class TokenCountQuery: UpstreamDelegate {
    private static let patience = TimeAmount.seconds(10)
    private static let bodyLimit = 1 << 16

    private let done: (Int?) -> Void
    private var upstream: UpstreamConnection?
    private var body = ByteBuffer()
    private var isGood = false
    private var isOver = false
    private var timer: Scheduled<Void>?
    /// Lives as long as the question is open.
    private var keeper: TokenCountQuery?

    private init(_ done: @escaping (Int?) -> Void) {
        self.done = done
    }

    /// - Parameters:
    ///   - parts: The request's `model`, and its `messages`, `system` and `tools` as the client wrote them.
    static func ask(
        _ call: InboundCall, parts: [UInt8], upstream: UpstreamSettings, model: String, pool: UpstreamPool,
        credential: ResolvedCredential?, loop: any EventLoop, _ done: @escaping (Int?) -> Void,
    ) {
        let scanned = parts.withUnsafeBytes { bytes in
            try? BodyScanner.scan(bytes, findsNestedModels: false, listsMembers: true)
        }
        guard let scan = scanned else {
            done(nil)
            return
        }
        let buffer = ByteBuffer(bytes: parts)
        let count = call.counting(BufferBody(buffer), modelRanges: scan.modelRanges, members: scan.members)
        guard let request = try? upstream.provider.request(for: count, upstreamModel: model, upstream) else {
            done(nil)
            return
        }
        let query = TokenCountQuery(done)
        query.keeper = query
        let bound = NIOLoopBound(query, eventLoop: loop)
        query.timer = loop.scheduleTask(in: self.patience) { bound.value.end(nil) }
        pool.withConnection(fresh: false) { result in
            guard case .success(let connection) = result, !query.isOver else {
                if case .success(let connection) = result { connection.abandon() }
                query.end(nil)
                return
            }
            query.upstream = connection
            let slices = request.body.map { [ByteBuffer(bytes: $0)] } ?? BodySlices.apply(request.edits, to: buffer)
            connection.send(request, slices: slices, credential, for: query)
        }
    }

    private func end(_ tokens: Int?) {
        guard !self.isOver else { return }
        self.isOver = true
        self.timer?.cancel()
        self.upstream?.abandon()
        self.upstream = nil
        self.done(tokens)
        self.keeper = nil
    }

    func upstreamAnswered(_ head: ResponseHead) {
        self.isGood = head.status == 200
    }

    func upstreamSent(_ bytes: ByteBuffer, framed: ByteBuffer?) {
        if self.body.readableBytes < Self.bodyLimit { self.body.writeImmutableBuffer(bytes) }
    }

    func upstreamFinished() {
        self.upstream = nil
        let answer = self.isGood ? try? JSONValue(parsing: Array(self.body.readableBytesView)) : nil
        let tokens = (answer?["input_tokens"] ?? answer?["inputTokens"])?.integer
        self.end(tokens.flatMap { (0...100_000_000).contains($0) ? $0 : nil })
    }

    func upstreamBroke(_ reason: String) {
        self.upstream = nil
        self.end(nil)
    }

    func upstreamPaused() {}
}
