// SPDX-License-Identifier: Apache-2.0

internal import GatewayClient
internal import GatewayCore

/// What a report can be split by: `--by`.
enum SpendDimension: String, CaseIterable {
    case day
    case model
    case user
    case group
    case upstream
    case billingGroup = "billing-group"

    /// The API's `group_by[]` and the row's key; days are not grouped but asked for as buckets.
    var key: String {
        switch self {
        case .day: "day"
        case .model: "model"
        case .user: "user_id"
        case .group: "rbac_group_id"
        case .upstream: "upstream"
        case .billingGroup: "billing_group"
        }
    }

    /// Reads every `--by`, each of which may hold several names between commas. Repeated names count once.
    static func parse(_ texts: [String]) throws -> [SpendDimension] {
        var found: [SpendDimension] = []
        for word in texts.flatMap({ $0.split(separator: ",", omittingEmptySubsequences: false) }) {
            let name = String(word).trimmingSpaces
            guard let dimension = SpendDimension(rawValue: name) else {
                let names = self.allCases.map(\.rawValue)
                let near = Suggestion.nearest(to: name, in: names).map { " Did you mean \($0)?" } ?? ""
                throw ClientFailure.badRequest(
                    "--by takes \(names.joined(separator: ", ")), not '\(name.singleLine)'.\(near)")
            }
            if !found.contains(dimension) { found.append(dimension) }
        }
        return found
    }
}
