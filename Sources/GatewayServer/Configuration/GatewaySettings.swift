// SPDX-License-Identifier: Apache-2.0

package import GatewayConfig
package import GatewayCore
package import GatewayIdentity
package import GatewayMetering
package import GatewayPolicy
package import GatewayProviders
package import GatewayRelay
package import GatewayStore
package import GatewayTelemetry

/// A whole `gateway.yaml`, decoded. Each section's keys, rules and decoding stand with the module that uses it; here
/// they are only put together.
package struct GatewaySettings: Sendable {
    package var listen: ListenSettings
    package var oidc: OIDCSettings
    package var session: SessionSettings
    package var store: StoreSettings
    package var upstreams: [UpstreamSettings]
    package var models: [CustomModel] = []
    package var includesBuiltInModels = true
    package var managed: ManagedPolicies
    package var telemetry: TelemetrySettings
    package var observability = ObservabilitySettings()
    package var access: AccessControl
    package var maximumBodyBytes = 33_554_432
    package var maximumHeaderBytes: Int?
    package var maximumURLLength: Int?
    package var firstByteTimeout = Duration.milliseconds(120_000)
    package var deviceAuthorizationLimit: RateLimit
    /// `nil` when developers' requests are not limited.
    package var inferenceLimits: InferenceLimiter.Settings?
    package var deviceVerifyLimit: RateLimit
    package var loginNotice: String?
    package var connectionTimeouts = ConnectionTimeouts()
    /// `nil` when spend is neither metered nor limited.
    package var admin: AdminSettings?
    package var pricing = PricingSettings()
    package var failsClosed = false
    /// `enforcement.overshoot: strict`.
    package var reservesSpend = false
    package var journalFolder: String?
    package var routing = RoutingSettings()
    /// Digests of the sections as read, so that a reload can tell which have changed.
    private var digests: [String: String] = [:]

    /// Settings from parts, with every default.
    package init(
        listen: ListenSettings, oidc: OIDCSettings, session: SessionSettings, store: StoreSettings,
        upstreams: [UpstreamSettings],
    ) {
        self.listen = listen
        self.oidc = oidc
        self.session = session
        self.store = store
        self.upstreams = upstreams
        self.managed = ManagedPolicies(policies: [])
        self.telemetry = TelemetrySettings(nil)
        self.access = AccessControl()
        self.deviceAuthorizationLimit = .deviceAuthorization
        self.deviceVerifyLimit = .deviceVerify
    }

    /// Decodes a document that has been validated.
    package init(_ root: ConfigNode, commonSettings: JSONObject?) {
        func section(_ name: String) -> ConfigNode { root[name] ?? ConfigNode(.mapping([])) }
        self.listen = ListenSettings(section("listen"))
        self.oidc = OIDCSettings(section("oidc"))
        self.session = SessionSettings(section("session"))
        self.store = StoreSettings(section("store"))
        self.upstreams = section("upstreams").list.compactMap { UpstreamSettings($0) }
        self.models = section("models").list.map(CustomModel.init)
        self.includesBuiltInModels = root["auto_include_builtin_models"]?.boolean ?? true
        self.telemetry = TelemetrySettings(root["telemetry"])
        self.observability = ObservabilitySettings(root["observability"])
        let telemetry = self.telemetry
        let pushes = !telemetry.destinations.isEmpty && root["listen"]?["public_url"] != nil
        if let pricing = root["pricing"] { self.pricing = PricingSettings(pricing) }
        let modelPricing =
            root["pricing"] == nil
            ? nil
            : ModelPricing.make(
                self.pricing, Self.pricer(self.pricing), models: self.models,
                includesBuiltIns: self.includesBuiltInModels,
                upstreams: self.upstreams)
        self.managed = ManagedSection.decode(
            root["managed"], commonSettings: commonSettings,
            telemetry: pushes
                ? TelemetryVariables.make(
                    endpoint: self.listen.publicURL,
                    signals: (telemetry.takes(.metrics), telemetry.takes(.logs), telemetry.takes(.traces)),
                    attributes: telemetry.resourceAttributes) : [:], modelPricing: modelPricing)
        self.access = AccessControl(access: root["access_control"], trustedProxies: root["listen"]?["trusted_proxies"])
        let limits = section("limits")
        self.maximumBodyBytes = limits["max_request_bytes"]?.integer ?? self.maximumBodyBytes
        self.maximumHeaderBytes = limits["max_request_header_bytes"]?.integer
        self.maximumURLLength = limits["max_url_length"]?.integer
        if let milliseconds = section("timeouts")["upstream_ttfb_ms"]?.integer {
            self.firstByteTimeout = .milliseconds(milliseconds)
        }
        let rates = section("rate_limits")
        self.inferenceLimits = rates["inference"].map { inference in
            InferenceLimiter.Settings(
                requestsPerMinute: inference["requests_per_minute"]?.integer,
                tokensPerMinute: inference["tokens_per_minute"]?.integer, concurrent: inference["concurrent"]?.integer)
        }
        self.deviceAuthorizationLimit = RateLimit(rates["device_authorization"], default: .deviceAuthorization)
        self.deviceVerifyLimit = RateLimit(rates["device_verify"], default: .deviceVerify)
        self.loginNotice = root["login_notice"]?.string.map(Self.oneLine)
        self.admin = root["admin"].map(AdminSettings.init)
        for member in root.members {
            self.digests[member.key] = Digest.hexadecimal(member.value.json.text())
        }
        self.routing = RoutingSettings(section("routing"))
        self.journalFolder = root["enforcement"]?["journal_dir"]?.string
        self.reservesSpend = root["enforcement"]?["overshoot"]?.string == "strict"
        self.failsClosed = root["enforcement"]?["fail_closed_on_error"]?.boolean ?? false
    }

    /// Prices of answers.
    package var pricer: Pricer { Self.pricer(self.pricing) }

    private static func pricer(_ pricing: PricingSettings) -> Pricer {
        Pricer(pricing) { BuiltInModel.spelled($0)?.id ?? $0.lowercased() }
    }

    /// The key table as a JSON Schema.
    package static var schema: JSONValue {
        ConfigSchema.document(
            self.section, title: "gateway.yaml of the Claude gateway", id: "urn:claude-gateway:gateway.yaml")
    }

    /// `nil` when the section is absent or the settings come from no file.
    package func digest(of section: String) -> String? {
        self.digests[section]
    }

    /// Runs of white space and control characters become one space.
    static func oneLine(_ text: String) -> String {
        let kept = text.unicodeScalars.map { scalar in
            scalar.properties.isWhitespace || scalar.properties.generalCategory == .control
                || scalar.properties.generalCategory == .format ? " " : Character(scalar)
        }
        return String(kept).split(separator: " ").joined(separator: " ")
    }
}
