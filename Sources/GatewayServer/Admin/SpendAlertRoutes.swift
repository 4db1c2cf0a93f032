// SPDX-License-Identifier: Apache-2.0

internal import GatewayCore
internal import GatewayMetering
internal import GatewayRelay
internal import NIOHTTP1

/// `POST /v1/organizations/spend_alerts/test`: sends each webhook a test at once, and says how it was taken.
struct SpendAlertRoutes: Sendable {
    static let base = "/v1/organizations/spend_alerts"

    let settings: AlertSettings
    let sender: AlertSender

    func methods(of path: String) -> [String]? { path == Self.base + "/test" ? ["POST"] : nil }

    func answer(_ administrator: AdminAccess.Administrator) async throws -> PlainResponse {
        guard !self.settings.webhooks.isEmpty else {
            throw AdminError.invalid("no webhook is configured: name one under admin.alerts.webhooks")
        }
        let id = "alrt_test_" + Hexadecimal.encode(RandomToken.bytes(8))
        let body: JSONValue = [
            "type": "spend_alert.test", "id": .string(id), "created_at": .string(Timestamp.now.description),
            "requested_by": .string(administrator.actor),
        ]
        let text = body.text()
        let data = await withTaskGroup(of: (Int, JSONValue).self) { group in
            for (index, webhook) in self.settings.webhooks.enumerated() {
                group.addTask {
                    let outcome = await self.sender.send(text, id: id, to: webhook)
                    let url = webhook.url.prefix { $0 != "?" && $0 != "#" }
                    return (
                        index,
                        [
                            "url": .string(String(url)), "status": outcome.isDelivered ? "delivered" : "failed",
                            "http_status": outcome.status.map { .integer(Int64($0)) } ?? .null,
                            "error": outcome.error.jsonOrNull,
                            "duration_ms": .integer(outcome.duration.wholeMilliseconds),
                        ]
                    )
                }
            }
            return await group.reduce(into: [(Int, JSONValue)]()) { $0.append($1) }
        }
        return .json(.ok, ["data": .array(data.sorted { $0.0 < $1.0 }.map(\.1))])
    }
}

extension Duration {
    fileprivate var wholeMilliseconds: Int64 {
        self.components.seconds * 1000 + self.components.attoseconds / 1_000_000_000_000_000
    }
}
