// SPDX-License-Identifier: Apache-2.0

internal import Synchronization

/// The span of time that a limit and a sum of spend are for. All of them begin at midnight UTC.
package enum SpendPeriod: String, Sendable, Hashable, CaseIterable {
    case daily
    case weekly
    case monthly

    /// The period's key in the tables: `2026-11-23`, `2026-W48` (ISO 8601, by the week's own year), `2026-11`.
    package func key(at time: Timestamp) -> String {
        let day = CivilDate.day(of: time)
        let keys = Self.lastKeys.withLock { last in
            if last.day != day {
                let date = CivilDate(day: day)
                last = Keys(
                    day: day, daily: Self.daily.key(of: date), weekly: Self.weekly.key(of: date),
                    monthly: Self.monthly.key(of: date))
            }
            return last
        }
        return switch self {
        case .daily: keys.daily
        case .weekly: keys.weekly
        case .monthly: keys.monthly
        }
    }

    /// The keys of the day that was asked for last: they are asked for with each request.
    private struct Keys {
        var day = Int64.min
        var daily = "", weekly = "", monthly = ""
    }

    private static let lastKeys = Mutex(Keys())

    private func key(of date: CivilDate) -> String {
        switch self {
        case .daily: return date.description
        case .weekly:
            let (year, week) = date.isoWeek
            return "\(year)-W\(week < 10 ? "0" : "")\(week)"
        case .monthly: return String(date.description.dropLast(3))
        }
    }

    /// When the period that holds `time` ends and the next begins.
    package func reset(after time: Timestamp) -> Timestamp {
        let date = CivilDate(time)
        switch self {
        case .daily: return CivilDate(day: date.day + 1).start
        case .weekly: return CivilDate(day: date.day - Int64(date.weekday) + 7).start
        case .monthly:
            return date.month == 12
                ? CivilDate(year: date.year + 1, month: 1, dayOfMonth: 1).start
                : CivilDate(year: date.year, month: date.month + 1, dayOfMonth: 1).start
        }
    }

    /// When the period that holds `time` began.
    package func start(of time: Timestamp) -> Timestamp {
        let date = CivilDate(time)
        switch self {
        case .daily: return date.start
        case .weekly: return CivilDate(day: date.day - Int64(date.weekday)).start
        case .monthly: return CivilDate(year: date.year, month: date.month, dayOfMonth: 1).start
        }
    }
}

/// A day of the Gregorian calendar in UTC.
package struct CivilDate: Sendable, Hashable, Comparable, CustomStringConvertible {
    /// Days since 1970-01-01.
    package let day: Int64
    package let year: Int
    package let month: Int
    package let dayOfMonth: Int

    package init(_ time: Timestamp) {
        self.init(day: Self.day(of: time))
    }

    static func day(of time: Timestamp) -> Int64 {
        let seconds = time.seconds
        return seconds >= 0 ? seconds / 86400 : (seconds - 86399) / 86400
    }

    /// Source: <https://howardhinnant.github.io/date_algorithms.html#civil_from_days>.
    package init(day: Int64) {
        self.day = day
        let shifted = day + 719_468
        let era = (shifted >= 0 ? shifted : shifted - 146_096) / 146_097
        let dayOfEra = shifted - era * 146_097
        let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let shiftedMonth = (5 * dayOfYear + 2) / 153
        self.dayOfMonth = Int(dayOfYear - (153 * shiftedMonth + 2) / 5 + 1)
        self.month = Int(shiftedMonth < 10 ? shiftedMonth + 3 : shiftedMonth - 9)
        self.year = Int(yearOfEra + era * 400) + (self.month <= 2 ? 1 : 0)
    }

    package init(year: Int, month: Int, dayOfMonth: Int) {
        let shiftedYear = Int64(month <= 2 ? year - 1 : year)
        let era = (shiftedYear >= 0 ? shiftedYear : shiftedYear - 399) / 400
        let yearOfEra = shiftedYear - era * 400
        let dayOfYear = Int64((153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + dayOfMonth - 1)
        let dayOfEra = yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear
        self.init(day: era * 146_097 + dayOfEra - 719_468)
    }

    /// `2026-11-23`; `nil` for anything that is no such date.
    package init?(_ text: String) {
        let parts = text.split(separator: "-", omittingEmptySubsequences: false)
        guard text.utf8.count == 10, parts.count == 3, parts[0].count == 4, parts[1].count == 2,
            parts.allSatisfy({ $0.utf8.allSatisfy { (0x30...0x39).contains($0) } }),
            let year = Int(parts[0]), let month = Int(parts[1]), let day = Int(parts[2])
        else { return nil }
        guard (1...12).contains(month), (1...31).contains(day) else { return nil }
        self.init(year: year, month: month, dayOfMonth: day)
        guard self.month == month, self.dayOfMonth == day else { return nil }
    }

    /// Days since Monday.
    package var weekday: Int {
        Int(((self.day + 3) % 7 + 7) % 7)
    }

    /// ISO 8601: the week belongs to the year of its Thursday.
    package var isoWeek: (year: Int, week: Int) {
        let thursday = CivilDate(day: self.day - Int64(self.weekday) + 3)
        let newYear = CivilDate(year: thursday.year, month: 1, dayOfMonth: 1)
        return (thursday.year, Int(thursday.day - newYear.day) / 7 + 1)
    }

    package var start: Timestamp { Timestamp(seconds: self.day * 86400) }

    package static func < (left: CivilDate, right: CivilDate) -> Bool { left.day < right.day }

    private static let months = [
        "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
        "December",
    ]

    /// `November`.
    package var monthName: String { Self.months[self.month - 1] }

    package var description: String {
        func two(_ value: Int) -> String { value < 10 ? "0\(value)" : "\(value)" }
        // Four digits, so that days sort as texts.
        let year = (0...999).contains(self.year) ? String(String(self.year + 10_000).dropFirst()) : String(self.year)
        return "\(year)-\(two(self.month))-\(two(self.dayOfMonth))"
    }
}
