// SPDX-License-Identifier: Apache-2.0

internal import GatewayCore
internal import GatewayMetering
internal import GatewayStore
internal import NIOCore

/// One request's way through the books, confined to its event loop: opened before the request is looked at, metered
/// while the answer passes, and closed exactly once.
final class SpendTicket {
    private enum State {
        case open
        case metering
        case closed
    }

    private final class Source {
        let upstream: String
        let model: String
        let price: Price

        init(upstream: String, model: String, price: Price) {
            self.upstream = upstream
            self.model = model
            self.price = price
        }
    }

    let control: SpendControl
    private let principal: Principal
    private let requestID: RequestID
    private let started = Timestamp.now
    var allowance = SpendAllowance()
    var model = ""
    var billing = BillingTag.none
    /// Tokens of the prompt by its length, for answers that say nothing of it.
    var inputEstimate = 0
    /// What is reserved for the prompt: in exact mode two bytes a token, fewer than any usual text has.
    var longestPrompt: Int { self.control.isExact ? self.inputEstimate * 2 : self.inputEstimate }
    /// What the answer said of its tokens, once it has ended.
    private(set) var usage: TokenUsage?
    private var grant = SpendGrant()
    /// What the last upstream that was asked about takes for the model.
    private var source: Source?
    private var state = State.open
    /// Of the answer that is being metered, which is from the source.
    private var meter = UsageMeter(.json)

    init(_ control: SpendControl, _ principal: Principal, _ requestID: RequestID) {
        self.control = control
        self.principal = principal
        self.requestID = requestID
    }

    deinit {
        // Whatever became of the request, nobody may go on waiting for it.
        if case .closed = self.state { return }
        self.control.release(self.grant)
    }

    func granted(_ grant: SpendGrant) {
        if case .closed = self.state {
            self.control.release(grant)
            return
        }
        self.grant = grant
    }

    /// What the model costs at an upstream.
    func price(upstream: String, upstreamModel: String) -> Price {
        if let source, source.upstream == upstream, source.model == upstreamModel { return source.price }
        let price = self.control.price(upstream: upstream, upstreamModel: upstreamModel, modelID: self.model)
        self.source = Source(upstream: upstream, model: upstreamModel, price: price)
        return price
    }

    /// The answer that the client gets begins.
    func begin(_ format: UsageMeter.Format, upstream: String, upstreamModel: String) {
        _ = self.price(upstream: upstream, upstreamModel: upstreamModel)
        self.state = .metering
        if format != .json { self.meter = UsageMeter(format) }
    }

    func receive(_ bytes: ByteBuffer) {
        guard self.state == .metering else { return }
        bytes.withUnsafeReadableBytes { self.meter.receive($0) }
    }

    /// Nothing is owed.
    func release() {
        if case .closed = self.state { return }
        self.state = .closed
        self.control.release(self.grant)
    }

    /// The answer has ended, whole or not.
    ///
    /// - Parameter count: Asks the upstream how many tokens the prompt has; used where the answer does not say.
    func finish(isWhole: Bool, count: ((@escaping (Int?) -> Void) -> Void)?) {
        guard self.state == .metering else {
            self.release()
            return
        }
        self.state = .closed
        let reading = self.meter.finish()
        guard reading.sawAnything || !isWhole else {
            self.control.release(self.grant)
            return
        }
        func record(_ usage: TokenUsage) {
            self.record(
                usage, hasUsage: reading.knowsInput, isEstimated: !reading.knowsInput || !reading.knowsOutput)
        }
        var usage = reading.usage
        self.usage = usage
        guard !reading.knowsInput else {
            record(usage)
            return
        }
        usage.input = self.inputEstimate
        guard isWhole, let count else {
            record(usage)
            return
        }
        count { tokens in
            if let tokens { usage.input = tokens }
            record(usage)
        }
    }

    private func record(_ usage: TokenUsage, hasUsage: Bool, isEstimated: Bool) {
        guard let source else { return }
        var entry = SpendEntry(
            at: self.started, principal: self.principal.subject, requestID: self.requestID.description,
            model: self.model, upstream: source.upstream, upstreamModel: source.model,
            amount: self.control.pricer.cost(usage, source.price))
        if case .group(let name) = self.billing { entry.billingGroup = name }
        (entry.input, entry.output, entry.cacheRead) = (usage.input, usage.output, usage.cacheRead)
        (entry.cacheWrite5m, entry.cacheWrite1h) = (usage.cacheWrite5m, usage.cacheWrite1h)
        entry.webSearches = usage.webSearches
        entry.estimates = isEstimated ? 1 : 0
        self.control.record(entry, self.grant, usage, hasUsage: hasUsage, billing: self.billing)
    }
}
