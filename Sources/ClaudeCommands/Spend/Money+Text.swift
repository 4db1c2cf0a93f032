// SPDX-License-Identifier: Apache-2.0

internal import GatewayCore

/// Amounts as people write and read them, in dollars, and as the API does, in cents.
extension Money {
    /// Reads dollars: `12`, `12.5`, `0.005`, `$1,000`. At most nine digits behind the point; commas only where they
    /// part thousands. `nil` for anything else, and for what `Money` cannot hold.
    init?(dollars text: String) {
        var digits = Substring(text.trimmingSpaces)
        if digits.hasPrefix("$") { digits = digits.dropFirst() }
        guard digits.wholeMatch(of: /(?:[0-9]+|[0-9]{1,3}(?:,[0-9]{3})+)(?:\.[0-9]+)?/) != nil,
            let value = Self.scaled(digits.filter { $0 != "," }, places: 9)
        else { return nil }
        self.init(nanodollars: value)
    }

    /// Reads cents as the API writes them: `1234.5678`, `0`, `-3`.
    init?(cents text: String) {
        guard text.wholeMatch(of: /-?[0-9]+(?:\.[0-9]+)?/) != nil, let value = Self.scaled(text, places: 7) else {
            return nil
        }
        self.init(nanodollars: value)
    }

    /// - Parameter text: An optional sign, digits, and at most one point among them.
    /// - Returns: The number times ten to the power of `places`; `nil` when it has more places or does not fit.
    private static func scaled(_ text: some StringProtocol, places: Int) -> Int64? {
        let parts = text.split(separator: ".", omittingEmptySubsequences: false)
        let fraction = parts.count > 1 ? String(parts[1]) : ""
        guard fraction.count <= places else { return nil }
        return Int64(parts[0] + fraction + String(repeating: "0", count: places - fraction.count))
    }

    /// For people: `$1,234.56`, and below a cent up to four places, `$0.0042`.
    var text: String {
        let sign = self.nanodollars < 0 ? "-" : ""
        let amount = Money(nanodollars: self.nanodollars == .min ? .max : abs(self.nanodollars))
        guard amount > .zero else { return "$0.00" }
        if amount.nanodollars < Self.perDollar / 20_000 { return sign + "<$0.0001" }
        let digits = amount.dollars(places: amount.nanodollars < Self.perCent ? 4 : 2)
        let whole = digits.prefix { $0 != "." }
        return sign + "$" + whole.groupedByThousands + digits.dropFirst(whole.count)
    }

    /// The amount in cents when it is a whole number of them.
    var exactCents: Int64? {
        let (cents, rest) = self.nanodollars.quotientAndRemainder(dividingBy: Self.perCent)
        return rest == 0 ? cents : nil
    }
}

extension Int {
    /// `1,234,567`.
    var groupedByThousands: String {
        (self < 0 ? "-" : "") + String(self.magnitude).groupedByThousands
    }
}

extension StringProtocol {
    /// Digits with a comma before each three of them, from the right.
    fileprivate var groupedByThousands: String {
        var out = ""
        for (index, digit) in self.enumerated() {
            if index > 0, (self.count - index) % 3 == 0 { out += "," }
            out.append(digit)
        }
        return out
    }
}
