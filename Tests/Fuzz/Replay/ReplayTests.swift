// SPDX-License-Identifier: Apache-2.0

import Foundation
import FuzzTargets
import TestSupport
import Testing

/// Everything that fuzzing has found or was given to begin with, and some damage done to it.
@Suite("Fuzz corpora")
struct ReplayTests {
    private static let folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .appendingPathComponent("Corpus")

    /// How often each entry is damaged; more by GATEWAY_REPLAY_DAMAGE, where there is time for it.
    private static let damage = ProcessInfo.processInfo.environment["GATEWAY_REPLAY_DAMAGE"].flatMap { Int($0) } ?? 50

    @Test("hold nothing that breaks a rule", arguments: FuzzTarget.all.map(\.name))
    func replay(_ name: String) async throws {
        let target = try #require(FuzzTarget.all.first { $0.name == name })
        let folder = Self.folder.appendingPathComponent(name)
        let files = try FileManager.default.contentsOfDirectory(atPath: folder.path).sorted()
        #expect(!files.isEmpty, "\(name) has no corpus")
        let inputs = try files.map { Array(try Data(contentsOf: folder.appendingPathComponent($0))) }
        try await offPool {
            for (index, input) in inputs.enumerated() {
                target.run(input)
                guard !input.isEmpty else { continue }
                // The same damage at every run.
                var state = UInt64(index &+ 1) &* 0x9E37_79B9_7F4A_7C15
                for _ in 0..<(name == "http" ? 5 : Self.damage) {
                    state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
                    var damaged = input
                    damaged[Int(state >> 33) % damaged.count] = UInt8(truncatingIfNeeded: state >> 20)
                    // Two pieces of damage find what one does not.
                    if state & 1 == 0 {
                        damaged[Int(state >> 44) % damaged.count] = UInt8(truncatingIfNeeded: state >> 12)
                    }
                    if state & 7 == 0 { damaged.removeLast(Int(state >> 40) % damaged.count) }
                    target.run(damaged)
                }
            }
        }
    }
}
