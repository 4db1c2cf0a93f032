// SPDX-License-Identifier: Apache-2.0

internal import GatewayCore
internal import GatewayHTTPClient

/// The gateway that this machine is signed in to.
package struct SignedInGateway: Sendable {
    /// With less than this left, a bearer is refreshed before it is used.
    package static let refreshMargin = 300.0

    private let file: CredentialFile
    private let environment: [String: String]

    package init(file: CredentialFile, environment: [String: String]) {
        self.file = file
        self.environment = environment
    }

    /// The credential, with a bearer that lasts for a while. The refresh runs under the file's lock, and whoever waited
    /// for it finds its result instead of using the replaced refresh token again.
    package func credential() async throws -> Credential {
        guard let credential = try self.file.read() else {
            throw ClientFailure.notSignedIn("Not signed in. Run claude login.")
        }
        if Self.isFresh(credential) { return credential }
        do {
            return try await self.refreshUnderLock()
        } catch ClientFailure.unreachable where credential.expiresAt > .now {
            // Somebody else's refresh takes long; the bearer that is there still works.
            return credential
        }
    }

    private func refreshUnderLock() async throws -> Credential {
        try await self.file.withLock {
            guard let current = try self.file.read() else {
                throw ClientFailure.notSignedIn("Not signed in. Run claude login.")
            }
            if Self.isFresh(current) { return current }
            return try await self.refresh(current)
        }
    }

    private static func isFresh(_ credential: Credential) -> Bool {
        credential.expiresAt > Timestamp.now.advanced(bySeconds: self.refreshMargin)
    }

    private func refresh(_ credential: Credential) async throws -> Credential {
        let isAlive = credential.expiresAt > .now
        guard let token = credential.refreshToken else {
            if isAlive { return credential }
            throw ClientFailure.notSignedIn("Your session has expired. Run claude login.")
        }
        let fields = [("grant_type", "refresh_token"), ("refresh_token", token.reveal())]
        let response: OutboundResponse
        do {
            response = try await self.connection(credential).send(
                .form(credential.tokenEndpoint, fields, timeout: .seconds(10)))
        } catch let failure as ClientFailure {
            // The old bearer goes on while it lives.
            if isAlive, case .unreachable = failure { return credential }
            throw failure
        }
        if let answer = TokenResponse(response) {
            var renewed = credential
            renewed.accessToken = answer.accessToken
            renewed.expiresAt = answer.expiresAt
            renewed.refreshToken = answer.refreshToken ?? token
            try self.file.write(renewed)
            return renewed
        }
        if response.json?["error"]?.string == "invalid_grant" {
            if isAlive { return credential }
            throw ClientFailure.notSignedIn("Your session has ended. Run claude login.")
        }
        if isAlive { return credential }
        throw ClientFailure.unreachable(
            "the gateway could not refresh your session (HTTP \(response.status)). Try again in a minute.")
    }

    package func connection(_ credential: Credential) -> GatewayConnection {
        GatewayConnection(url: credential.url, fingerprint: credential.fingerprint, environment: self.environment)
    }

    /// A GET with the bearer.
    package func get(_ path: String) async throws -> (status: Int, body: [UInt8]) {
        let credential = try await self.credential()
        let response = try await self.connection(credential).get(path, bearer: credential.accessToken)
        if response.status == 401 {
            throw ClientFailure.notSignedIn("The gateway no longer accepts this session. Run claude login.")
        }
        return (response.status, response.body)
    }

    /// Tells the gateway that the session is over, where it can be told. The credential's removal does not depend on it.
    package func revoke(_ credential: Credential) async {
        guard let endpoint = credential.revocationEndpoint else { return }
        let connection = self.connection(credential)
        var forms = [[("token", credential.accessToken.reveal())]]
        if let refresh = credential.refreshToken {
            forms.append([("token", refresh.reveal()), ("token_type_hint", "refresh_token")])
        }
        for form in forms { _ = try? await connection.send(.form(endpoint, form, timeout: .seconds(5))) }
    }
}
