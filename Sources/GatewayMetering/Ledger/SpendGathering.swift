// SPDX-License-Identifier: Apache-2.0

internal import GatewayCore
internal import GatewayStore

/// Takes the metered answers of one thread, and hands them to the books together: of answers that come at the same time
/// many are one developer's for one model. Confined to its thread.
package final class SpendGathering: Gathering {
    private struct Gathered {
        let ledger: SpendLedger
        let principal: Principal
        let source: SpendSource
        var entry: SpendEntry
    }

    /// Of so many it is seen whether an answer is like them; the books look at all.
    private static let compared = 4

    private var gathered: [Gathered] = []
    private var isClosed = false

    package init() {}

    /// Takes an answer that has a share of what its developer has left and no other debts.
    ///
    /// - Parameter entry: Makes one of it, if it is like none before it.
    func record(
        _ ledger: SpendLedger, _ principal: Principal, _ source: SpendSource, _ amounts: SpendEntry.Amounts,
        at: Timestamp, pool: String?, requestID: RequestID, entry: () -> SpendEntry,
    ) {
        if self.isClosed {
            ledger.record(entry())
            return
        }
        for index in self.gathered.indices.suffix(Self.compared)
        where self.gathered[index].principal === principal && self.gathered[index].source === source
            && self.gathered[index].ledger === ledger && self.gathered[index].entry.isOfMinute(of: at)
            && self.gathered[index].entry.pool == pool
        {
            self.gathered[index].entry.add(amounts, at: at, requestID: requestID.description)
            return
        }
        self.gathered.append(Gathered(ledger: ledger, principal: principal, source: source, entry: entry()))
    }

    package func flush() {
        guard !self.gathered.isEmpty else { return }
        for one in self.gathered { one.ledger.record(one.entry) }
        self.gathered.removeAll(keepingCapacity: true)
    }

    /// Nobody will call `flush` any more: what still comes goes to the books at once.
    package func close() {
        self.flush()
        self.isClosed = true
    }
}
