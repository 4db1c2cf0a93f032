// SPDX-License-Identifier: Apache-2.0

internal import Crypto
internal import Foundation
internal import GatewayCore
internal import GatewayHTTPClient
internal import GatewayMetering

/// Sends one alert to one webhook, signed as Standard Webhooks are
/// (<https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md>).
struct AlertSender: Sendable {
    struct Outcome: Sendable {
        let status: Int?
        let error: String?
        let duration: Duration

        var isDelivered: Bool { self.error == nil }
    }

    let client: OutboundClient

    func send(_ body: String, id: String, to webhook: AlertSettings.Webhook) async -> Outcome {
        let bytes = Array(body.utf8)
        let time = String(Timestamp.now.seconds)
        let request = OutboundRequest(
            "POST", webhook.url,
            headers: [
                ("content-type", "application/json"), ("webhook-id", id), ("webhook-timestamp", time),
                ("webhook-signature", Self.signature(bytes, id: id, time: time, secret: webhook.secret)),
            ].map { (name: $0.0, value: $0.1) }, body: bytes, timeout: .seconds(10))
        let start = ContinuousClock.now
        do {
            let answer = try await self.client.send(request)
            let isGood = (200..<300).contains(answer.status)
            return Outcome(
                status: answer.status, error: isGood ? nil : "HTTP \(answer.status)", duration: .now - start)
        } catch {
            return Outcome(status: nil, error: "\(error)", duration: .now - start)
        }
    }

    static func signature(_ body: [UInt8], id: String, time: String, secret: Secret) -> String {
        let text = secret.reveal()
        let encoded = text.hasPrefix("whsec_") ? Data(base64Encoded: String(text.dropFirst(6))) : nil
        let key = SymmetricKey(data: encoded ?? Data(text.utf8))
        let code = HMAC<SHA256>.authenticationCode(for: Array("\(id).\(time).".utf8) + body, using: key)
        return "v1," + Data(code).base64EncodedString()
    }
}
