// SPDX-License-Identifier: Apache-2.0

internal import GatewayCore
internal import GatewayStore

/// The query of an admin call. Where a name that takes one value is repeated, the first counts.
struct QueryParameters {
    private let fields: [(name: String, value: String)]

    init(_ query: String) {
        self.fields = FormCoding.decode(Array(query.utf8))
    }

    subscript(_ name: String) -> String? {
        self.fields.first { $0.name == name }?.value
    }

    func all(_ name: String) -> [String] {
        self.fields.filter { $0.name == name }.map(\.value)
    }

    /// A page's size.
    func limit(_ name: String = "limit", default standard: Int, maximum: Int = 1000) throws(AdminError) -> Int {
        guard let text = self[name] else { return standard }
        guard let number = Double(text), let count = Int(exactly: number), (1...maximum).contains(count) else {
            throw .invalid("\(name): must be between 1 and \(maximum)")
        }
        return count
    }

    func choice(_ name: String, _ choices: [String]) throws(AdminError) -> String? {
        guard let text = self[name] else { return nil }
        guard choices.contains(text) else {
            throw .invalid("\(name): must be one of \(choices.joined(separator: ", "))")
        }
        return text
    }

    /// A repeatable parameter that names periods; duplicates collapse.
    func periods(_ name: String) throws(AdminError) -> [SpendPeriod] {
        var found: [SpendPeriod] = []
        for text in self.all(name) {
            guard let period = SpendPeriod(rawValue: text) else {
                throw .invalid("\(name): must be one of daily, weekly, monthly")
            }
            if !found.contains(period) { found.append(period) }
        }
        return found
    }
}
