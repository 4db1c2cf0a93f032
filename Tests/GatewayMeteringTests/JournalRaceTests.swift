// SPDX-License-Identifier: Apache-2.0

import Foundation
import GatewayCore
import GatewayStore
import Synchronization
import TestSupport
import Testing

@testable import GatewayMetering

@Suite("A journal that is written and read at once")
struct JournalRaceTests {
    private static func entry(_ number: Int) -> SpendEntry {
        var entry = SpendEntry(
            at: Timestamp(seconds: 1_800_000_000), principal: "somebody", requestID: "r-\(number)", model: "m",
            upstream: "u", upstreamModel: "m", amount: Money(nanodollars: 1))
        entry.id = TimeOrderedID.make()
        return entry
    }

    @Test("hands over every entry that is written while it is being read")
    func concurrentAppend() async throws {
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent("journal-\(UUID().uuidString)")
        defer { try? FileManager.default.removeItem(at: folder) }
        let journal = SpendJournal(folder: folder.path, ledger: "l")
        let count = 3000
        let handed = Mutex<Set<String>>([])
        let isDone = Mutex(false)
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { @Sendable in
                for number in 0..<count / 10 {
                    try await offPool { try journal.append((0..<10).map { Self.entry(number * 10 + $0) }) }
                }
                isDone.withLock { $0 = true }
            }
            group.addTask { @Sendable in
                while true {
                    let wasDone = isDone.withLock { $0 }
                    _ = try await journal.replay { entries in
                        handed.withLock { $0.formUnion(entries.flatMap(\.requestIDs)) }
                    }
                    if wasDone { return }
                    await Task.yield()
                }
            }
            try await group.waitForAll()
        }
        #expect(handed.withLock { $0.count } == count)
        #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path).isEmpty)
    }
}
