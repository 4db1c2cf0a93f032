// SPDX-License-Identifier: Apache-2.0

import Logging
import Synchronization
import TestSupport
import Testing
import UnixSignals

@testable import GatewayServer

@Suite("Signals")
struct SignalDeskTests {
    private final class Counter: Sendable {
        private let value = Atomic(0)
        var count: Int { self.value.load(ordering: .relaxed) }
        func add() { self.value.add(1, ordering: .relaxed) }
    }

    /// A desk, and the signals at which it would have ended the process.
    private func desk() async -> (SignalDesk, @Sendable () -> [UnixSignal]) {
        final class Left: Sendable {
            let signals = Mutex<[UnixSignal]>([])
        }
        let left = Left()
        let desk = await SignalDesk(Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }) { signal in
            left.signals.withLock { $0.append(signal) }
        }
        return (desk, { left.signals.withLock { $0 } })
    }

    @Test("end a gateway that starts, and have it read its file again once it serves")
    func starting() async {
        let (desk, left) = await self.desk()
        desk.receive(.sighup)
        #expect(left().isEmpty)
        desk.receive(.sigterm)
        desk.receive(.sigint)
        #expect(left() == [.sigterm, .sigint])
        let hangUps = Counter()
        let serving = Task { await desk.untilEnd { hangUps.add() } }
        #expect(await eventually { hangUps.count == 1 })
        serving.cancel()
        #expect(await serving.value == nil)
        #expect(left().count == 2)
    }

    @Test("begin the drain as soon as it serves, when it listens already")
    func listening() async {
        let (desk, left) = await self.desk()
        desk.listens()
        desk.receive(.sigint)
        desk.receive(.sighup)
        #expect(left().isEmpty)
        let hangUps = Counter()
        #expect(await desk.untilEnd { hangUps.add() } == .sigint)
        #expect(hangUps.count == 0 && !desk.isHurried)
        desk.receive(.sigint)
        #expect(desk.isHurried)
    }

    @Test("begin the drain, and end it at once when one comes again")
    func serving() async {
        let (desk, left) = await self.desk()
        desk.listens()
        let hangUps = Counter()
        async let first = desk.untilEnd { hangUps.add() }
        // Until it serves a signal waits for that.
        #expect(
            await eventually {
                desk.receive(.sighup)
                return hangUps.count > 0
            })
        desk.receive(.sigint)
        #expect(await first == .sigint)
        #expect(!desk.isHurried)
        let before = hangUps.count
        desk.receive(.sighup)
        #expect(!desk.isHurried && hangUps.count == before)
        desk.receive(.sigterm)
        #expect(desk.isHurried)
        #expect(left().isEmpty)
    }
}
