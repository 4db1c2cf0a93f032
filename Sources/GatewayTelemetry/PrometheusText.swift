// SPDX-License-Identifier: Apache-2.0

package import GatewayCore

/// Metrics in Prometheus' text format.
///
/// Source: <https://prometheus.io/docs/instrumenting/exposition_formats/>.
package enum PrometheusText {
    package static let contentType = "text/plain; version=0.0.4; charset=utf-8"

    package static func render(_ readings: [MetricReading]) -> String {
        var out = ""
        for reading in readings {
            out += "# HELP \(reading.name) \(self.escape(reading.help, quotes: false))\n"
            out += "# TYPE \(reading.name) \(reading.kind.rawValue)\n"
            for series in reading.series {
                switch series.value {
                case .number(let value): out += self.line(reading.name, series.labels, self.number(value))
                case .histogram(let bounds, let counts, let sum):
                    var total = 0
                    for (index, count) in counts.enumerated() {
                        total += count
                        let bound = index < bounds.count ? self.number(bounds[index]) : "+Inf"
                        out += self.line(
                            reading.name + "_bucket", series.labels + [(name: "le", value: bound)], String(total))
                    }
                    out += self.line(reading.name + "_sum", series.labels, self.number(sum))
                    out += self.line(reading.name + "_count", series.labels, String(total))
                }
            }
        }
        return out
    }

    private static func line(_ name: String, _ labels: [(name: String, value: String)], _ value: String) -> String {
        let pairs = labels.map { "\($0.name)=\"\(self.escape($0.value, quotes: true))\"" }.joined(separator: ",")
        return pairs.isEmpty ? "\(name) \(value)\n" : "\(name){\(pairs)} \(value)\n"
    }

    private static func escape(_ text: String, quotes: Bool) -> String {
        let plain = text.replacing("\\", with: "\\\\").replacing("\n", with: "\\n")
        return quotes ? plain.replacing("\"", with: "\\\"") : plain
    }

    /// Whole numbers without a fraction.
    private static func number(_ value: Double) -> String {
        value == value.rounded() && value.magnitude < 1e15 ? String(Int64(value)) : "\(value)"
    }
}
