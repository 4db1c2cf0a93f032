// SPDX-License-Identifier: Apache-2.0

import Foundation
import GatewayCore
import Testing

@Suite("Spend periods")
struct SpendPeriodTests {
    private func time(_ text: String) throws -> Timestamp {
        try #require(Timestamp(rfc3339: text), "\(text) is no time")
    }

    @Test(
        "have the keys of the day, the ISO week and the month",
        arguments: [
            ("2026-11-23T05:01:45.936Z", "2026-11-23", "2026-W48", "2026-11"),
            ("2026-03-01", "2026-03-01", "2026-W09", "2026-03"),
            ("2026-08-09", "2026-08-09", "2026-W32", "2026-08"),
            ("2026-08-10", "2026-08-10", "2026-W33", "2026-08"),
            // The week belongs to the year of its Thursday.
            ("2026-12-31", "2026-12-31", "2026-W53", "2026-12"),
            ("2027-01-01", "2027-01-01", "2026-W53", "2027-01"),
            ("2027-01-03T23:59:59.999Z", "2027-01-03", "2026-W53", "2027-01"),
            ("2027-01-04", "2027-01-04", "2027-W01", "2027-01"),
            ("2025-12-29", "2025-12-29", "2026-W01", "2025-12"),
            ("2028-12-31", "2028-12-31", "2028-W52", "2028-12"),
            ("2021-01-03", "2021-01-03", "2020-W53", "2021-01"),
            ("2024-12-30", "2024-12-30", "2025-W01", "2024-12"),
            // Leap days, also those that centuries leave out.
            ("2024-02-29", "2024-02-29", "2024-W09", "2024-02"),
            ("2000-02-29", "2000-02-29", "2000-W09", "2000-02"),
            ("2100-03-01", "2100-03-01", "2100-W09", "2100-03"),
            ("1970-01-01", "1970-01-01", "1970-W01", "1970-01"),
            ("1969-12-31T23:59:59.999Z", "1969-12-31", "1970-W01", "1969-12"),
        ])
    func keys(_ text: String, _ day: String, _ week: String, _ month: String) throws {
        let time = try self.time(text)
        #expect(SpendPeriod.daily.key(at: time) == day)
        #expect(SpendPeriod.weekly.key(at: time) == week)
        #expect(SpendPeriod.monthly.key(at: time) == month)
    }

    @Test(
        "end at midnight UTC, the week on a Monday, the month on its last day",
        arguments: [
            ("2026-11-23T05:24:39Z", "2026-11-24", "2026-11-30", "2026-12-01"),
            ("2026-11-23T00:00:00Z", "2026-11-24", "2026-11-30", "2026-12-01"),
            ("2026-11-29T23:59:59.999Z", "2026-11-30", "2026-11-30", "2026-12-01"),
            ("2026-12-31T12:00:00Z", "2027-01-01", "2027-01-04", "2027-01-01"),
            ("2027-01-31T00:00:00Z", "2027-02-01", "2027-02-01", "2027-02-01"),
            ("2024-02-28T23:00:00Z", "2024-02-29", "2024-03-04", "2024-03-01"),
            ("2025-02-28T23:00:00Z", "2025-03-01", "2025-03-03", "2025-03-01"),
            ("1969-12-31T23:59:59.999Z", "1970-01-01", "1970-01-05", "1970-01-01"),
        ])
    func resets(_ text: String, _ day: String, _ week: String, _ month: String) throws {
        let time = try self.time(text)
        #expect(SpendPeriod.daily.reset(after: time) == (try self.time(day)))
        #expect(SpendPeriod.weekly.reset(after: time) == (try self.time(week)))
        #expect(SpendPeriod.monthly.reset(after: time) == (try self.time(month)))
    }

