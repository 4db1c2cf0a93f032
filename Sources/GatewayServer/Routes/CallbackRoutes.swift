// SPDX-License-Identifier: Apache-2.0

internal import GatewayCore
internal import GatewayIdentity
internal import GatewayRelay
internal import GatewayStore
internal import Logging
internal import NIOHTTP1

/// Where the identity provider sends the browser back. HEAD is not answered here: a link prefetcher with the cookie
/// would finish somebody's sign-in.
struct CallbackRoutes: Sendable {
    let settings: GatewaySettings
    let signIn: SignIn
    let pages: Pages
    let audit: any AuditSink
    let log: Logger

    func mount(on routes: RouteTable) {
        routes.get("/oauth/callback", answersHead: false) { try await self.callback($0) }
    }

    private func callback(_ context: RouteContext) async throws -> PlainResponse {
        let url = self.settings.listen.publicURL
        let cookie = context.cookie(DeviceCookie.name(publicURL: url))
        let callback = SignIn.Callback(query: context.request.query)
        let outcome: SignIn.Outcome
        do {
            outcome = try await self.signIn.complete(callback, cookie: cookie, now: .now)
        } catch let error as StoreError {
            self.log.warning(
                "a sign-in could not be completed",
                metadata: ["request_id": "\(context.requestID)", "reason": "\(error)"])
            return self.failed("The gateway cannot reach its store at the moment. Go back and try again in a minute.")
        }
        switch outcome {
        case .signedIn(let principal):
            self.recordMint(context, principal: principal, failure: nil)
            var page = self.pages.result(
                .good, title: "You're signed in",
                ["Return to your device: it connects within a few seconds.", "You can close this tab."])
            page.headers.add(name: "set-cookie", value: DeviceCookie.clear(publicURL: url))
            return page
        case .linkExpired: return self.failed("This sign-in link has expired. Try again from your device.")
        case .otherBrowser:
            self.audit.record(
                AuditEvent(
                    "device.callback",
                    ["request_id": context.auditID, "result": "browser_mismatch", "client_ip": context.clientIP]))
            var page = self.failed(
                "This sign-in was started in a different browser. Open the verification link on the same device that showed the code."
            )
            page.headers.add(name: "set-cookie", value: DeviceCookie.clear(publicURL: url))
            return page
        case .alreadyUsed: return self.failed("This device code has already been used or has expired.")
        case .refusedByProvider(let error, let description):
            self.audit.record(
                AuditEvent(
                    "device.callback",
                    [
                        "request_id": context.auditID, "result": "provider_error", "client_ip": context.clientIP,
                        "err": .string(error.printableASCII(limit: 120)),
                    ]))
            let shown = error.printableASCII(limit: 120)
            return self.failed(
                description.map { "\(shown): \($0.prefix(500))" } ?? "The identity provider answered: \(shown)")
        case .failed(let reason):
            self.log.warning(
                "token exchange failed", metadata: ["request_id": "\(context.requestID)", "reason": "\(reason)"])
            self.recordMint(context, principal: nil, failure: reason)
            return self.failed("Sign-in could not be completed. Request \(context.requestID)")
        }
    }

    private func recordMint(_ context: RouteContext, principal: Principal?, failure: String?) {
        self.audit.record(
            AuditEvent(
                "session.mint",
                [
                    "request_id": context.auditID, "result": .string(failure == nil ? "success" : "fail"),
                    "sub": principal.map { .string($0.subject) }, "email": principal?.email.map(JSONValue.string),
                    "client_ip": context.clientIP, "err": failure.map(JSONValue.string),
                    "ttl_hours": failure == nil ? .number(self.settings.session.lifetimeHours) : nil,
                ]))
    }

    private func failed(_ message: String) -> PlainResponse {
        self.pages.result(
            .bad, title: "We couldn't finish signing you in",
            [
                "Close this tab and try again from your device. If it happens again, share the message below with your IT administrator."
            ],
            detail: message)
    }
}
