// SPDX-License-Identifier: Apache-2.0

internal import GatewayCore
internal import GatewayMetering
internal import GatewayRelay
internal import NIOHTTP1

/// `GET /api/oauth/usage`: a developer's own spend and limits, as of now.
struct UsageRoutes: Sendable {
    /// `nil` when spend is neither metered nor limited.
    let spend: SpendControl?

    func mount(on routes: RouteTable) {
        routes.get("/api/oauth/usage", .bearer) { context in
            guard let caller = context.caller else { return .error(.invalidToken, requestID: context.requestID) }
            guard let spend = self.spend else { return .text(.notFound, "not configured") }
            let developer = SpendCaller(caller.principal)
            guard let state = await spend.services.guardian.read(developer) else {
                return .text(.serviceUnavailable, "spend limit unavailable")
            }
            return .json(
                .ok, SpendUsageReport.make(developer, state, spend.rules.mode, now: .now),
                headers: ["cache-control": "no-store"])
        }
    }
}
