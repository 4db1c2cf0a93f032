// SPDX-License-Identifier: Apache-2.0

internal import GatewayCore
internal import GatewayHTTPClient
internal import GatewayRelay
internal import Logging
internal import NIOCore
internal import NIOHTTP1
internal import Synchronization

/// Passes developers' OTLP exports on to the operator's collectors, byte for byte. Each destination has a bounded
/// number of exports on their way; what comes while it is full is dropped, so that a dead collector costs nobody memory.
final class TelemetryRelay: Sendable {
    private static let maximumInFlight = 64
    private static let maximumBytes = 32 << 20
    /// After this many failures in a row a destination is left alone for a while; then one export tries it.
    private static let tripsAfter = 5
    private static let rest = Duration.seconds(30)

    private let settings: TelemetrySettings
    private let client: OutboundClient
    private let log: Logger
    private let inFlight: Mutex<[InFlight]>

    private struct InFlight {
        var count = 0
        var bytes = 0
        var failures = 0
        var restsUntil: ContinuousClock.Instant?
    }

    init(settings: TelemetrySettings, client: OutboundClient, log: Logger) {
        self.settings = settings
        self.client = client
        self.log = log
        self.inFlight = Mutex(settings.destinations.map { _ in InFlight() })
    }

    func pass(_ request: PlainRequest, _ signal: TelemetrySettings.Signal) {
        let body = Array(request.body.readableBytesView)
        let size = body.count
        for (index, destination) in self.settings.destinations.enumerated() where destination.signals.contains(signal) {
            let hasRoom = self.inFlight.withLock { states in
                let (count, bytes) = (states[index].count, states[index].bytes)
                if let end = states[index].restsUntil {
                    let now = ContinuousClock.now
                    guard now >= end else { return false }
                    // This one tries; the others go on waiting for what becomes of it.
                    states[index].restsUntil = now + Self.rest
                }
                // One export may be larger than the bound; several together may not.
                guard count < Self.maximumInFlight, count == 0 || bytes + size <= Self.maximumBytes else {
                    return false
                }
                states[index].count += 1
                states[index].bytes += size
                return true
            }
            guard hasRoom else { continue }
            var headers: [(name: String, value: String)] = []
            for name in ["content-type", "content-encoding"] {
                if let value = request.headers.first(name: name) { headers.append((name, value)) }
            }
            headers += destination.headers
            let export = OutboundRequest(
                "POST", "\(destination.url)/v1/\(signal.rawValue)", headers: headers,
                body: body, timeout: .seconds(10))
            Task { await self.send(export, index) }
        }
    }

    private func send(_ export: OutboundRequest, _ index: Int) async {
        var failure: String?
        do {
            let response = try await self.client.send(export)
            if response.status >= 300 { failure = "HTTP \(response.status)" }
        } catch {
            failure = "\(error)"
        }
        let (isNews, isTripped) = self.inFlight.withLock { states -> (Bool, Bool) in
            states[index].count -= 1
            states[index].bytes -= export.body?.count ?? 0
            let before = states[index].failures
            guard failure != nil else {
                states[index].failures = 0
                states[index].restsUntil = nil
                return (before > 0, false)
            }
            states[index].failures = before + 1
            let isTripped = before + 1 >= Self.tripsAfter
            if isTripped { states[index].restsUntil = .now + Self.rest }
            return (before == 0 || before + 1 == Self.tripsAfter, isTripped)
        }
        // When it begins, when the destination is left alone, and when it ends: not for every export.
        if isNews {
            let host = WebURL(self.settings.destinations[index].url)?.authority ?? ""
            if let failure {
                self.log.warning(
                    isTripped
                        ? "a telemetry destination keeps failing and is left alone for \(Self.rest.components.seconds) s"
                        : "a telemetry destination fails", metadata: ["destination": "\(host)", "reason": "\(failure)"])
            } else {
                self.log.info("a telemetry destination works again", metadata: ["destination": "\(host)"])
            }
        }
    }
}