    @Test("agree with Foundation's ISO 8601 calendar on 5,000 days of eight centuries")
    func agreesWithFoundation() throws {
        var calendar = Calendar(identifier: .iso8601)
        calendar.timeZone = try #require(TimeZone(identifier: "UTC"))
        func two(_ value: Int?) -> String { String(format: "%02d", value ?? -1) }
        var generator = SeededGenerator(seed: 20_261_123)
        // From 1700 to 2500, at any millisecond of the day.
        let range: ClosedRange<Int64> = -8_520_336_000_000...16_725_225_599_999
        for _ in 0..<5000 {
            let time = Timestamp(milliseconds: .random(in: range, using: &generator))
            let date = Date(timeIntervalSince1970: Double(time.milliseconds) / 1000)
            let parts = calendar.dateComponents(
                [.year, .month, .day, .weekday, .yearForWeekOfYear, .weekOfYear], from: date)
            let day = "\(parts.year ?? 0)-\(two(parts.month))-\(two(parts.day))"
            let civil = CivilDate(time)
            let expected = [
                day, "\(parts.yearForWeekOfYear ?? 0)-W\(two(parts.weekOfYear))", String(day.dropLast(3)),
            ]
            let keys = SpendPeriod.allCases.map { $0.key(at: time) }
            // Foundation counts from Sunday, and from one.
            let isEqual =
                keys == expected && civil.weekday == ((parts.weekday ?? 0) + 5) % 7 && CivilDate(day) == civil
                && CivilDate(year: civil.year, month: civil.month, dayOfMonth: civil.dayOfMonth) == civil
            try #require(isEqual, "\(time): \(keys), \(expected), \(civil.weekday)")
            for (period, unit) in zip(SpendPeriod.allCases, [Calendar.Component.day, .weekOfYear, .month]) {
                let interval = try #require(calendar.dateInterval(of: unit, for: date))
                let bounds = [interval.start, interval.end].map { Int64($0.timeIntervalSince1970.rounded()) * 1000 }
                let ours = [period.start(of: time).milliseconds, period.reset(after: time).milliseconds]
                try #require(ours == bounds, "\(period) of \(time): \(ours), \(bounds)")
            }
        }
    }

    @Test("follow each other without a gap: each reset begins the next period")
    func followEachOther() {
        for period in SpendPeriod.allCases {
            var time = Timestamp(seconds: 1_700_000_000)
            for _ in 0..<1000 {
                let reset = period.reset(after: time)
                let last = Timestamp(milliseconds: reset.milliseconds - 1)
                #expect(period.key(at: last) == period.key(at: time))
                #expect(period.key(at: reset) != period.key(at: time))
                #expect(period.start(of: reset) == reset)
                #expect(period.start(of: last) == period.start(of: time))
                time = reset
            }
        }
    }

    @Test("are no later for a later time")
    func isMonotonic() {
        var generator = SeededGenerator(seed: 7)
        for _ in 0..<2000 {
            let first = Timestamp(milliseconds: .random(in: 0...4_000_000_000_000, using: &generator))
            let second = Timestamp(
                milliseconds: first.milliseconds + .random(in: 0...10_000_000_000, using: &generator))
            for period in SpendPeriod.allCases {
                #expect(period.key(at: first) <= period.key(at: second))
                #expect(period.reset(after: first) <= period.reset(after: second))
            }
        }
    }

    @Test(
        "are read only from dates that exist",
        arguments: [
            "2026-02-29", "2100-02-29", "2026-04-31", "2026-00-10", "2026-13-01", "2026-01-00", "2026-01-32",
            "2026-1-01", "2026-01-1", "26-01-01", "+026-01-01", "2026-01-0x", "2026/01/01", "2026-01-01 ", "",
            "2026-01-01T", "٢٠٢٦-٠١-٠١", "2026--1-01", "-026-01-01",
        ])
    func refusesNoDates(_ text: String) {
        #expect(CivilDate(text) == nil)
    }

    @Test("read dates as they write them", arguments: ["2026-11-23", "2024-02-29", "1970-01-01", "9999-12-31"])
    func readsWhatItWrites(_ text: String) {
        #expect(CivilDate(text)?.description == text)
    }

    @Test("sort as texts as they do in time, from the year 0 on")
    func sortsAsText() {
        let dates = ["0000-01-01", "0009-06-30", "0999-12-31", "1000-01-01", "2026-11-23"]
        #expect(dates.compactMap { CivilDate($0) }.sorted().count == dates.count)
        #expect(dates.compactMap { CivilDate($0)?.description } == dates)
    }

    @Test("know the names of months, and which day comes first")
    func names() throws {
        #expect(CivilDate(year: 2026, month: 1, dayOfMonth: 1).monthName == "January")
        #expect(CivilDate(year: 2026, month: 12, dayOfMonth: 1).monthName == "December")
        #expect(CivilDate(year: 2026, month: 2, dayOfMonth: 28) < CivilDate(year: 2026, month: 3, dayOfMonth: 1))
        #expect(CivilDate(year: 2025, month: 12, dayOfMonth: 31).start == (try self.time("2025-12-31")))
    }
}
