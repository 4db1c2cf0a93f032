// SPDX-License-Identifier: Apache-2.0

internal import GatewayCore
internal import GatewayPolicy
internal import GatewayProviders
internal import GatewayRelay
internal import Logging
internal import NIOCore
internal import NIOHTTP1

/// `GET /user/bootstrap`: what Claude Desktop needs to work through this gateway.
struct BootstrapRoutes: Sendable {
    let configuration: RelayConfiguration
    let publicURL: String
    let relaysTelemetry: Bool
    let adminGroups: [String]
    let audit: any AuditSink
    let log: Logger

    func mount(on routes: RouteTable) {
        routes.get("/user/bootstrap", .bearer) { context in
            guard let caller = context.caller else { return .error(.invalidToken, requestID: context.requestID) }
            return self.answer(caller, context)
        }
    }

    private func answer(_ caller: Caller, _ context: RouteContext) -> PlainResponse {
        let policies = self.configuration.policies
        guard policies.servesDesktop else {
            return self.refuse(
                context, caller, "not_configured",
                "Claude Desktop is not configured on this gateway; give a managed policy a desktop block")
        }
        guard let policy = caller.policy else {
            return self.refuse(context, caller, "no_policy_matched", "no policy matched")
        }
        guard let desktop = policy.desktop else {
            return self.refuse(
                context, caller, "policy_not_opted_in",
                "the policy for this user does not include Claude Desktop; give it a desktop block")
        }
        self.audit.record(
            AuditEvent(
                "desktop_bootstrap.serve",
                [
                    "request_id": context.auditID, "sub": .string(caller.principal.subject),
                    "email": caller.principal.email.map(JSONValue.string),
                    "policy_index": policy.index.map { .integer($0) } ?? .null,
                ]))
        var response = PlainResponse.json(.ok, .object(self.document(caller, policy, desktop)))
        self.mark(&response, caller)
        return response
    }

    private func document(_ caller: Caller, _ policy: EffectivePolicy, _ desktop: JSONObject) -> JSONObject {
        var document: JSONObject = [
            "inferenceProvider": "gateway", "inferenceGatewayBaseUrl": .string(self.publicURL),
            "inferenceCredentialKind": "interactive",
        ]
        if policy.isRequired { document["inferenceGatewayManagedClaudeCode"] = true }
        if self.relaysTelemetry {
            document["otlpEndpoint"] = .string(self.publicURL)
            document["otlpProtocol"] = "http/protobuf"
            document["otlpResourceAttributes"] = .object(Self.attributes(of: caller.principal))
        }
        document["inferenceModels"] = .array(
            ModelRoutes.models(for: caller, self.configuration.catalog).map { model in
                var row: JSONObject = ["name": .string(model.id)]
                row["labelOverride"] = model.label.map(JSONValue.string)
                if model.supportsMillionTokens { row["supports1m"] = true }
                return .object(row)
            })
        let denied = (policy.settings["permissions"]?["deny"]?.array ?? []).compactMap(\.string).filter { rule in
            !rule.contains("(") && !rule.hasPrefix("mcp__")
        }
        var seen: Set<String> = []
        let tools = (denied + (desktop["disabledBuiltinTools"]?.array ?? []).compactMap(\.string)).filter {
            seen.insert($0).inserted
        }
        if !tools.isEmpty { document["disabledBuiltinTools"] = .array(tools.map(JSONValue.string)) }
        document["coworkEgressAllowedHosts"] = policy.settings["sandbox"]?["network"]?["allowedDomains"]
        for (key, value) in desktop.members where key != "disabledBuiltinTools" { document[key] = value }
        document["expiresAt"] = .integer(caller.expiresAt)
        return document
    }

    /// What Claude Desktop puts on its telemetry. Names that the list's syntax cannot carry are left out one by one.
    static func attributes(of principal: Principal) -> JSONObject {
        func fits(_ text: String) -> Bool {
            !text.isEmpty && text.utf8.allSatisfy { (0x21...0x7E).contains($0) && $0 != 0x2C && $0 != 0x3D }
        }
        var attributes: JSONObject = ["enduser.id": .string(principal.email ?? principal.subject)]
        attributes["user.email"] = principal.email.map(JSONValue.string)
        var groups: [String] = []
        var length = 0
        for group in principal.groups ?? [] where !group.contains(",") && !group.contains("=") && !group.isEmpty {
            let size = group.utf8.reduce(0) { total, byte in
                switch byte {
                case 0x30...0x39, 0x41...0x5A, 0x61...0x7A, 0x2D, 0x2E, 0x5F, 0x7E: total + 1
                default: total + 3
                }
            }
            let separator = groups.isEmpty ? 0 : 3
            if length + separator + size > 255 { continue }
            length += separator + size
            groups.append(group)
        }
        if !groups.isEmpty { attributes["user.groups"] = .string(groups.joined(separator: ",")) }
        if fits(principal.subject), principal.subject.utf8.count <= 255 {
            attributes["enduser.sub"] = .string(principal.subject)
        }
        return attributes
    }

    private func refuse(_ context: RouteContext, _ caller: Caller, _ reason: String, _ message: String)
        -> PlainResponse
    {
        self.audit.record(
            AuditEvent(
                "desktop_bootstrap.denied",
                [
                    "request_id": context.auditID, "reason": .string(reason), "sub": .string(caller.principal.subject),
                    "email": caller.principal.email.map(JSONValue.string),
                ]))
        if reason != "not_configured" {
            self.log.warning(
                "no managed policy with a desktop block matched",
                metadata: [
                    "request_id": "\(context.requestID)", "sub": "\(caller.principal.subject)",
                    "groups": "\((caller.principal.groups ?? []).joined(separator: ","))",
                ])
        }
        var response = PlainResponse.error(
            ErrorEnvelope(status: 404, type: "not_found_error", message: message), requestID: context.requestID)
        self.mark(&response, caller)
        return response
    }

    private func mark(_ response: inout PlainResponse, _ caller: Caller) {
        response.headers.replaceOrAdd(name: "cache-control", value: "no-store")
        response.headers.replaceOrAdd(name: "pragma", value: "no-cache")
        let isAdmin = caller.principal.isMember(ofAny: self.adminGroups)
        response.headers.replaceOrAdd(name: "x-gateway-spend-admin", value: isAdmin ? "true" : "false")
    }
}
