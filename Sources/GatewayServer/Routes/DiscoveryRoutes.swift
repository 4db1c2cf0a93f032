// SPDX-License-Identifier: Apache-2.0

internal import GatewayCore
internal import GatewayRelay
internal import NIOCore
internal import NIOHTTP1

/// What a client learns before it signs in: the metadata document (RFC 8414), the protocol's description and the landing
/// page.
struct DiscoveryRoutes: Sendable {
    let publicURL: String
    let issuerHost: String
    let pages: Pages

    func mount(on routes: RouteTable) {
        let document: JSONValue = [
            "issuer": .string(self.publicURL),
            "device_authorization_endpoint": .string(self.publicURL + "/oauth/device_authorization"),
            "token_endpoint": .string(self.publicURL + "/oauth/token"),
            "revocation_endpoint": .string(self.publicURL + RevocationRoutes.path),
            "revocation_endpoint_auth_methods_supported": ["none"],
            "grant_types_supported": ["urn:ietf:params:oauth:grant-type:device_code", "refresh_token"],
            "response_types_supported": [],
            "token_endpoint_auth_methods_supported": ["none"],
            "scopes_supported": ["openid", "profile", "email"],
            "gateway_protocol_version": 1,
        ]
        routes.get("/.well-known/oauth-authorization-server") { _ in .json(.ok, document) }
        let description = PlainResponse(
            status: .ok, headers: ["content-type": "text/markdown; charset=utf-8"],
            body: .bytes(ByteBuffer(string: ProtocolDocument.text)))
        routes.get("/protocol") { _ in description }
        let landing = self.pages.landing(publicURL: self.publicURL, issuerHost: self.issuerHost)
        routes.get("/") { _ in landing }
    }
}
