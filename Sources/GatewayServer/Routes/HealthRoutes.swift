// SPDX-License-Identifier: Apache-2.0

internal import GatewayRelay
internal import GatewayStore
internal import NIOHTTP1

/// `/healthz`: the process answers. `/readyz`: so does the store.
struct HealthRoutes: Sendable {
    let store: any GatewayStore
    let readiness: Readiness

    static let livenessPath = "/healthz"
    static let alive = PlainResponse.text(.ok, "ok")

    func mount(on routes: RouteTable) {
        routes.get(Self.livenessPath) { _ in Self.alive }
        routes.get("/readyz") { _ in
            await self.readiness.isReady(self.store)
                ? .text(.ok, "ready") : .text(.serviceUnavailable, "store unavailable")
        }
    }
}

/// Remembers since when the store has been silent, for the grace that `store.readiness_grace_seconds` gives.
actor Readiness {
    private let grace: Duration
    private var lastAnswer = ContinuousClock.now

    init(grace: Duration) {
        self.grace = grace
    }

    func isReady(_ store: any GatewayStore) async -> Bool {
        guard await Self.answers(store) else { return self.lastAnswer.duration(to: .now) < self.grace }
        self.lastAnswer = .now
        return true
    }

    /// Whether the store answers within two seconds, whatever it is doing then.
    private static func answers(_ store: any GatewayStore) async -> Bool {
        let (results, report) = AsyncStream.makeStream(of: Bool.self)
        Task { report.yield((try? await store.ping()) != nil) }
        let limit = Task {
            try? await Task.sleep(for: .seconds(2))
            report.yield(false)
        }
        defer { limit.cancel() }
        return await results.first { _ in true } ?? false
    }
}
