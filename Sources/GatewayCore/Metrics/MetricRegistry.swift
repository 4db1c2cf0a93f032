// SPDX-License-Identifier: Apache-2.0

internal import Synchronization

/// All metrics of a process. Names and labels follow OpenTelemetry's semantic conventions in the form that Prometheus
/// gives them; what they have no name for begins with `claude_gateway_`.
///
/// Label values come from the configuration and from fixed lists, never from a request as it was sent, so that no
/// stranger makes a series; a family holds at most `MetricFamily.maximumSeries` in any case.
package final class MetricRegistry: Sendable {
    private let families = Mutex<[MetricFamily]>([])
    private let sources = Mutex<[@Sendable () -> [Observation]]>([])

    package init() {}

    /// A value that is looked up when metrics are read.
    package struct Observation: Sendable {
        package let name: String
        package let help: String
        package let kind: MetricFamily.Kind
        package let labels: [(name: String, value: String)]
        package let value: Double

        package init(
            _ name: String, _ help: String, _ kind: MetricFamily.Kind = .gauge,
            labels: [(name: String, value: String)] = [], value: Double,
        ) {
            self.name = name
            self.help = help
            self.kind = kind
            self.labels = labels
            self.value = value
        }
    }

    /// - Parameter divisor: What the sum is divided by when it is read, so that fractions can be added as whole numbers.
    package func counter(_ name: String, _ help: String, labels: [String] = [], divisor: Double = 1) -> MetricFamily {
        self.add(MetricFamily(name, help, .counter, labels: labels, divisor: divisor))
    }

    /// - Parameter bounds: Upper bounds of the buckets, ascending, without infinity.
    package func histogram(_ name: String, _ help: String, labels: [String] = [], bounds: [Double]) -> MetricFamily {
        self.add(MetricFamily(name, help, .histogram, labels: labels, bounds: bounds))
    }

    /// Adds values that are looked up at each reading.
    package func observe(_ source: @escaping @Sendable () -> [Observation]) {
        self.sources.withLock { $0.append(source) }
    }

    private func add(_ family: MetricFamily) -> MetricFamily {
        self.families.withLock { families in
            if let known = families.first(where: { $0.name == family.name }) { return known }
            families.append(family)
            return family
        }
    }

    package func read() -> [MetricReading] {
        var readings = self.families.withLock { $0 }.map { $0.read() }
        for observation in self.sources.withLock({ $0 }).flatMap({ $0() }) {
            let series = MetricReading.Series(labels: observation.labels, value: .number(observation.value))
            if let index = readings.firstIndex(where: { $0.name == observation.name }) {
                readings[index].series.append(series)
            } else {
                readings.append(
                    MetricReading(
                        name: observation.name, help: observation.help, kind: observation.kind, series: [series]))
            }
        }
        return readings
    }
}

/// What a family holds at one moment.
package struct MetricReading: Sendable {
    package enum Value: Sendable {
        case number(Double)
        /// Counts for each bound and for infinity, not cumulated.
        case histogram(bounds: [Double], counts: [Int], sum: Double)
    }

    package struct Series: Sendable {
        package let labels: [(name: String, value: String)]
        package let value: Value
    }

    package let name: String
    package let help: String
    package let kind: MetricFamily.Kind
    package var series: [Series]
}

/// One metric and its series. Updates come from many threads.
package final class MetricFamily: Sendable {
    package enum Kind: String, Sendable {
        case counter
        case gauge
        case histogram
    }

    /// More than any sensible configuration makes; what comes later is counted as `other`.
    package static let maximumSeries = 2000

    private struct Cell {
        var number = 0.0
        var counts: [Int] = []
    }

    package let name: String
    let help: String
    let kind: Kind
    private let labels: [String]
    private let bounds: [Double]
    private let divisor: Double
    private let cells = Mutex<[[String]: Cell]>([:])

    init(_ name: String, _ help: String, _ kind: Kind, labels: [String], bounds: [Double] = [], divisor: Double = 1) {
        self.divisor = divisor
        self.name = name
        self.help = help
        self.kind = kind
        self.labels = labels
        self.bounds = bounds
        if labels.isEmpty { self.update([]) { _ in } }
    }

    /// - Parameter values: One for each label, in their order.
    package func add(_ amount: Double = 1, _ values: String...) {
        self.update(values) { $0.number += amount }
    }

    /// Notes a value of a histogram.
    package func note(_ value: Double, _ values: String...) {
        let bucket = self.bounds.firstIndex { value <= $0 } ?? self.bounds.count
        self.update(values) { cell in
            cell.number += value
            cell.counts[bucket] += 1
        }
    }

    private func update(_ values: [String], _ change: (inout Cell) -> Void) {
        self.cells.withLock { cells in
            var key = values
            if cells[key] == nil, cells.count >= Self.maximumSeries { key = values.map { _ in "other" } }
            change(&cells[key, default: Cell(counts: self.emptyCounts)])
        }
    }

    private var emptyCounts: [Int] {
        self.kind == .histogram ? Array(repeating: 0, count: self.bounds.count + 1) : []
    }

    package func read() -> MetricReading {
        let cells = self.cells.withLock { $0 }
        let series = cells.sorted { $0.key.lexicographicallyPrecedes($1.key) }.map { key, cell in
            MetricReading.Series(
                labels: zip(self.labels, key).map { (name: $0, value: $1) },
                value: self.kind == .histogram
                    ? .histogram(bounds: self.bounds, counts: cell.counts, sum: cell.number)
                    : .number(cell.number / self.divisor))
        }
        return MetricReading(name: self.name, help: self.help, kind: self.kind, series: series)
    }
}
