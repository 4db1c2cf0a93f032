// SPDX-License-Identifier: Apache-2.0

internal import GatewayCore
internal import GatewayPolicy
package import GatewayProviders

/// Decides, from a scanned body and the caller, where a model request may go.
package enum InferenceDecision: Sendable {
    /// One upstream to try, with the id it takes.
    package struct Candidate: Sendable, Equatable {
        package let upstream: Int
        package let model: String
    }

    case refused(ErrorEnvelope, resolutionFailures: String?)
    /// `eligible` counts the upstreams that the caller's groups admit, served or not.
    case route(model: String, [Candidate], eligible: Int)

    package static func decide(
        _ scan: BodyScan, caller: Caller, catalog: ModelCatalog, upstreams: [UpstreamSettings],
    ) -> InferenceDecision {
        let model: String
        switch scan.model {
        case .missing, .string(""): return self.refuse("model is required")
        case .notAString: return self.refuse("model must be a string")
        case .string(let name): model = name
        }
        if scan.hasConflictingModels { return self.refuse("model is given more than once, with different values") }
        if let complaint = self.complaint(scan, model: model, list: caller.policy?.models) {
            return self.refuse(complaint)
        }
        guard !caller.upstreams.isEmpty else {
            return self.refuse(
                "you aren't in a group that can use this gateway. Ask your administrator to add you to one")
        }
        let resolutions = catalog.resolve(model)
        var candidates: [Candidate] = []
        for index in caller.upstreams {
            if case .upstreamID(let id) = resolutions[index] {
                candidates.append(Candidate(upstream: index, model: id))
            }
        }
        guard candidates.isEmpty else { return .route(model: model, candidates, eligible: caller.upstreams.count) }
        let name = self.quotable(model)
        let reasons = caller.upstreams.map { index -> (upstream: String, reason: String) in
            let upstream = upstreams[index]
            let reason =
                switch resolutions[index] {
                case .unknown: "model \(name) is not in the operator's model allowlist"
                case .notServed: "model \(name) is not served by upstream '\(upstream.name)'"
                case .unavailable, .upstreamID: "model \(name) is not available on \(type(of: upstream.provider).name)"
                }
            return (upstream.name, reason)
        }
        return .refused(
            .invalidRequest(reasons.map(\.reason).joined(separator: "; ")),
            resolutionFailures: reasons.map { "\($0.upstream): \($0.reason)" }.joined(separator: "; "))
    }

    private static func complaint(_ scan: BodyScan, model: String, list: ModelAllowList?) -> String? {
        guard let list else { return nil }
        if !list.allows(model) {
            return "model \(self.quotable(model)) is not in your role's availableModels allowlist"
        }
        for nested in scan.nestedModels {
            let path = nested.path.printableASCII(limit: 128)
            guard let name = nested.model else { return "\(path): refused by this gateway: `model` must be a string" }
            if !list.allows(name) {
                return "\(path): model \(self.quotable(name)) is not in your role's availableModels allowlist"
            }
        }
        return nil
    }

    private static func refuse(_ message: String) -> InferenceDecision {
        .refused(.invalidRequest(message), resolutionFailures: nil)
    }

    /// A client's string as it may stand in an error and a log.
    private static func quotable(_ model: String) -> String {
        model.printableASCII(limit: 128)
    }
}
