// SPDX-License-Identifier: Apache-2.0

internal import GatewayCore
internal import GatewayIdentity
internal import GatewayPolicy
internal import GatewayRelay
internal import GatewayStore
internal import Logging
internal import NIOCore
internal import NIOHTTP1

/// The device grant's first half: the codes, and the page on which a person enters or denies them.
struct DeviceRoutes: Sendable {
    let settings: GatewaySettings
    let grants: DeviceGrants
    let counters: any KeyValueStore
    let signIn: SignIn
    let pages: Pages
    let audit: any AuditSink
    let log: Logger

    private static let tooMany =
        "Too many attempts came from your network, which other people may share. Wait a few minutes and try again."

    func mount(on routes: RouteTable) {
        routes.post("/oauth/device_authorization") { try await self.authorize($0) }
        routes.get("/device") { context in
            let fields = FormCoding.firstValues(Array(context.request.query.utf8))
            let code = fields["user_code"] ?? ""
            return code.isEmpty ? self.pages.enterCode() : self.pages.confirm(code: code)
        }
        routes.post("/device") { try await self.verify($0) }
        routes.post("/device/deny") { try await self.deny($0) }
    }

    private func record(_ name: String, _ context: RouteContext, _ result: String) {
        self.audit.record(
            AuditEvent(name, ["request_id": context.auditID, "result": .string(result), "client_ip": context.clientIP]))
    }

    /// Whether the client address has used up its window of a rate limit.
    private func isLimited(_ name: String, _ limit: RateLimit, _ context: RouteContext) async throws -> Bool {
        let key = "rate:\(name):\(context.request.client)"
        return try await self.counters.increment(key, window: limit.window, now: .now) > limit.maximum
    }

    // MARK: RFC 8628 §3.1

    private func authorize(_ context: RouteContext) async throws -> PlainResponse {
        do {
            if try await self.isLimited("device_authorization", self.settings.deviceAuthorizationLimit, context) {
                self.record("device.authorize", context, "rate_limited")
                return .oauthError(
                    .tooManyRequests, "slow_down",
                    "Too many sign-in attempts came from your network, which other people may share.")
            }
            let codes = try await self.grants.begin(from: context.request.client.description, now: .now)
            self.record("device.authorize", context, "success")
            let page = self.settings.listen.publicURL + "/device"
            var answer: JSONObject = [
                "device_code": .string(codes.deviceCode), "user_code": .string(codes.userCode),
                "verification_uri": .string(page),
                "verification_uri_complete": .string(page + "?user_code=" + codes.userCode),
                "expires_in": .integer(DeviceGrant.lifetime.components.seconds),
                "interval": .integer(DeviceGrant.interval),
            ]
            answer["login_notice"] = self.settings.loginNotice.map(JSONValue.string)
            return .oauth(.ok, .object(answer))
        } catch let error as StoreError {
            self.log.warning(
                "a sign-in could not begin", metadata: ["request_id": "\(context.requestID)", "reason": "\(error)"])
            return .oauthError(
                .serviceUnavailable, "temporarily_unavailable", "The gateway's store does not answer. Try again.")
        }
    }

    // MARK: The page

    /// Only the page itself may post: the browser says where a request comes from, in `Sec-Fetch-Site` (Fetch Metadata)
    /// or else in `Origin`. A missing word is a no.
    private func isSameSite(_ context: RouteContext) -> Bool {
        if let site = context.request.headers.first(name: "sec-fetch-site") {
            return site == "same-origin" || site == "none"
        }
        guard let origin = context.request.headers.first(name: "origin") else { return false }
        return origin == WebURL(self.settings.listen.publicURL)?.origin
    }

