// SPDX-License-Identifier: Apache-2.0

internal import GatewayCore
internal import GatewayHTTPClient

/// The groups of a developer who is in more of them than a token of Microsoft Entra holds ("group overage").
///
/// Sources: <https://learn.microsoft.com/en-us/security/zero-trust/develop/configure-tokens-group-claims-app-roles>,
/// <https://learn.microsoft.com/en-us/graph/api/user-list-transitivememberof>. The developer's own access token is used; it
/// needs `GroupMember.Read.All` among `oidc.scopes`.
struct EntraGroups: Sendable {
    private static let requestTimeout = Duration.milliseconds(3500)
    /// A directory that goes on for ever must not hold a sign-in: 20,000 groups.
    private static let maximumPages = 20

    let graphURL: String
    let client: OutboundClient
    /// `oidc.use_proxy`.
    let usesProxy: Bool

    /// The groups' object ids, as tokens have them.
    func groups(with token: Secret) async throws(SignInFailure) -> [String] {
        let origin = WebURL(self.graphURL)?.origin
        var next: String? =
            self.graphURL + "/v1.0/me/transitiveMemberOf/microsoft.graph.group?$count=true&$select=id&$top=999"
        var groups: [String] = []
        for _ in 0..<Self.maximumPages {
            guard let url = next else { return groups }
            let response: OutboundResponse
            do {
                var request = OutboundRequest(
                    "GET", url,
                    headers: [
                        ("authorization", "Bearer " + token.reveal()), ("accept", "application/json"),
                        // Without it, and without $count, Graph does not take a type in the path.
                        ("consistencylevel", "eventual"),
                    ], timeout: Self.requestTimeout)
                request.prepareProxy(self.usesProxy)
                response = try await self.client.send(request)
            } catch {
                throw .unavailable("entra_groups: \(error)")
            }
            guard response.status == 200, let json = response.json else {
                let code = response.json?["error"]?["code"]?.string.map { ": " + $0.printableASCII(limit: 100) } ?? ""
                let hint = response.status == 403 ? "; add GroupMember.Read.All to oidc.scopes and grant it" : ""
                throw .unavailable("entra_groups: Microsoft Graph answered with HTTP \(response.status)\(code)\(hint)")
            }
            groups += (json["value"]?.array ?? []).compactMap { $0["id"]?.string }
            next = json["@odata.nextLink"]?.string
            // The token goes nowhere else.
            if let link = next, WebURL(link)?.origin != origin {
                throw .unavailable("entra_groups: Microsoft Graph's list goes on at another host")
            }
        }
        throw .unavailable("entra_groups: the list of groups does not end")
    }
}
