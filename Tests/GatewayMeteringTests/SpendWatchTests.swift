// SPDX-License-Identifier: Apache-2.0

import GatewayCore
import GatewayStore
import Testing

@testable import GatewayMetering

@Suite("The watch on counters")
struct SpendWatchTests {
    private static func totals(_ principal: String, pool: String) -> SpendTotals {
        var totals = SpendTotals()
        totals.spend = [principal: ["2026-11": Money(nanodollars: 1)]]
        totals.pools = [pool: ["2026-11": Money(nanodollars: 1)]]
        return totals
    }

    @Test("tells once whose counters have changed, and again what was put back")
    func changes() {
        let watch = SpendWatch()
        watch.note(Self.totals("u", pool: "g"))
        watch.note(Self.totals("v", pool: "g"))
        let changes = watch.take()
        #expect(changes.principals == ["u", "v"])
        #expect(changes.groups == ["g"])
        #expect(watch.take().principals.isEmpty)
        watch.putBack(changes)
        #expect(watch.take().groups == ["g"])
    }

    @Test("gathers nothing that nobody looks at")
    func unwatched() {
        let watch = SpendWatch()
        watch.note(Self.totals("u", pool: "g"))
        watch.setWatched(false)
        watch.note(Self.totals("v", pool: "g"))
        #expect(watch.take().principals.isEmpty)
        watch.setWatched(true)
        watch.note(Self.totals("w", pool: "g"))
        #expect(watch.take().principals == ["w"])
    }
}
