// SPDX-License-Identifier: Apache-2.0

internal import GatewayRelay
internal import GatewayTelemetry
internal import NIOCore
internal import NIOHTTP1

/// `POST /v1/metrics`, `/v1/logs`, `/v1/traces` (OTLP/HTTP): answered at once, whatever the collectors do.
struct TelemetryRoutes: Sendable {
    let relay: TelemetryRelay

    func mount(on routes: RouteTable) {
        for signal in TelemetrySettings.Signal.allCases {
            routes.post("/v1/\(signal.rawValue)", .bearer) { context in
                guard let caller = context.caller else { return .text(.unauthorized, "unauthorized") }
                let request = context.request
                do throws(ExportIdentity.Refusal) {
                    try self.relay.pass(
                        Array(request.body.readableBytesView), signal,
                        contentType: request.headers.first(name: "content-type"),
                        contentEncoding: request.headers.first(name: "content-encoding"), from: caller.principal,
                        requestID: context.requestID)
                } catch {
                    // OTLP clients do not send a 400 again.
                    return .text(.badRequest, error.description)
                }
                return PlainResponse(status: .ok, body: .bytes(.init()))
            }
        }
    }
}
