// SPDX-License-Identifier: Apache-2.0

internal import GatewayRelay
internal import NIOCore
internal import NIOHTTP1

/// `POST /v1/metrics`, `/v1/logs`, `/v1/traces` (OTLP/HTTP): answered at once, whatever the collectors do.
struct TelemetryRoutes: Sendable {
    let relay: TelemetryRelay

    func mount(on routes: RouteTable) {
        for signal in TelemetrySettings.Signal.allCases {
            routes.post("/v1/\(signal.rawValue)", .bearer) { context in
                self.relay.pass(context.request, signal)
                return PlainResponse(status: .ok, body: .bytes(.init()))
            }
        }
    }
}
