// SPDX-License-Identifier: Apache-2.0

internal import GatewayCore
internal import GatewayMetering
internal import GatewayProviders
internal import NIOCore

/// One configuration on one event loop, and what is only right together with it: the connections to its upstreams and
/// the callers its policies have judged. A request keeps the generation it began with, whatever is loaded meanwhile.
///
/// What each request holds is the loop's own where that is cheap: an object that all loops hold wanders between their
/// processors' caches.
final class RelayGeneration {
    /// Of each of the two tables.
    private static let maximumBearers = 16_384

    let configuration: RelayConfiguration
    let responder: any PlainResponder
    /// One pool for each of the configuration's upstreams.
    let pools: [UpstreamPool]
    /// For answers that have not begun.
    let firstBytes: DeadlineQueue
    private let verifier: any BearerVerifying
    /// Verified bearers. Full, the table becomes the old one: whoever comes again moves on, and the others are forgotten, so
    /// that many developers never cost each other all that is known.
    private var bearers: [String: Caller] = [:]
    private var oldBearers: [String: Caller] = [:]
    /// Of developers who have asked lately; each has one place.
    private var memories: [SpendMemory?] = Array(repeating: nil, count: memoryCount)
    private static let memoryCount = 256
    /// What was last found for each upstream.
    private var sources: [SpendSource?]
    /// The verifier's epoch in which `bearers` were verified.
    private(set) var epoch = 0

    init(_ serving: RelayServing, loop: PollLoop) {
        let configuration = serving.configuration
        self.configuration = configuration
        self.verifier = serving.verifier
        self.responder = serving.responder
        self.firstBytes = DeadlineQueue(TimeAmount(configuration.firstByteTimeout), loop: loop)
        self.sources = Array(repeating: nil, count: configuration.upstreams.count)
        self.pools = configuration.routes.map { UpstreamPool(route: $0, loop: loop, rule: configuration.addressGuard) }
    }

    /// Closes what is idle; requests under way finish on the connections they have.
    func retire() {
        for pool in self.pools { pool.close() }
    }

    /// An upstream's model and its price.
    func source(_ control: SpendControl, upstream: Int, upstreamModel: String, modelID: String) -> SpendSource {
        if let last = self.sources[upstream], last.upstreamModel == upstreamModel, last.modelID == modelID {
            return last
        }
        let source = control.source(
            upstream: self.configuration.upstreams[upstream].name, upstreamModel: upstreamModel, modelID: modelID
        ).copy()
        self.sources[upstream] = source
        return source
    }

    func memory(of principal: Principal) -> SpendMemory {
        // Objects are some dozens of bytes apart.
        let place = Int(bitPattern: ObjectIdentifier(principal)) >> 4 & (Self.memoryCount - 1)
        if let memory = self.memories[place], memory.principal === principal { return memory }
        let memory = SpendMemory(principal)
        self.memories[place] = memory
        return memory
    }

    func decide(_ scan: BodyScan, _ caller: Caller) -> InferenceDecision {
        InferenceDecision.decide(
            scan, caller: caller, catalog: self.configuration.catalog, upstreams: self.configuration.upstreams)
    }

    /// Whether a caller that was verified in that epoch need not be verified again.
    func isStillGood(_ caller: Caller, since epoch: Int) -> Bool {
        self.verifier.epoch == epoch && caller.expiresAt > Timestamp.now.seconds
    }

    /// The caller whose bearer an `Authorization` header carries. The scheme is spelled exactly `Bearer `.
    func caller(authorization: String?) -> Result<Caller, BearerFailure> {
        guard let authorization else { return .failure(BearerFailure(problem: .missing)) }
        let now = Timestamp.now
        if self.verifier.epoch != self.epoch {
            self.epoch = self.verifier.epoch
            self.bearers.removeAll(keepingCapacity: true)
            self.oldBearers = [:]
        }
        if let known = self.bearers[authorization] {
            if known.expiresAt > now.seconds { return .success(known) }
            self.bearers[authorization] = nil
            return .failure(BearerFailure(problem: .invalid))
        }
        if let known = self.oldBearers[authorization], known.expiresAt > now.seconds {
            self.keep(known, authorization)
            return .success(known)
        }
        guard authorization.hasPrefix("Bearer ") else { return .failure(BearerFailure(problem: .invalid)) }
        let token = String(authorization.dropFirst("Bearer ".count))
        guard let bearer = self.verifier.verify(token, now: now) else {
            return .failure(BearerFailure(problem: .invalid))
        }
        let caller = self.configuration.caller(
            VerifiedBearer(principal: bearer.principal.copy(), expiresAt: bearer.expiresAt))
        self.keep(caller, authorization)
        return .success(caller)
    }

    private func keep(_ caller: Caller, _ authorization: String) {
        if self.bearers.count >= Self.maximumBearers {
            self.oldBearers = self.bearers
            self.bearers = [:]
        }
        self.bearers[authorization] = caller
    }

    struct BearerFailure: Error {
        let problem: BearerProblem
    }
}
