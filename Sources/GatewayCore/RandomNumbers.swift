// SPDX-License-Identifier: Apache-2.0

internal import Synchronization

/// Random numbers for ids, which must be unique and need not be secret: fetched many at a time, because each call of the
/// kernel costs more than all else of an id.
enum RandomNumbers {
    private static let ready = Mutex<[UInt64]>([])

    static func pair() -> (UInt64, UInt64) {
        self.ready.withLock { ready in
            if ready.count < 2 {
                ready = RandomToken.bytes(RandomToken.atOnce).withUnsafeBytes { Array($0.bindMemory(to: UInt64.self)) }
            }
            return (ready.removeLast(), ready.removeLast())
        }
    }
}
