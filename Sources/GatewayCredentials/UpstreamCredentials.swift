// SPDX-License-Identifier: Apache-2.0

internal import GatewayCore
internal import GatewayHTTPClient
package import GatewayProviders

/// Makes what an upstream's credential needs.
package enum UpstreamCredentials {
    /// - Returns: `nil` when the configuration holds all there is.
    package static func make(for upstream: UpstreamSettings, _ environment: CredentialEnvironment)
        -> (any UpstreamCredential)?
    {
        switch upstream.provider.credential {
        case .none: return nil
        case .aws(let authentication, let role, let region):
            let base: any UpstreamCredential
            switch authentication {
            case .keys(let keys):
                base = RefreshingCredential {
                    FetchedCredential(.aws(keys), expiresAt: nil, source: "aws_access_key_id")
                }
            case .bearer(let token):
                base = RefreshingCredential {
                    FetchedCredential(.bearer(token), expiresAt: nil, source: "aws_bearer_token")
                }
            case .ambient:
                let chain = AWSCredentialChain(environment: environment, region: region)
                base = RefreshingCredential { try await chain.fetch() }
            }
            guard let role else { return base }
            return AWSRoleCredential(
                role: role, base: base, tokens: AWSSecurityTokens(environment: environment, region: region))
        case .google(let authentication):
            return self.google(authentication, environment)
        case .azure:
            let source = AzureCredentialSource(environment: environment)
            return RefreshingCredential { try await source.fetch() }
        case .federation(let federation):
            let url = upstream.baseURL.origin + upstream.basePath + "/v1/oauth/token"
            return RefreshingCredential { try await self.federate(federation, url, environment) }
        }
    }

    /// A Google access token, for services other than upstreams.
    package static func google(_ authentication: GoogleAuthentication, _ environment: CredentialEnvironment)
        -> any UpstreamCredential
    {
        let source = GoogleCredentialSource(environment: environment, authentication: authentication)
        return RefreshingCredential { try await source.fetch() }
    }

    /// Fetches an upstream's credential and says, in words for people, where it came from and whose it is.
    ///
    /// - Returns: `nil` when the configuration holds all there is, and nothing needs to be fetched.
    /// - Throws: Why there is none, or why it is not taken.
    package static func examine(_ upstream: UpstreamSettings, _ environment: CredentialEnvironment) async throws
        -> String?
    {
        guard let credential = self.make(for: upstream, environment) else { return nil }
        let nobody = Principal(subject: "claude-gateway", email: "claude-gateway@example.com")
        let source = try await credential.source(for: nobody)
        guard case .aws(_, _, let region) = upstream.provider.credential,
            case .aws(let keys) = try await credential.resolve(for: nobody)
        else { return source }
        let owner = try await AWSSecurityTokens(environment: environment, region: region).callerIdentity(keys)
        return "\(source) (\(owner.printableASCII(limit: 200)))"
    }

    /// Anthropic's workload identity federation: the identity token's file is read anew for each exchange.
    private static func federate(
        _ federation: AnthropicProvider.Federation, _ url: String, _ environment: CredentialEnvironment,
    ) async throws -> FetchedCredential {
        let token = try environment.file(federation.tokenFile).trimmingSpaces
        var fields: JSONObject = [
            "grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer", "assertion": .string(token),
            "federation_rule_id": .string(federation.ruleID), "organization_id": .string(federation.organizationID),
        ]
        fields["service_account_id"] = federation.serviceAccountID.map(JSONValue.string)
        fields["workspace_id"] = federation.workspaceID.map(JSONValue.string)
        let request = OutboundRequest(
            "POST", url,
            headers: [
                ("content-type", "application/json"),
                ("anthropic-beta", "oauth-2025-04-20,oidc-federation-2026-04-01"),
            ], body: JSONValue.object(fields).bytes())
        let json = try await environment.json(request, of: "the token exchange at \(url)")
        guard let access = json["access_token"]?.string else {
            throw CredentialFailure("the token exchange at \(url) gave no access_token")
        }
        let life = Double(json["expires_in"]?.integer ?? 3600)
        return FetchedCredential(
            .bearer(Secret(access)), expiresAt: Timestamp.now.advanced(bySeconds: life), source: "federation")
    }
}
