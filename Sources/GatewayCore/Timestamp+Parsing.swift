// SPDX-License-Identifier: Apache-2.0

extension Timestamp {
    /// A date, which is its midnight UTC, or a time of RFC 3339: `2026-11-23`, `2026-11-23T05:01:45.936+01:00`.
    package init?(rfc3339 text: String) {
        guard let date = CivilDate(String(text.prefix(10))) else { return nil }
        var milliseconds = date.start.milliseconds
        var rest = Array(text.utf8.dropFirst(10))[...]
        if rest.isEmpty {
            self.init(milliseconds: milliseconds)
            return
        }
        func digits(_ count: Int) -> Int64? {
            guard rest.count >= count, rest.prefix(count).allSatisfy({ (0x30...0x39).contains($0) }) else { return nil }
            defer { rest = rest.dropFirst(count) }
            return rest.prefix(count).reduce(0) { $0 * 10 + Int64($1 - 0x30) }
        }
        func take(_ bytes: [UInt8]) -> UInt8? {
            guard let byte = rest.first, bytes.contains(byte) else { return nil }
            rest = rest.dropFirst()
            return byte
        }
        let colon = UInt8(ascii: ":")
        guard take([UInt8(ascii: "T"), UInt8(ascii: "t"), UInt8(ascii: " ")]) != nil, let hour = digits(2), hour < 24,
            take([colon]) != nil, let minute = digits(2), minute < 60, take([colon]) != nil, let second = digits(2),
            second <= 60
        else { return nil }
        milliseconds += ((hour * 60 + minute) * 60 + second) * 1000
        if take([UInt8(ascii: ".")]) != nil {
            var scale: Int64 = 100
            guard rest.first.map({ (0x30...0x39).contains($0) }) == true else { return nil }
            while let digit = digits(1) {
                milliseconds += digit * scale
                scale /= 10
            }
        }
        if take([UInt8(ascii: "Z"), UInt8(ascii: "z")]) == nil {
            guard let sign = take([UInt8(ascii: "+"), UInt8(ascii: "-")]), let hours = digits(2), hours < 24,
                take([colon]) != nil, let minutes = digits(2), minutes < 60
            else { return nil }
            milliseconds += (sign == UInt8(ascii: "-") ? 1 : -1) * (hours * 60 + minutes) * 60_000
        }
        guard rest.isEmpty else { return nil }
        self.init(milliseconds: milliseconds)
    }
}
