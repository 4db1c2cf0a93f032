// SPDX-License-Identifier: Apache-2.0

internal import GatewayClient
internal import GatewayCore

/// Whole days in UTC, as the gateway books spend.
struct SpendRange: Equatable {
    /// How `--from` and `--to` are written, for their help and their refusals.
    static let forms = "YYYY-MM-DD, today, yesterday, 7d (seven days with today), week, last-week, month or last-month"

    let first: CivilDate
    /// Belongs to the range.
    let last: CivilDate

    var start: Timestamp { self.first.start }
    /// The midnight after the last day.
    var end: Timestamp { CivilDate(day: self.last.day + 1).start }
    var days: Int { Int(self.last.day - self.first.day) + 1 }

    var description: String {
        self.first == self.last ? self.first.description : "\(self.first) to \(self.last)"
    }

    init(first: CivilDate, last: CivilDate) {
        self.first = first
        self.last = last
    }

    /// Reads `--from` and `--to`. Each names a span of days, of which the one gives the first and the other the last.
    ///
    /// - Parameters:
    ///   - from: Default: this month.
    ///   - to: Default: today. What lies in the future is left off.
    init(from: String?, to: String?, now: Timestamp) throws {
        let today = CivilDate(now)
        let begin = try Self.span("from", from ?? "month", today).first
        let end = min(try Self.span("to", to ?? "today", today).last, today)
        guard begin <= today else {
            throw ClientFailure.badRequest("--from \(begin) is in the future. Today is \(today) in UTC.")
        }
        guard begin <= end else {
            throw ClientFailure.badRequest("--to \(end) is before --from \(begin). Exchange them.")
        }
        self.init(first: begin, last: end)
    }

    private static func span(_ option: String, _ text: String, _ today: CivilDate) throws -> SpendRange {
        func day(_ offset: Int64) -> CivilDate { CivilDate(day: today.day + offset) }
        func period(_ period: SpendPeriod, at date: CivilDate) -> SpendRange {
            let next = CivilDate(period.reset(after: date.start))
            return SpendRange(
                first: CivilDate(period.start(of: date.start)), last: CivilDate(day: next.day - 1))
        }
        func previous(_ name: SpendPeriod) -> SpendRange {
            period(name, at: CivilDate(day: period(name, at: today).first.day - 1))
        }
        switch text {
        case "today": return SpendRange(first: today, last: today)
        case "yesterday": return SpendRange(first: day(-1), last: day(-1))
        case "week": return period(.weekly, at: today)
        case "last-week": return previous(.weekly)
        case "month": return period(.monthly, at: today)
        case "last-month": return previous(.monthly)
        default: break
        }
        if let date = CivilDate(text) { return SpendRange(first: date, last: date) }
        if let match = text.wholeMatch(of: /([0-9]{1,4})d/), let count = Int64(match.1), count > 0 {
            return SpendRange(first: day(1 - count), last: today)
        }
        throw ClientFailure.badRequest("--\(option) takes \(self.forms), not '\(text.singleLine)'.")
    }
}
