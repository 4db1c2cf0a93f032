// SPDX-License-Identifier: Apache-2.0

internal import CommandLineSyntax
internal import GatewayClient
internal import GatewayCore

/// Options that several commands about spend take, and how their values are read.
extension OptionSpec {
    static let spendPeriod = OptionSpec(
        "period", value: "PERIOD", .choice(SpendPeriod.allCases.map(\.rawValue)),
        help: "daily, weekly or monthly. Periods begin at midnight UTC.")
    static let reason = OptionSpec("reason", value: "TEXT", help: "Why; kept with the change.")
}

extension Invocation {
    /// An amount of dollars as the API takes limits: whole cents in decimal digits.
    ///
    /// - Returns: `nil` when the option is not given.
    func wholeCents(_ name: String) throws -> String? {
        guard let text = self.value(name) else { return nil }
        guard let amount = Money(dollars: text) else {
            throw ClientFailure.badRequest(
                "--\(name) takes dollars, such as 12, 12.50 or 1,000, not '\(text.singleLine)'.")
        }
        guard let cents = amount.exactCents else {
            throw ClientFailure.badRequest(
                "--\(name) takes whole cents, such as 12.34, not '\(text.singleLine)'.")
        }
        return String(cents)
    }

    /// A count.
    ///
    /// - Returns: `nil` when the option is not given.
    func positiveNumber(_ name: String) throws -> Int? {
        guard let text = self.value(name) else { return nil }
        guard let number = Int(text), number > 0 else {
            throw ClientFailure.badRequest("--\(name) takes a positive number, not '\(text.singleLine)'.")
        }
        return number
    }

    /// A moment to come: `7d` and `12h` from now, or a date, which counts to its end in UTC.
    ///
    /// - Returns: `nil` when the option is not given.
    func deadline(_ name: String, now: Timestamp) throws -> Timestamp? {
        guard let text = self.value(name) else { return nil }
        if let match = text.wholeMatch(of: /([0-9]{1,4})([dh])/), let count = Int64(match.1), count > 0 {
            return Timestamp(milliseconds: now.milliseconds + count * (match.2 == "d" ? 86_400_000 : 3_600_000))
        }
        guard let date = CivilDate(text) else {
            throw ClientFailure.badRequest(
                "--\(name) takes YYYY-MM-DD, or a time from now such as 7d or 12h, not '\(text.singleLine)'.")
        }
        let end = CivilDate(day: date.day + 1).start
        guard end > now else {
            throw ClientFailure.badRequest("--\(name) \(text) is over. Today is \(CivilDate(now)) in UTC.")
        }
        return end
    }
}

/// How the API's values are shown to people.
enum SpendText {
    /// Cents in decimal digits as dollars; what `Money` cannot hold stays in cents.
    static func amount(_ json: JSONValue?, null: String) -> String {
        guard let text = json?.string else { return null }
        return Money(cents: text)?.text ?? "\(text) cents"
    }

    /// `2026-11-25 14:03`; empty for null.
    static func time(_ json: JSONValue?) -> String {
        guard let text = json?.string else { return "" }
        return Timestamp(rfc3339: text)?.minuteText ?? text
    }
}
