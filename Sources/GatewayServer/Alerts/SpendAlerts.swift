// SPDX-License-Identifier: Apache-2.0

internal import GatewayCore
internal import GatewayMetering
internal import GatewayStore
internal import Logging
internal import Synchronization

/// Tells webhooks when spend passes a share of a limit: once for each counter, period, amount and threshold, whichever
/// replica sees it, and again until the webhook has taken it.
final class SpendAlerts: Sendable {
    private static let round = Duration.seconds(2)
    private static let budgetRounds = 30
    /// How long a replica has an alert to itself while it sends it.
    private static let claim: Int64 = 60_000
    /// Waits before the second attempt and the following ones; the last one is repeated. After a day it is given up.
    private static let backoff: [Int64] = [5_000, 30_000, 120_000, 600_000, 3_600_000]
    private static let maximumAttempts = 28

    /// What is measured against what.
    private struct Gauge {
        let scope: JSONObject
        /// Tells it from all others.
        let name: String
        let period: SpendPeriod
        let spend: Money
        let amount: Int64
    }

    private let settings: AlertSettings
    private let mode: AdminSettings.GroupLimitMode
    private let store: any SpendStore
    private let watch: SpendWatch
    private let sender: AlertSender
    private let log: Logger
    /// Ids that are in the store already.
    private let known = Mutex<Set<String>>([])

    init(
        settings: AlertSettings, mode: AdminSettings.GroupLimitMode, store: any SpendStore, watch: SpendWatch,
        sender: AlertSender, log: Logger,
    ) {
        self.settings = settings
        self.mode = mode
        self.store = store
        self.watch = watch
        self.sender = sender
        self.log = log
    }

    /// Works until it is cancelled.
    func run() async {
        var count = 0
        while !Task.isCancelled {
            do {
                try await self.look(includesBudgets: count % Self.budgetRounds == 0)
                try await self.deliver()
            } catch {
                self.log.debug("alerts wait for the store", metadata: ["reason": "\(error)"])
            }
            count += 1
            try? await Task.sleep(for: Self.round)
        }
    }

    // MARK: Looking

    private func look(includesBudgets: Bool) async throws {
        let now = Timestamp.now
        let changes = self.watch.take()
        do {
            var gauges = try await self.gauges(changes, now)
            if includesBudgets { gauges += try await self.budgets(now) }
            try await self.note(gauges, now)
        } catch {
            // The counters may not change again for this; the next look must find them.
            self.watch.putBack(changes)
            throw error
        }
    }

    private func gauges(_ changes: SpendWatch.Changes, _ now: Timestamp) async throws -> [Gauge] {
        let (principals, paidBy) = (Array(changes.principals), Array(changes.groups))
        var gauges: [Gauge] = []
        for first in stride(from: 0, to: principals.count, by: 500) {
            let some = Array(principals[first..<min(principals.count, first + 500)])
            let identities = try await self.store.identities(some)
            let groups = Set(identities.values.flatMap(\.groups) + paidBy)
            let state = try await self.store.spendState(principals: some, groups: Array(groups), now: now)
            for principal in some {
                let identity = identities[principal] ?? PrincipalIdentity()
                let caller = SpendCaller(principal: principal, groups: identity.groups)
                for cap in state.caps(of: caller, self.mode, at: now) {
                    guard let amount = cap.amount, amount > 0 else { continue }
                    gauges.append(
                        Gauge(
                            scope: [
                                "type": "user", "user_id": .string(principal), "email": identity.email.jsonOrNull,
                            ], name: "user \(principal)", period: cap.period, spend: cap.spend, amount: amount))
                }
            }
            if first == 0 {
                gauges += state.activePools(of: paidBy).filter { $0.amount > 0 }.map { pool in
                    Gauge(
                        scope: ["type": "group_pool", "rbac_group_id": .string(pool.group)],
                        name: "pool \(pool.group)", period: .monthly, spend: pool.spend, amount: pool.amount)
                }
            }
        }
        return gauges
    }

