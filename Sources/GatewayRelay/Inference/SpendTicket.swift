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

    let control: SpendControl
    private let gathering: SpendGathering
    private let principal: Principal
    private let requestID: RequestID
    private let started = Timestamp.now
    var allowance = SpendAllowance.unchecked
    var model = ""
    var billing = BillingTag.none
    /// Tokens of the prompt by its length, for answers that say nothing of it.
    var inputEstimate = 0
    /// What is reserved for the prompt: in exact mode two bytes a token, fewer than any usual text has.
    var longestPrompt: Int { self.control.isExact ? self.inputEstimate * 2 : self.inputEstimate }
    /// What the answer said of its tokens, once it has ended.
    private(set) var usage: TokenUsage?
    private var grant: SpendGrant?
    /// Where the answer that is being metered comes from.
    private var source: SpendSource?
    private var state = State.open
    private var meter = UsageMeter(.json)

    init(_ control: SpendControl, _ gathering: SpendGathering, _ principal: Principal, _ requestID: RequestID) {
        self.gathering = gathering
        self.control = control
        self.principal = principal
        self.requestID = requestID
    }

    deinit {
        // Whatever became of the request, nobody may go on waiting for it.
        if case .closed = self.state { return }
        self.giveBack()
    }

    private func giveBack() {
        if let grant { self.control.release(grant) }
    }

    func granted(_ grant: SpendGrant) {
        if case .closed = self.state {
            self.control.release(grant)
            return
        }
        self.grant = grant
    }

    /// The answer that the client gets begins.
    func begin(_ format: UsageMeter.Format, _ source: SpendSource) {
        self.source = source
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
        self.giveBack()
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
            self.giveBack()
            return
        }
        self.usage = reading.usage
        if !reading.knowsInput, isWhole, let count {
            count { self.record(reading, input: $0 ?? self.inputEstimate) }
        } else {
            self.record(reading, input: reading.knowsInput ? reading.usage.input : self.inputEstimate)
        }
    }

    private func record(_ reading: UsageMeter.Reading, input: Int) {
        guard let source else { return }
        var usage = reading.usage
        usage.input = input
        var amounts = SpendEntry.Amounts()
        (amounts.input, amounts.output, amounts.cacheRead) = (usage.input, usage.output, usage.cacheRead)
        (amounts.cacheWrite5m, amounts.cacheWrite1h) = (usage.cacheWrite5m, usage.cacheWrite1h)
        amounts.webSearches = usage.webSearches
        amounts.estimates = reading.knowsInput && reading.knowsOutput ? 0 : 1
        amounts.amount = self.control.pricer.cost(usage, source.price)
        let isGathered = self.control.gather(
            self.gathering, self.principal, source, amounts, at: self.started, self.grant, requestID: self.requestID
        ) { self.entry(source, amounts) }
        if isGathered { return }
        var entry = self.entry(source, amounts)
        if case .group(let name) = self.billing { entry.billingGroup = name }
        self.control.record(&entry, self.grant, usage, hasUsage: reading.knowsInput, billing: self.billing)
    }

    private func entry(_ source: SpendSource, _ amounts: SpendEntry.Amounts) -> SpendEntry {
        var entry = SpendEntry(
            at: self.started, principal: self.principal.subject, requestID: self.requestID.description,
            model: self.model, upstream: source.upstream, upstreamModel: source.upstreamModel, amount: .zero)
        entry.amounts = amounts
        return entry
    }
}
