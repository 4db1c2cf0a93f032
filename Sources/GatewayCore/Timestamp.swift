// SPDX-License-Identifier: Apache-2.0

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#else
    import Darwin
#endif

/// A point in time as milliseconds since 1970-01-01T00:00:00Z, with the one textual form that logs and rows use.
package struct Timestamp: Sendable, Hashable, Comparable {
    package let milliseconds: Int64

    package init(milliseconds: Int64) {
        self.milliseconds = milliseconds
    }

    package init(seconds: Int64) {
        self.milliseconds = seconds * 1000
    }

    package static var now: Timestamp {
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        return Timestamp(milliseconds: Int64(time.tv_sec) * 1000 + Int64(time.tv_nsec) / 1_000_000)
    }

    /// Whole seconds since the epoch, rounded down.
    package var seconds: Int64 {
        self.milliseconds >= 0 ? self.milliseconds / 1000 : (self.milliseconds - 999) / 1000
    }

    package func advanced(bySeconds seconds: Double) -> Timestamp {
        Timestamp(milliseconds: self.milliseconds + Int64(seconds * 1000))
    }

    package static func < (left: Timestamp, right: Timestamp) -> Bool {
        left.milliseconds < right.milliseconds
    }
}

extension Timestamp: CustomStringConvertible {
    /// ISO 8601 in UTC with milliseconds: `2026-11-23T05:01:45.936Z`.
    package var description: String {
        String(unsafeUninitializedCapacity: 24) { bytes in
            self.write(to: bytes.baseAddress!)
            return 24
        }
    }

    /// Writes the 24 bytes of `description`. Years before 0 and beyond 9999 are written as those.
    package func write(to bytes: UnsafeMutablePointer<UInt8>) {
        // From 0000-01-01 to 9999-12-31, as seconds since 1970.
        let seconds = min(max(self.seconds, -62_167_219_200), 253_402_300_799)
        let fraction = Int(min(max(self.milliseconds - seconds * 1000, 0), 999))
        let date = CivilDate(Timestamp(seconds: seconds))
        let second = Int(seconds - date.day * 86_400)
        @inline(__always) func put(_ value: Int, _ at: Int) {
            let value = UInt32(truncatingIfNeeded: value)
            let tens = value / 10
            bytes[at] = 0x30 &+ UInt8(truncatingIfNeeded: tens)
            bytes[at &+ 1] = 0x30 &+ UInt8(truncatingIfNeeded: value &- tens &* 10)
        }
        put(date.year / 100, 0)
        put(date.year % 100, 2)
        put(date.month, 5)
        put(date.dayOfMonth, 8)
        put(second / 3600, 11)
        put(second / 60 % 60, 14)
        put(second % 60, 17)
        put(fraction / 10, 20)
        bytes[22] = 0x30 &+ UInt8(truncatingIfNeeded: fraction % 10)
        (bytes[4], bytes[7], bytes[10], bytes[13]) = (0x2D, 0x2D, 0x54, 0x3A)
        (bytes[16], bytes[19], bytes[23]) = (0x3A, 0x2E, 0x5A)
    }
}
