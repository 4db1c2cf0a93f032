// SPDX-License-Identifier: Apache-2.0

internal import Crypto
internal import Foundation
package import GatewayCore
package import GatewayStore

/// The browser's way through a sign-in: from a code to the identity provider and back.
package struct SignIn: Sendable {
    /// Where the browser goes next, and the cookie that ties the way back to it.
    package struct Redirect: Sendable {
        package let location: String
        package let cookie: String
    }

    /// The parameters of the callback's query.
    package struct Callback: Sendable {
        package var code: String?
        package var state: String?
        package var error: String?
        package var errorDescription: String?
        package var issuer: String?

        package init(query: String) {
            let fields = FormCoding.firstValues(Array(query.utf8))
            func field(_ name: String) -> String? { fields[name].flatMap { $0.isEmpty ? nil : $0 } }
            self.code = field("code")
            self.state = field("state")
            self.error = field("error")
            self.errorDescription = field("error_description")
            self.issuer = fields["iss"]
        }
    }

    package enum Outcome: Sendable {
        case signedIn(Principal)
        /// The state is missing, forged or too old. Nothing was changed.
        case linkExpired
        /// The callback came to another browser than the one that the sign-in began in. Nothing was changed.
        case otherBrowser
        /// The grant was already decided.
        case alreadyUsed
        /// The identity provider said no. The grant is denied if the callback came to the right browser.
        case refusedByProvider(error: String, description: String?)
        /// The grant is denied. `reason` is for the operator.
        case failed(reason: String)
    }

    private let provider: OIDCProvider
    private let settings: OIDCSettings
    private let grants: DeviceGrants
    private let sessions: any SessionStore
    private let sealer: Sealer
    private let redirectURI: String

    package init(
        provider: OIDCProvider, settings: OIDCSettings, grants: DeviceGrants, sessions: any SessionStore,
        sealer: Sealer, publicURL: String,
    ) {
        self.provider = provider
        self.settings = settings
        self.grants = grants
        self.sessions = sessions
        self.sealer = sealer
        self.redirectURI = publicURL + "/oauth/callback"
    }

    /// Begins the browser's part for an open grant. The state carries everything, sealed, so that any replica can go on.
    package func begin(grant key: String, now: Timestamp) -> Redirect {
        let cookie = RandomToken.make()
        let nonce = RandomToken.make()
        let verifier = self.settings.usesPKCE ? RandomToken.make() : nil
        var state: JSONObject = [
            "grant": .string(key), "nonce": .string(nonce), "browser": .string(Digest.hexadecimal(cookie)),
            "until": .integer(now.advanced(bySeconds: Double(DeviceGrant.lifetime.components.seconds)).milliseconds),
        ]
        state["verifier"] = verifier.map(JSONValue.string)
        // RFC 7636 §4.2.
        let challenge = verifier.map { Base64URL.encode(SHA256.hash(data: Data($0.utf8))) }
        let location = self.provider.authorizationURL(
            redirectURI: self.redirectURI, state: self.sealer.seal(.object(state), for: .state), nonce: nonce,
            challenge: challenge, settings: self.settings)
        return Redirect(location: location, cookie: cookie)
    }

    /// Ends the browser's part.
    ///
    /// - Parameter cookie: What the browser sent back; it must be the one that `begin` set.
    package func complete(_ callback: Callback, cookie: String?, now: Timestamp) async throws -> Outcome {
        let state = callback.state.flatMap { self.sealer.open($0, for: .state) }
        let isCurrent = state?["until"]?.number.map { $0 > Double(now.milliseconds) } ?? false
        let isSameBrowser = cookie.map { Digest.hexadecimal($0) == state?["browser"]?.string } ?? false
        if let error = callback.error {
            if isCurrent, isSameBrowser, let key = state?["grant"]?.string {
                _ = try await self.grants.decide(key, .denied, now: now)
            }
            return .refusedByProvider(error: error, description: isCurrent ? callback.errorDescription : nil)
        }
        guard isCurrent, let state, let code = callback.code, let key = state["grant"]?.string,
            let nonce = state["nonce"]?.string
        else { return .linkExpired }
        guard isSameBrowser else { return .otherBrowser }
        do {
            try self.checkIssuer(callback)
            let grant = try await self.provider.exchange(
                code: code, redirectURI: self.redirectURI, verifier: state["verifier"]?.string, nonce: nonce)
            let session = SessionRow(
                id: RandomToken.make(), subject: grant.principal.subject, email: grant.principal.email, at: now)
            try await self.sessions.insertSession(session)
            let identity = SignedInIdentity(
                principal: grant.principal, sessionID: session.id, refreshToken: grant.refreshToken)
            let sealed = self.sealer.seal(identity.json, for: .grant, at: key)
            guard try await self.grants.decide(key, .approved(sealed), now: now) != nil else {
                try await self.sessions.removeSession(id: session.id)
                return .alreadyUsed
            }
            return .signedIn(grant.principal)
        } catch let failure as SignInFailure {
            _ = try await self.grants.decide(key, .denied, now: now)
            return .failed(reason: failure.description)
        }
    }

    /// RFC 9207: which issuer answered.
    private func checkIssuer(_ callback: Callback) throws(SignInFailure) {
        let expected = self.provider.document.issuer
        if let issuer = callback.issuer {
            guard issuer == expected else {
                throw .rejected("the callback's iss is \(issuer.printableASCII(limit: 200)), expected \(expected)")
            }
        } else if self.provider.document.namesIssuerInCallback {
            throw .rejected("the callback lacks iss, which the provider says it sends")
        }
    }
}

/// What an approved grant holds until the device fetches it.
package struct SignedInIdentity: Sendable {
    package let principal: Principal
    package let sessionID: String
    package let refreshToken: Secret?

    package init(principal: Principal, sessionID: String, refreshToken: Secret?) {
        self.principal = principal
        self.sessionID = sessionID
        self.refreshToken = refreshToken
    }

    package var json: JSONValue {
        var object: JSONObject = ["sub": .string(self.principal.subject), "session": .string(self.sessionID)]
        object["email"] = self.principal.email.map(JSONValue.string)
        object["name"] = self.principal.name.map(JSONValue.string)
        object["groups"] = self.principal.groups.map { .array($0.map(JSONValue.string)) }
        object["refresh"] = self.refreshToken.map { .string($0.reveal()) }
        return .object(object)
    }

    package init?(_ json: JSONValue) {
        guard let subject = json["sub"]?.string, let session = json["session"]?.string else { return nil }
        self.principal = Principal(
            subject: subject, email: json["email"]?.string, name: json["name"]?.string,
            groups: json["groups"]?.array?.compactMap(\.string))
        self.sessionID = session
        self.refreshToken = json["refresh"]?.string.map(Secret.init)
    }
}
