// SPDX-License-Identifier: Apache-2.0

internal import GatewayCore
internal import GatewayHTTPClient

/// The device grant (RFC 8628) as a client goes through it.
package struct DeviceSignIn: Sendable {
    /// What discovery says and the connection showed.
    package struct Gateway: Sendable {
        package let deviceEndpoint: String
        package let tokenEndpoint: String
        package let revocationEndpoint: String?
        package let fingerprint: String?
    }

    /// What to show to the person.
    package struct Prompt: Sendable {
        package let userCode: String
        package let page: String
        /// The page with the code filled in.
        package let completePage: String
        package let expiresIn: Duration
        package let notice: String?
        let deviceCode: String
        let interval: Duration
    }

    private let connection: GatewayConnection

    package init(connection: GatewayConnection) {
        self.connection = connection
    }

    package func discover() async throws -> Gateway {
        let url = self.connection.url + "/.well-known/oauth-authorization-server"
        let response = try await self.connection.send(
            OutboundRequest("GET", url, headers: [("accept", "application/json")]))
        guard response.status == 200, let json = response.json else {
            throw ClientFailure.refused(
                "\(self.connection.url) answered HTTP \(response.status) to discovery. Is this the gateway's address?")
        }
        // An endpoint on another origin is not believed: the credential must not be sent elsewhere.
        let origin = WebURL(self.connection.url)?.origin
        func own(_ name: String) -> String? {
            json[name]?.string.flatMap { WebURL($0)?.origin == origin ? $0 : nil }
        }
        return Gateway(
            deviceEndpoint: own("device_authorization_endpoint") ?? self.connection.url + "/oauth/device_authorization",
            tokenEndpoint: own("token_endpoint") ?? self.connection.url + "/oauth/token",
            revocationEndpoint: own("revocation_endpoint"), fingerprint: response.peerFingerprint)
    }

    package func begin(_ gateway: Gateway) async throws -> Prompt {
        let response = try await self.connection.send(
            .form(gateway.deviceEndpoint, [("surface", "claude_gateway_cli")]))
        guard response.status == 200, let json = response.json, let device = json["device_code"]?.string,
            let code = json["user_code"]?.string, let page = json["verification_uri"]?.string,
            let lifetime = json["expires_in"]?.number
        else { throw Self.refusal(response, "starting the sign-in") }
        return Prompt(
            userCode: code, page: page, completePage: json["verification_uri_complete"]?.string ?? page,
            expiresIn: .seconds(lifetime), notice: json["login_notice"]?.string, deviceCode: device,
            interval: .seconds(json["interval"]?.number ?? 5))
    }

    /// Polls until the person has decided.
    ///
    /// - Parameter tick: Called about once a second with the time that is left.
    package func wait(_ prompt: Prompt, at gateway: Gateway, tick: (Duration) -> Void) async throws -> Credential {
        let deadline = ContinuousClock.now + prompt.expiresIn
        var interval = prompt.interval
        var nextPoll = ContinuousClock.now + interval
        while ContinuousClock.now < deadline {
            tick(ContinuousClock.now.duration(to: deadline))
            try await Task.sleep(for: .milliseconds(500))
            guard ContinuousClock.now >= nextPoll else { continue }
            let fields = [
                ("grant_type", "urn:ietf:params:oauth:grant-type:device_code"), ("device_code", prompt.deviceCode),
            ]
            let response: OutboundResponse
            do {
                response = try await self.connection.send(.form(gateway.tokenEndpoint, fields))
            } catch ClientFailure.unreachable {
                // A restart of the gateway or a moment without network need not end the sign-in.
                nextPoll = .now + interval
                continue
            }
            if response.status == 200 { return try self.credential(response, gateway) }
            switch response.json?["error"]?.string {
            case "authorization_pending"?: break
            // RFC 8628 §3.5: five seconds more, for good.
            case "slow_down"?: interval += .seconds(5)
            case "access_denied"?: throw ClientFailure.signInEnded("Sign-in was denied in the browser.")
            case "expired_token"?:
                throw ClientFailure.signInEnded(
                    "Sign-in timed out before the browser was done. Run claude login again.")
            default:
                if response.status < 500 { throw Self.refusal(response, "waiting for the sign-in") }
            }
            nextPoll = .now + interval
        }
        throw ClientFailure.signInEnded("Sign-in timed out before the browser was done. Run claude login again.")
    }

    private func credential(_ response: OutboundResponse, _ gateway: Gateway) throws -> Credential {
        guard let answer = TokenResponse(response) else { throw Self.refusal(response, "the sign-in") }
        return Credential(
            url: self.connection.url, accessToken: answer.accessToken, expiresAt: answer.expiresAt,
            refreshToken: answer.refreshToken, tokenEndpoint: gateway.tokenEndpoint,
            revocationEndpoint: gateway.revocationEndpoint, fingerprint: gateway.fingerprint)
    }

    private static func refusal(_ response: OutboundResponse, _ doing: String) -> ClientFailure {
        let text =
            response.json?["error_description"]?.string ?? response.json?["error"]?.string ?? "HTTP \(response.status)"
        return .refused("the gateway refused \(doing): \(text.singleLine)")
    }
}

/// A token endpoint's 200.
struct TokenResponse {
    let accessToken: Secret
    let expiresAt: Timestamp
    let refreshToken: Secret?

    init?(_ response: OutboundResponse) {
        guard response.status == 200, let json = response.json, let access = json["access_token"]?.string,
            let lifetime = json["expires_in"]?.number
        else { return nil }
        self.accessToken = Secret(access)
        self.expiresAt = Timestamp.now.advanced(bySeconds: lifetime)
        self.refreshToken = json["refresh_token"]?.string.map(Secret.init)
    }
}
