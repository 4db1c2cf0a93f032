// SPDX-License-Identifier: Apache-2.0

package import GatewayCore

/// Alerts that are to be delivered: `spend_alerts`. A row stays after the delivery, so that no replica sends it again.
extension SpendStore where Self: SQLStore {
    package func insertAlerts(_ alerts: [SpendAlertRow], now: Timestamp) async throws {
        guard !alerts.isEmpty else { return }
        try await self.transaction(timeout: .seconds(5)) { session in
            for alert in alerts {
                _ = try session.rows(
                    """
                    INSERT INTO spend_alerts (id, webhook, body, created_at, attempts, next_attempt_at, delivered_at)
                    VALUES ($1, $2, $3, \(self.dialect.integer("$4")), 0, \(self.dialect.integer("$4")),
                        \(self.dialect.integer("$5")))
                    ON CONFLICT (id) DO NOTHING
                    """,
                    [
                        alert.id, alert.webhook, alert.body, String(now.milliseconds),
                        alert.isSuperseded ? String(now.milliseconds) : nil,
                    ])
            }
        }
    }

    /// Takes alerts whose time has come, for this replica alone until the next attempt is due.
    package func claimAlerts(limit: Int, retryAt: Timestamp, now: Timestamp) async throws -> [SpendAlertRow] {
        try await self.transaction(timeout: .seconds(5)) { session in
            let rows = try session.rows(
                """
                UPDATE spend_alerts SET attempts = attempts + 1, next_attempt_at = \(self.dialect.integer("$2"))
                WHERE id IN (
                    SELECT id FROM spend_alerts WHERE delivered_at IS NULL
                        AND next_attempt_at <= \(self.dialect.integer("$1"))
                    ORDER BY next_attempt_at LIMIT \(self.dialect.integer("$3")))
                AND delivered_at IS NULL AND next_attempt_at <= \(self.dialect.integer("$1"))
                RETURNING id, webhook, body, attempts
                """, [String(now.milliseconds), String(retryAt.milliseconds), String(limit)])
            return rows.compactMap { row in
                guard let id = row[0], let webhook = row[1], let body = row[2] else { return nil }
                var alert = SpendAlertRow(id: id, webhook: webhook, body: body)
                alert.attempts = row[3].flatMap { Int($0) } ?? 1
                return alert
            }
        }
    }

    package func endAlert(_ id: String, nextAttempt: Timestamp?, now: Timestamp) async throws {
        try await self.transaction(timeout: .seconds(5)) { session in
            guard let nextAttempt else {
                _ = try session.rows(
                    "UPDATE spend_alerts SET delivered_at = \(self.dialect.integer("$2")) WHERE id = $1",
                    [id, String(now.milliseconds)])
                return
            }
            _ = try session.rows(
                "UPDATE spend_alerts SET next_attempt_at = \(self.dialect.integer("$2")) WHERE id = $1",
                [id, String(nextAttempt.milliseconds)])
        }
    }

    package func sweepAlerts(before time: Timestamp) async throws {
        try await self.transaction(timeout: .seconds(10)) { session in
            _ = try session.rows(
                "DELETE FROM spend_alerts WHERE created_at < \(self.dialect.integer("$1"))",
                [String(time.milliseconds)])
        }
    }
}

/// One alert for one webhook.
package struct SpendAlertRow: Sendable, Equatable {
    /// Whose counter, which period and threshold, and which webhook: the same on every replica.
    package var id: String
    package var webhook: String
    package var body: String
    package var attempts = 0
    /// A higher threshold was passed at the same time: noted as sent, and not sent.
    package var isSuperseded = false

    package init(id: String, webhook: String, body: String) {
        self.id = id
        self.webhook = webhook
        self.body = body
    }
}
