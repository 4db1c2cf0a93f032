// SPDX-License-Identifier: Apache-2.0

internal import Synchronization

#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Musl)
    internal import Musl
#else
    internal import Darwin
#endif

/// Random numbers for ids, which must be unique and need not be secret: fetched many at a time, because each call of the
/// kernel costs more than all else of an id.
enum RandomNumbers {
    private static let ready = Mutex<[UInt64]>([])

    static func pair() -> (UInt64, UInt64) {
        self.ready.withLock { ready in
            if ready.count < 2 { ready = self.fetch() }
            return (ready.removeLast(), ready.removeLast())
        }
    }

    /// As many as the kernel gives at once.
    private static func fetch() -> [UInt64] {
        var numbers = [UInt64](repeating: 0, count: 32)
        let result = numbers.withUnsafeMutableBytes { getentropy($0.baseAddress!, $0.count) }
        guard result == 0 else {
            var generator = SystemRandomNumberGenerator()
            return (0..<32).map { _ in generator.next() }
        }
        return numbers
    }
}
