// SPDX-License-Identifier: Apache-2.0

package import GatewayCore
package import GatewayStore
package import Logging
internal import Synchronization

/// `rate_limits.inference`: how much each developer may ask of models in a minute, and at once.
///
/// A minute slides: the last whole minute counts by the part of it that still lies within sixty seconds. Replicas tell
/// each other their counts every second, so a limit can be passed by what the others have admitted within about two
/// seconds; while the store is away each counts for itself.
package final class InferenceLimiter: Sendable {
    package struct Settings: Sendable, Equatable {
        package var requestsPerMinute: Int?
        package var tokensPerMinute: Int?
        package var concurrent: Int?

        package init(requestsPerMinute: Int? = nil, tokensPerMinute: Int? = nil, concurrent: Int? = nil) {
            self.requestsPerMinute = requestsPerMinute
            self.tokensPerMinute = tokensPerMinute
            self.concurrent = concurrent
        }
    }

    package struct Refusal: Error, Sendable, Equatable {
        /// The setting that is reached.
        package let limit: String
        package let message: String
        package let retryAfterSeconds: Int
    }

    private static let interval = Duration.seconds(1)

    private struct Counts {
        var requests = 0
        var tokens = 0
    }

    private struct Developer {
        var own: [Int64: Counts] = [:]
        var others: [Int64: Counts] = [:]
        var running = 0
        var othersRunning = 0
        var isDirty = false
    }

    private let store: any RateStore
    private let replica = Hexadecimal.encode(RandomToken.bytes(8))
    private let log: Logger
    private let state = Mutex<[String: Developer]>([:])

    package init(store: any RateStore, log: Logger) {
        self.store = store
        self.log = log
    }

    /// One running request; its end is the end of this object.
    package final class Slot: Sendable {
        private let limiter: InferenceLimiter
        private let principal: String

        fileprivate init(_ limiter: InferenceLimiter, _ principal: String) {
            self.limiter = limiter
            self.principal = principal
        }

        deinit {
            self.limiter.ended(self.principal)
        }
    }

    package func admit(_ principal: String, _ settings: Settings, now: Timestamp) -> Result<Slot, Refusal> {
        let minute = now.milliseconds / 60_000
        let left = 1 - Double(now.milliseconds % 60_000) / 60_000
        let refusal = self.state.withLock { developers -> Refusal? in
            var developer = developers[principal] ?? Developer()
            defer { developers[principal] = developer }
            func used(_ part: KeyPath<Counts, Int>) -> Double {
                func at(_ minute: Int64) -> Double {
                    Double(
                        (developer.own[minute]?[keyPath: part] ?? 0) + (developer.others[minute]?[keyPath: part] ?? 0))
                }
                return at(minute) + at(minute - 1) * left
            }
            func over(_ limit: Int?, _ name: String, _ what: String, _ part: KeyPath<Counts, Int>) -> Refusal? {
                guard let limit, used(part) >= Double(limit) else { return nil }
                let wait = max(1, Int((left * 60).rounded(.up)))
                return Refusal(
                    limit: name,
                    message: "rate limit reached: \(limit) \(what) a minute; try again in \(wait) s",
                    retryAfterSeconds: wait)
            }
            if let refusal = over(settings.requestsPerMinute, "requests_per_minute", "requests", \.requests)
                ?? over(settings.tokensPerMinute, "tokens_per_minute", "tokens", \.tokens)
            {
                return refusal
            }
            if let limit = settings.concurrent, developer.running + developer.othersRunning >= limit {
                return Refusal(
                    limit: "concurrent",
                    message: "rate limit reached: \(limit) requests at once; try again when one has ended",
                    retryAfterSeconds: 1)
            }
            developer.own[minute, default: Counts()].requests += 1
            developer.running += 1
            developer.isDirty = true
            return nil
        }
        return refusal.map(Result.failure) ?? .success(Slot(self, principal))
    }

    /// Tokens that an answer has used.
    package func used(_ principal: String, tokens: Int, now: Timestamp) {
        self.state.withLock { developers in
            developers[principal, default: Developer()].own[now.milliseconds / 60_000, default: Counts()].tokens +=
                tokens
            developers[principal]?.isDirty = true
        }
    }

    private func ended(_ principal: String) {
        self.state.withLock { developers in
            developers[principal]?.running -= 1
            developers[principal]?.isDirty = true
        }
    }

    /// Exchanges counts with the other replicas, until it is cancelled.
    package func follow() async {
        var isFailing = false
        while !Task.isCancelled {
            try? await Task.sleep(for: Self.interval)
            do {
                try await self.exchange(now: .now)
                isFailing = false
            } catch {
                if !isFailing, !Task.isCancelled {
                    self.log.warning(
                        "rate limits count in this process only while the store is away",
                        metadata: ["reason": "\(error)"])
                }
                isFailing = true
            }
        }
    }

    package func exchange(now: Timestamp) async throws {
        let minute = now.milliseconds / 60_000
        let (own, principals) = self.state.withLock { developers -> ([RateUsage], [String]) in
            var usages: [RateUsage] = []
            for (principal, var developer) in developers {
                developer.own = developer.own.filter { $0.key >= minute - 1 }
                developer.others = developer.others.filter { $0.key >= minute - 1 }
                if developer.own.isEmpty, developer.running == 0 {
                    developers[principal] = nil
                    continue
                }
                // Whoever has something running stays known to the others.
                if developer.isDirty || developer.running > 0 {
                    for at in minute - 1...minute {
                        guard let counts = developer.own[at] ?? (at == minute ? Counts() : nil) else { continue }
                        usages.append(
                            RateUsage(
                                principal: principal, minute: at, requests: counts.requests, tokens: counts.tokens,
                                running: at == minute ? developer.running : 0))
                    }
                }
                developer.isDirty = false
                developers[principal] = developer
            }
            return (usages, developers.keys.sorted())
        }
        guard !principals.isEmpty else { return }
        let others = try await self.store.exchangeRates(
            own, about: principals, replica: self.replica, now: now)
        self.state.withLock { developers in
            for principal in principals {
                developers[principal]?.others = [:]
                developers[principal]?.othersRunning = 0
            }
            for usage in others {
                developers[usage.principal]?.others[usage.minute] = Counts(
                    requests: usage.requests, tokens: usage.tokens)
                developers[usage.principal]?.othersRunning += usage.running
            }
        }
    }
}