    private func budgets(_ now: Timestamp) async throws -> [Gauge] {
        var gauges: [Gauge] = []
        for budget in self.settings.budgets {
            // Whole days, so that sums of days are read and not every request.
            let end = SpendPeriod.daily.reset(after: now)
            var query = SpendReportQuery(from: budget.period.start(of: now), to: end)
            query.bucket = .all
            if let group = budget.group { query.groups = [group] }
            let spend = try await self.store.report(query).reduce(Money.zero) { $0 + $1.amount }
            let scope: JSONObject =
                budget.group.map { ["type": "rbac_group", "rbac_group_id": .string($0)] } ?? ["type": "organization"]
            gauges.append(
                Gauge(
                    scope: scope, name: "budget \(budget.group ?? "")", period: budget.period, spend: spend,
                    amount: budget.amount))
        }
        return gauges
    }

    private func note(_ gauges: [Gauge], _ now: Timestamp) async throws {
        var rows: [SpendAlertRow] = []
        for gauge in gauges {
            let used = Utilization(spend: gauge.spend, limit: Money(cents: gauge.amount))
            let passed = self.settings.thresholds.filter { used.hasReached(percent: Int64($0)) }
            for threshold in passed {
                for webhook in self.settings.webhooks {
                    let key = [
                        gauge.name, gauge.period.key(at: now), String(gauge.amount), String(threshold), webhook.url,
                    ].joined(separator: "\n")
                    let id = "alrt_" + Digest.hexadecimal(key).prefix(32)
                    let isKnown = self.known.withLock { known in
                        if known.count > 100_000 { known.removeAll() }
                        return !known.insert(id).inserted
                    }
                    if isKnown { continue }
                    var row = SpendAlertRow(
                        id: id, webhook: webhook.url,
                        body: self.body(gauge, used, threshold: threshold, id: id, now: now))
                    row.isSuperseded = threshold != passed.last
                    rows.append(row)
                }
            }
        }
        do {
            try await self.store.insertAlerts(rows, now: now)
        } catch {
            self.known.withLock { $0.subtract(rows.map(\.id)) }
            throw error
        }
    }

    private func body(_ gauge: Gauge, _ used: Utilization, threshold: Int, id: String, now: Timestamp) -> String {
        let object: JSONObject = [
            "type": "spend_alert", "id": .string(id), "created_at": .string(now.description),
            "threshold_percent": .integer(Int64(threshold)), "utilization_percent": .integer(Int64(used.percent)),
            "scope": .object(gauge.scope), "period": .string(gauge.period.rawValue),
            "period_ends_at": .string(gauge.period.reset(after: now).description),
            "amount": .string(String(gauge.amount)), "spend": .string(gauge.spend.cents(places: 3)),
            "currency": "USD",
        ]
        return JSONValue.object(object).text()
    }

    // MARK: Delivering

    private func deliver() async throws {
        guard !self.settings.webhooks.isEmpty else { return }
        let now = Timestamp.now
        let claimed = try await self.store.claimAlerts(
            limit: 20, retryAt: Timestamp(milliseconds: now.milliseconds + Self.claim), now: now)
        for alert in claimed {
            guard let webhook = self.settings.webhooks.first(where: { $0.url == alert.webhook }) else {
                // The configuration names it no more.
                try await self.store.endAlert(alert.id, nextAttempt: nil, now: now)
                continue
            }
            let outcome = await self.sender.send(alert.body, id: alert.id, to: webhook)
            guard let error = outcome.error else {
                try await self.store.endAlert(alert.id, nextAttempt: nil, now: .now)
                continue
            }
            let isLast = alert.attempts >= Self.maximumAttempts
            self.log.warning(
                isLast ? "a spend alert was not taken for a day and is given up" : "a spend alert was not taken",
                metadata: [
                    "alert": "\(alert.id)", "webhook": "\(WebURL(webhook.url)?.authority ?? "")", "reason": "\(error)",
                ])
            let wait = Self.backoff[min(alert.attempts - 1, Self.backoff.count - 1)]
            let next = isLast ? nil : Timestamp(milliseconds: Timestamp.now.milliseconds + wait)
            try await self.store.endAlert(alert.id, nextAttempt: next, now: .now)
        }
    }
}
