// SPDX-License-Identifier: Apache-2.0

/// An amount of US dollars in whole nano-dollars. One cent is 10,000,000 of them.
///
/// Sums stop at the ends of `Int64` (9.2 billion dollars) instead of trapping: a counter that high blocks everything
/// that a limit could block.
package struct Money: Sendable, Hashable, Comparable {
    package static let perCent: Int64 = 10_000_000
    package static let perDollar: Int64 = 1_000_000_000
    package static let zero = Money(nanodollars: 0)

    package var nanodollars: Int64

    package init(nanodollars: Int64) {
        self.nanodollars = nanodollars
    }

    /// - Parameter cents: Beyond what fits, the largest amount.
    package init(cents: Int64) {
        let (value, overflows) = cents.multipliedReportingOverflow(by: Self.perCent)
        self.nanodollars = overflows ? (cents < 0 ? .min : .max) : value
    }

    /// Whole cents, rounded down.
    package var wholeCents: Int64 {
        let (quotient, remainder) = self.nanodollars.quotientAndRemainder(dividingBy: Self.perCent)
        return remainder < 0 ? quotient - 1 : quotient
    }

    /// Cents in decimal digits: `1234.568`, `0`; without trailing zeros.
    ///
    /// - Parameter places: Digits behind the point, 0 to 7; the rest is rounded half up.
    package func cents(places: Int = 7) -> String {
        Self.decimal(self.nanodollars, scale: 7, places: places)
    }

    /// Dollars in decimal digits, with at least two of them behind the point: `12.30`.
    package func dollars(places: Int = 9) -> String {
        let text = Self.decimal(self.nanodollars, scale: 9, places: places)
        guard let point = text.firstIndex(of: ".") else { return text + ".00" }
        return text.distance(from: point, to: text.endIndex) < 3 ? text + "0" : text
    }

    private static func decimal(_ value: Int64, scale: Int, places: Int) -> String {
        func power(_ exponent: Int) -> UInt64 { (0..<exponent).reduce(1) { power, _ in power * 10 } }
        let step = power(scale - places)
        let magnitude = value.magnitude
        let rounded = magnitude / step + (magnitude % step * 2 >= step && step > 1 ? 1 : 0)
        let unit = power(places)
        var text = String(rounded / unit)
        var fraction = String(rounded % unit)
        if places > 0, rounded % unit > 0 {
            fraction = String(repeating: "0", count: places - fraction.count) + fraction
            while fraction.last == "0" { fraction.removeLast() }
            text += "." + fraction
        }
        return value < 0 && rounded > 0 ? "-" + text : text
    }

    package static func < (left: Money, right: Money) -> Bool {
        left.nanodollars < right.nanodollars
    }

    package static func + (left: Money, right: Money) -> Money {
        let (sum, overflows) = left.nanodollars.addingReportingOverflow(right.nanodollars)
        return Money(nanodollars: overflows ? (right.nanodollars < 0 ? .min : .max) : sum)
    }

    package static func - (left: Money, right: Money) -> Money {
        let (difference, overflows) = left.nanodollars.subtractingReportingOverflow(right.nanodollars)
        return Money(nanodollars: overflows ? (right.nanodollars < 0 ? .max : .min) : difference)
    }

    package static func += (left: inout Money, right: Money) {
        left = left + right
    }
}
