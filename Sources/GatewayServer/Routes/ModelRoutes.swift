// SPDX-License-Identifier: Apache-2.0

internal import GatewayCore
internal import GatewayPolicy
internal import GatewayProviders
internal import GatewayRelay
internal import NIOHTTP1

/// `GET /v1/models`: what the caller may ask for.
struct ModelRoutes: Sendable {
    let configuration: RelayConfiguration

    func mount(on routes: RouteTable) {
        routes.get("/v1/models", .bearer) { context in
            guard let caller = context.caller else { return .error(.invalidToken, requestID: context.requestID) }
            let models = Self.models(for: caller, self.configuration.catalog).map { model in
                var row: JSONObject = [
                    "type": "model", "id": .string(model.id), "display_name": .string(model.displayName),
                ]
                row["description"] = model.description.map(JSONValue.string)
                row["max_input_tokens"] = model.maximumInputTokens.map { .integer($0) }
                return JSONValue.object(row)
            }
            return .json(.ok, ["data": .array(models), "has_more": false, "first_id": .null, "last_id": .null])
        }
    }

    /// The listed models that some upstream serves to this caller and the caller's role allows.
    static func models(for caller: Caller, _ catalog: ModelCatalog) -> [ModelCatalog.Listing] {
        let upstreams = Set(caller.upstreams)
        return catalog.listings.filter { model in
            !upstreams.isDisjoint(with: model.upstreams) && caller.policy?.models?.allows(model.id) ?? true
        }
    }
}