    /// What both buttons check first; a page when the request ends here.
    private func guardPost(_ context: RouteContext) async throws -> PlainResponse? {
        guard self.isSameSite(context) else {
            self.record("device.verify", context, "csrf_rejected")
            return self.pages.enterCode(
                alert: "This request came from another site and was blocked. Open the verification link directly.")
        }
        if try await self.isLimited("device_verify", self.settings.deviceVerifyLimit, context) {
            self.record("device.verify", context, "rate_limited")
            return self.pages.enterCode(alert: Self.tooMany)
        }
        return nil
    }

    private func verify(_ context: RouteContext) async throws -> PlainResponse {
        try await self.withStore(context) {
            if let refusal = try await self.guardPost(context) { return refusal }
            guard let code = DeviceCodes.normalise(context.form["user_code"] ?? ""),
                let grant = try await self.grants.find(userCode: code, now: .now)
            else {
                self.record("device.verify", context, "unknown_code")
                return self.pages.enterCode(
                    alert: "That code was not recognized. It may have expired. Check your device and try again.")
            }
            let redirect = self.signIn.begin(grant: grant, now: .now)
            self.record("device.verify", context, "redirect")
            return PlainResponse(
                status: .found,
                headers: [
                    "location": redirect.location, "cache-control": "no-store", "pragma": "no-cache",
                    "set-cookie": DeviceCookie.set(redirect.cookie, publicURL: self.settings.listen.publicURL),
                ], body: .bytes(ByteBuffer()))
        }
    }

    private func deny(_ context: RouteContext) async throws -> PlainResponse {
        try await self.withStore(context) {
            if let refusal = try await self.guardPost(context) { return refusal }
            let now = Timestamp.now
            guard let code = DeviceCodes.normalise(context.form["user_code"] ?? ""),
                let key = try await self.grants.find(userCode: code, now: now),
                let grant = try await self.grants.decide(key, .denied, now: now)
            else {
                self.record("device.verify", context, "unknown_code")
                return self.pages.result(
                    .bad, title: "Nothing to stop here",
                    [
                        "This sign-in is not waiting for approval. It may have expired, or was already approved or stopped.",
                        "If you approved a sign-in that you did not start, tell your IT administrator now.",
                    ])
            }
            self.audit.record(
                AuditEvent(
                    "device.deny",
                    [
                        "request_id": context.auditID, "result": "denied", "client_ip": context.clientIP,
                        "requested_from": .string(grant.requestedFrom),
                        "requested_at": .string(grant.requestedAt.description),
                    ]))
            return self.pages.result(
                .good, title: "Sign-in stopped",
                [
                    "No access was granted, and the code is no longer valid.",
                    "If you did not start this sign-in, tell your IT administrator. If you stopped your own by mistake, start it again from your device.",
                ])
        }
    }

    /// A person whose click meets a store outage gets a page, not a JSON error.
    private func withStore(_ context: RouteContext, _ body: () async throws -> PlainResponse) async throws
        -> PlainResponse
    {
        do {
            return try await body()
        } catch let error as StoreError {
            self.log.warning(
                "the sign-in page could not reach the store",
                metadata: ["request_id": "\(context.requestID)", "reason": "\(error)"])
            return self.pages.enterCode(
                alert: "The gateway cannot reach its store at the moment. Try again in a minute.",
                status: .serviceUnavailable)
        }
    }
}

/// The cookie that ties a sign-in to the browser it began in.
enum DeviceCookie {
    static func name(publicURL: String) -> String {
        publicURL.hasPrefix("https://") ? "__Host-gw_dev" : "gw_dev"
    }

    static func set(_ value: String, publicURL: String) -> String {
        self.text(value, seconds: 600, publicURL)
    }

    static func clear(publicURL: String) -> String {
        self.text("", seconds: 0, publicURL)
    }

    private static func text(_ value: String, seconds: Int, _ publicURL: String) -> String {
        let secure = publicURL.hasPrefix("https://") ? "; Secure" : ""
        return
            "\(self.name(publicURL: publicURL))=\(value); Max-Age=\(seconds); HttpOnly; SameSite=Lax; Path=/\(secure)"
    }
}
