// SPDX-License-Identifier: Apache-2.0

import GatewayConfig
import GatewayCore
import GatewayIdentity
import Testing

/// Claims as identity providers send them, the settings that an operator writes for them, and who that is.
@Suite("Identity providers' tokens")
struct TokenShapeTests {
    struct Shape: Sendable, CustomTestStringConvertible {
        let testDescription: String
        /// The `oidc` section, without `client_secret`.
        let oidc: String
        let claims: String
        var userinfo: String?
        let principal: Principal
        var isAdmitted = true
    }

    private static let now = Timestamp(seconds: 1_800_000_060)

    private func settings(_ oidc: String) throws -> OIDCSettings {
        var report = ConfigReport()
        let node = try #require(
            YAMLReader.read(oidc + "\nclient_secret: s\n", expanding: .skipping, into: &report))
        ConfigValidator.validate(node, as: OIDCSettings.section, into: &report)
        #expect(report.errors.isEmpty, "\(report.sorted)")
        return OIDCSettings(node)
    }

    private func read(_ shape: Shape, _ settings: OIDCSettings) throws -> IdentityClaims {
        let claims = try #require(JSONValue(parsing: shape.claims).object)
        try IDTokenRules(issuer: settings.issuer, settings: settings).check(claims, nonce: nil, now: Self.now)
        var identity = try IdentityClaims(claims, settings: settings)
        if let userinfo = try shape.userinfo.map({ try JSONValue(parsing: $0) })?.object, settings.usesUserinfo {
            identity.fill(from: try IdentityClaims(userinfo, settings: settings))
        }
        return identity
    }

    @Test(
        "name the developer",
        arguments: okta + entra + google + keycloak + dex + pingFederate + adfs + auth0)
    func nameTheDeveloper(_ shape: Shape) throws {
        let settings = try self.settings(shape.oidc)
        let identity = try self.read(shape, settings)
        #expect(identity.subject == shape.principal.subject)
        #expect(identity.email == shape.principal.email)
        #expect(identity.name == shape.principal.name)
        #expect(identity.groups == shape.principal.groups)
        if shape.isAdmitted {
            #expect(try identity.principal(settings: settings) == shape.principal)
        } else {
            #expect(throws: SignInFailure.self) { try identity.principal(settings: settings) }
        }
    }
}

// MARK: Okta

/// <https://developer.okta.com/docs/api/openapi/okta-oauth/guides/overview/> and
/// <https://developer.okta.com/docs/guides/customize-tokens-groups-claim/main/>: the org server's issuer is the bare
/// domain, a custom server's ends with its id; groups come with the `groups` scope from the org server, and under
/// whatever name the claim was given from a custom one. A token that was issued beside an access token may be thin.
private let okta = [
    TokenShapeTests.Shape(
        testDescription: "Okta, org authorization server",
        oidc: """
            issuer: https://example.okta.com
            client_id: 0oabucvy
            scopes: [openid, profile, email, groups, offline_access]
            """,
        claims: #"""
            {"sub":"00uid4BxXw6I6TV4m0g3","name":"John Doe","email":"john.doe@example.com","ver":1,
             "iss":"https://example.okta.com","aud":"0oabucvy","iat":1800000000,"exp":1800003600,
             "jti":"ID.4eAWJOCMB3SX8XewDfVR","amr":["pwd"],"idp":"00oabcd","nonce":"n",
             "preferred_username":"john.doe@example.com","auth_time":1799999990,"at_hash":"cpqKfdQA5eH891Ff5oJr_Q",
             "email_verified":true,"groups":["Everyone","Engineering"]}
            """#,
        principal: Principal(
            subject: "00uid4BxXw6I6TV4m0g3", email: "john.doe@example.com", name: "John Doe",
            groups: ["Everyone", "Engineering"])),
    TokenShapeTests.Shape(
        testDescription: "Okta, org authorization server, thin token and userinfo",
        oidc: """
            issuer: https://example.okta.com/
            client_id: 0oabucvy
            userinfo_fallback: true
            """,
        claims: #"""
            {"sub":"00uid4BxXw6I6TV4m0g3","ver":1,"iss":"https://example.okta.com/","aud":"0oabucvy",
             "iat":1800000000,"exp":1800003600,"amr":["pwd"],"idp":"00oabcd","auth_time":1799999990}
            """#,
        userinfo: #"""
            {"sub":"00uid4BxXw6I6TV4m0g3","name":"John Doe","locale":"en-US","email":"john.doe@example.com",
             "email_verified":true,"zoneinfo":"America/Los_Angeles","updated_at":1799000000,"groups":["Everyone"]}
            """#,
        principal: Principal(
            subject: "00uid4BxXw6I6TV4m0g3", email: "john.doe@example.com", name: "John Doe", groups: ["Everyone"])),
    TokenShapeTests.Shape(
        testDescription: "Okta, custom authorization server with a claim of its own",
        oidc: """
            issuer: https://example.okta.com/oauth2/ausnsopoM6vBRB3PD0g3
            client_id: 0oabucvy
            groups_claim: claude_groups
            """,
        claims: #"""
            {"sub":"00uid4BxXw6I6TV4m0g3","name":"John Doe","email":"john.doe@example.com","ver":1,
             "iss":"https://example.okta.com/oauth2/ausnsopoM6vBRB3PD0g3","aud":"0oabucvy","iat":1800000000,
             "exp":1800003600,"jti":"ID.x","amr":["mfa","otp","pwd"],"idp":"00oabcd",
             "preferred_username":"john.doe@example.com","claude_groups":["claude-users"],"groups":["Everyone"]}
            """#,
        principal: Principal(
            subject: "00uid4BxXw6I6TV4m0g3", email: "john.doe@example.com", name: "John Doe",
            groups: ["claude-users"])),
]

// MARK: Microsoft Entra ID

/// <https://learn.microsoft.com/en-us/entra/identity-platform/id-token-claims-reference> and, for group ids, app roles
/// and the overage, <https://learn.microsoft.com/en-us/entra/identity-platform/access-token-claims-reference>: more
/// than 200 groups are not in the token, which then says where to ask for them.
private let entra = [
    TokenShapeTests.Shape(
        testDescription: "Entra ID, groups by object id, address in preferred_username",
        oidc: """
            issuer: https://login.microsoftonline.com/9122040d-6c67-4c5b-b112-36a304b66dad/v2.0
            client_id: 6cb04018-a3f5-46a7-b995-940c78f5aef3
            email_claim: [email, preferred_username]
            allowed_groups: [0b5d6c2e-4a5a-4f5c-8d4c-0d9b3a2f1e11]
            """,
        claims: #"""
            {"ver":"2.0","iss":"https://login.microsoftonline.com/9122040d-6c67-4c5b-b112-36a304b66dad/v2.0",
             "sub":"AAAAAAAAAAAAAAAAAAAAAIkzqFVrSaSaFHy782bbtaQ","aud":"6cb04018-a3f5-46a7-b995-940c78f5aef3",
             "exp":1800086700,"iat":1800000000,"nbf":1800000000,"name":"Abe Lincoln",
             "preferred_username":"AbeLi@example.com","oid":"00000000-0000-0000-66f3-3332eca7ea81",
             "tid":"9122040d-6c67-4c5b-b112-36a304b66dad","nonce":"123523","aio":"Df2UVXL1ix","rh":"0.AX8A","uti":"u",
             "groups":["0b5d6c2e-4a5a-4f5c-8d4c-0d9b3a2f1e11","7d1e2a6f-90c4-4f1a-8a55-2b6f0c9e7d22"]}
            """#,
        principal: Principal(
            subject: "AAAAAAAAAAAAAAAAAAAAAIkzqFVrSaSaFHy782bbtaQ", email: "AbeLi@example.com", name: "Abe Lincoln",
            groups: ["0b5d6c2e-4a5a-4f5c-8d4c-0d9b3a2f1e11", "7d1e2a6f-90c4-4f1a-8a55-2b6f0c9e7d22"])),
    TokenShapeTests.Shape(
        testDescription: "Entra ID, app roles",
        oidc: """
            issuer: https://login.microsoftonline.com/9122040d-6c67-4c5b-b112-36a304b66dad/v2.0
            client_id: 6cb04018-a3f5-46a7-b995-940c78f5aef3
            groups_claim: roles
            """,
        claims: #"""
            {"ver":"2.0","iss":"https://login.microsoftonline.com/9122040d-6c67-4c5b-b112-36a304b66dad/v2.0",
             "sub":"AAAAAAAAAAAAAAAAAAAAAIkzqFVrSaSaFHy782bbtaQ","aud":"6cb04018-a3f5-46a7-b995-940c78f5aef3",
             "exp":1800086700,"iat":1800000000,"nbf":1800000000,"name":"Abe Lincoln","email":"abe@example.com",
             "preferred_username":"AbeLi@example.com","tid":"9122040d-6c67-4c5b-b112-36a304b66dad",
             "groups":["0b5d6c2e-4a5a-4f5c-8d4c-0d9b3a2f1e11"],"roles":["Claude.User","Claude.Admin"]}
            """#,
        principal: Principal(
            subject: "AAAAAAAAAAAAAAAAAAAAAIkzqFVrSaSaFHy782bbtaQ", email: "abe@example.com", name: "Abe Lincoln",
            groups: ["Claude.User", "Claude.Admin"])),
    TokenShapeTests.Shape(
        testDescription: "Entra ID, more groups than the token holds",
        oidc: """
            issuer: https://login.microsoftonline.com/9122040d-6c67-4c5b-b112-36a304b66dad/v2.0
            client_id: 6cb04018-a3f5-46a7-b995-940c78f5aef3
            email_claim: preferred_username
            allowed_groups: [src1]
            """,
        claims: #"""
            {"ver":"2.0","iss":"https://login.microsoftonline.com/9122040d-6c67-4c5b-b112-36a304b66dad/v2.0",
             "sub":"AAAAAAAAAAAAAAAAAAAAAIkzqFVrSaSaFHy782bbtaQ","aud":"6cb04018-a3f5-46a7-b995-940c78f5aef3",
             "exp":1800086700,"iat":1800000000,"nbf":1800000000,"name":"Abe Lincoln",
             "preferred_username":"AbeLi@example.com","_claim_names":{"groups":"src1"},
             "_claim_sources":{"src1":{"endpoint":
              "https://graph.windows.net/9122040d-6c67-4c5b-b112-36a304b66dad/users/00000000/getMemberObjects"}}}
            """#,
        principal: Principal(
            subject: "AAAAAAAAAAAAAAAAAAAAAIkzqFVrSaSaFHy782bbtaQ", email: "AbeLi@example.com", name: "Abe Lincoln"),
        isAdmitted: false),
    TokenShapeTests.Shape(
        testDescription: "Entra ID, more groups than an implicit token holds",
        oidc: """
            issuer: https://login.microsoftonline.com/9122040d-6c67-4c5b-b112-36a304b66dad/v2.0
            client_id: 6cb04018-a3f5-46a7-b995-940c78f5aef3
            allowed_groups: ["true"]
            """,
        claims: #"""
            {"iss":"https://login.microsoftonline.com/9122040d-6c67-4c5b-b112-36a304b66dad/v2.0",
             "sub":"AAAAAAAAAAAAAAAAAAAAAIkzqFVrSaSaFHy782bbtaQ","aud":"6cb04018-a3f5-46a7-b995-940c78f5aef3",
             "exp":1800086700,"iat":1800000000,"email":"abe@example.com","hasgroups":true}
            """#,
        principal: Principal(subject: "AAAAAAAAAAAAAAAAAAAAAIkzqFVrSaSaFHy782bbtaQ", email: "abe@example.com"),
        isAdmitted: false),
]

// MARK: Google Workspace

/// <https://developers.google.com/identity/openid-connect/openid-connect>: `hd` names the Workspace domain, and groups
/// are never in the token.
private let google = [
    TokenShapeTests.Shape(
        testDescription: "Google Workspace",
        oidc: """
            issuer: https://accounts.google.com
            client_id: 1234987819200.apps.googleusercontent.com
            allowed_email_domains: [example.com]
            """,
        claims: #"""
            {"iss":"https://accounts.google.com","azp":"1234987819200.apps.googleusercontent.com",
             "aud":"1234987819200.apps.googleusercontent.com","sub":"10769150350006150715113082367",
             "at_hash":"HK6E_P6Dh8Y93mRNtsDB1Q","hd":"example.com","email":"jsmith@example.com",
             "email_verified":true,"name":"Jay Smith","given_name":"Jay","family_name":"Smith",
             "iat":1800000000,"exp":1800003600,"nonce":"0394852-3190485-2490358"}
            """#,
        principal: Principal(
            subject: "10769150350006150715113082367", email: "jsmith@example.com", name: "Jay Smith")),
    TokenShapeTests.Shape(
        testDescription: "Google, an account of no Workspace, whose address was not verified",
        oidc: """
            issuer: https://accounts.google.com
            client_id: 1234987819200.apps.googleusercontent.com
            allowed_email_domains: [example.com]
            """,
        claims: #"""
            {"iss":"https://accounts.google.com","azp":"1234987819200.apps.googleusercontent.com",
             "aud":"1234987819200.apps.googleusercontent.com","sub":"110169484474386276334",
             "email":"jsmith@example.com","email_verified":false,"iat":1800000000,"exp":1800003600}
            """#,
        principal: Principal(subject: "110169484474386276334", email: "jsmith@example.com"), isAdmitted: false),
    TokenShapeTests.Shape(
        testDescription: "Google, whose hosted domain vouches for no address of another",
        oidc: """
            issuer: https://accounts.google.com
            client_id: 1234987819200.apps.googleusercontent.com
            allowed_email_domains: [example.com]
            """,
        claims: #"""
            {"iss":"https://accounts.google.com","aud":"1234987819200.apps.googleusercontent.com",
             "sub":"110169484474386276334","hd":"example.com","email":"jsmith@gmail.com","email_verified":true,
             "iat":1800000000,"exp":1800003600}
            """#,
        principal: Principal(subject: "110169484474386276334", email: "jsmith@gmail.com"), isAdmitted: false),
]

// MARK: Keycloak

private let keycloakClaims = #"""
    {"exp":1800000300,"iat":1800000000,"auth_time":1799999999,"jti":"3f2f9c1e-7a0e-4d0e-8f6d-2b1f5a3c4d5e",
     "iss":"https://sso.example.com/realms/corp","aud":"claude-gateway",
     "sub":"f:2c9a1c7e-1111-4f0e-9d65-6f0a4f0f9a11:jdoe","typ":"ID","azp":"claude-gateway","nonce":"n",
     "session_state":"5d0e","at_hash":"h","acr":"1","sid":"5d0e","email_verified":true,
     "realm_access":{"roles":["offline_access","uma_authorization","claude-user"]},
     "resource_access":{"claude-gateway":{"roles":["admin"]},"account":{"roles":["view-profile"]}},
     "groups":["/engineering","/engineering/platform"],"name":"Jane Doe","preferred_username":"jdoe",
     "given_name":"Jane","family_name":"Doe","email":"jane@example.com"}
    """#

/// <https://www.keycloak.org/docs/latest/server_admin/index.html#_protocol-mappers>: the group membership mapper writes
/// full paths, with a leading slash, unless told not to; roles are nested, and reach the id_token if their mapper adds
/// them to it.
private let keycloak = [
    ("groups as full paths", "", ["/engineering", "/engineering/platform"]),
    ("realm roles", "groups_claim: /realm_access/roles", ["offline_access", "uma_authorization", "claude-user"]),
    ("client roles", "groups_claim: /resource_access/claude-gateway/roles", ["admin"]),
    ("a dotted name, which is no path", "groups_claim: realm_access.roles", nil),
].map { (name: String, line: String, groups: [String]?) in
    TokenShapeTests.Shape(
        testDescription: "Keycloak, \(name)",
        oidc: "issuer: https://sso.example.com/realms/corp\nclient_id: claude-gateway\n\(line)",
        claims: keycloakClaims,
        principal: Principal(
            subject: "f:2c9a1c7e-1111-4f0e-9d65-6f0a4f0f9a11:jdoe", email: "jane@example.com", name: "Jane Doe",
            groups: groups))
}

// MARK: Dex

/// <https://dexidp.io/docs/configuration/custom-scopes-claims-clients/> and the example of Dex's README: `sub` is a
/// base64 protobuf of user and connector, groups come with the `groups` scope, and a token for several clients has azp.
private let dex = [
    TokenShapeTests.Shape(
        testDescription: "Dex",
        oidc: """
            issuer: https://dex.example.com/dex
            client_id: example-app
            scopes: [openid, profile, email, groups, offline_access]
            """,
        claims: #"""
            {"iss":"https://dex.example.com/dex","sub":"CgcyMzQyNzQ5EgZnaXRodWI","aud":"example-app",
             "exp":1800086400,"iat":1800000000,"at_hash":"bi96gOXZShvlWYtal9Eqiw","email":"jane@example.com",
             "email_verified":true,"groups":["admins","developers"],"name":"Jane Doe",
             "federated_claims":{"connector_id":"github","user_id":"2342749"}}
            """#,
        principal: Principal(
            subject: "CgcyMzQyNzQ5EgZnaXRodWI", email: "jane@example.com", name: "Jane Doe",
            groups: ["admins", "developers"])),
    TokenShapeTests.Shape(
        testDescription: "Dex, a token for several clients that trust each other",
        oidc: """
            issuer: https://dex.example.com/dex
            client_id: web-app
            additional_authorized_parties: [cli-app]
            """,
        claims: #"""
            {"iss":"https://dex.example.com/dex","sub":"CgcyMzQyNzQ5EgZnaXRodWI","aud":["web-app","cli-app"],
             "azp":"cli-app","exp":1800086400,"iat":1800000000,"email":"jane@example.com","email_verified":true,
             "groups":null}
            """#,
        principal: Principal(subject: "CgcyMzQyNzQ5EgZnaXRodWI", email: "jane@example.com")),
]

// MARK: PingFederate

/// Page `help_policymanagementtasklet_createpolicycontractstate.html` of
/// <https://docs.pingidentity.com/pingfederate/latest/administrators_reference_guide/>: an attribute of several values
/// is a list, and one of a single value text, unless it is marked as always being a list.
private let pingFederate = [
    (#""CN=Claude,OU=Groups,DC=example,DC=com""#, ["CN=Claude,OU=Groups,DC=example,DC=com"]),
    (
        #"["CN=Claude,OU=Groups,DC=example,DC=com","CN=Eng,OU=Groups,DC=example,DC=com"]"#,
        ["CN=Claude,OU=Groups,DC=example,DC=com", "CN=Eng,OU=Groups,DC=example,DC=com"]
    ),
].map { (memberOf: String, groups: [String]) in
    TokenShapeTests.Shape(
        testDescription: "PingFederate, \(groups.count) of memberOf",
        oidc: """
            issuer: https://ping.example.com
            client_id: claude_gateway
            groups_claim: memberOf
            email_claim: mail
            allowed_groups: ["CN=Claude,OU=Groups,DC=example,DC=com"]
            """,
        claims: #"""
            {"sub":"jdoe","aud":"claude_gateway","jti":"IVMwzDAMMRUcpEYyRvbWGE","iss":"https://ping.example.com",
             "iat":1800000000,"exp":1800000300,"acr":"urn:oasis:names:tc:SAML:2.0:ac:classes:Password",
             "auth_time":1800000000,"pi.sri":"s","mail":"jane@example.com","name":"Jane Doe","memberOf":\#(memberOf)}
            """#,
        principal: Principal(subject: "jdoe", email: "jane@example.com", name: "Jane Doe", groups: groups))
}

// MARK: AD FS

/// <https://learn.microsoft.com/en-us/windows-server/identity/ad-fs/development/custom-id-tokens-in-ad-fs>: the name of
/// each claim is the issuance rule's, and a claim of one value is text.
private let adfs = [
    ("group", #""EXAMPLE\\Claude""#, ["EXAMPLE\\Claude"]),
    ("group", #"["EXAMPLE\\Claude","EXAMPLE\\Domain Users"]"#, ["EXAMPLE\\Claude", "EXAMPLE\\Domain Users"]),
    ("role", #""claude-user""#, ["claude-user"]), ("role", #"["claude-user","admin"]"#, ["claude-user", "admin"]),
].map { (claim: String, value: String, groups: [String]) in
    TokenShapeTests.Shape(
        testDescription: "AD FS, \(groups.count) of \(claim)",
        oidc: """
            issuer: https://adfs.example.com/adfs
            client_id: 5b9c1f1e-0f7e-4d7b-9a35-7b2f0a4f2c33
            email_claim: upn
            groups_claim: \(claim)
            scopes: [openid, profile, email, allatclaims]
            """,
        claims: #"""
            {"aud":"5b9c1f1e-0f7e-4d7b-9a35-7b2f0a4f2c33","iss":"https://adfs.example.com/adfs","iat":1800000000,
             "nbf":1800000000,"exp":1800003600,"auth_time":1799999990,"nonce":"n",
             "sub":"5Q0nyD1H3ZDFFGvD1kGkFnHqLq2vD2n3i8b3n1k0yqk=","upn":"jane@example.com",
             "unique_name":"EXAMPLE\\jane","pwd_exp":"3024000","sid":"S-1-5-21-1-2-3-1104","\#(claim)":\#(value)}
            """#,
        principal: Principal(
            subject: "5Q0nyD1H3ZDFFGvD1kGkFnHqLq2vD2n3i8b3n1k0yqk=", email: "jane@example.com", groups: groups))
}

// MARK: Auth0

/// <https://auth0.com/docs/secure/tokens/json-web-tokens/create-custom-claims>: custom claims are named by a URL, and
/// the issuer ends with a slash.
private let auth0 = [
    ("https://example.com/groups", ["eng", "claude"]), ("https://example.com/roles", ["admin"]), ("groups", nil),
].map { (claim: String, groups: [String]?) in
    TokenShapeTests.Shape(
        testDescription: "Auth0, \(claim)",
        oidc: """
            issuer: https://example.eu.auth0.com/
            client_id: q8v7SqQmZ0
            groups_claim: \(claim)
            """,
        claims: #"""
            {"https://example.com/groups":["eng","claude"],"https://example.com/roles":"admin","nickname":"jane",
             "name":"Jane Doe","picture":"https://s.gravatar.com/avatar/1.png","updated_at":"2027-01-15T08:00:00.000Z",
             "email":"jane@example.com","email_verified":true,"iss":"https://example.eu.auth0.com/",
             "aud":"q8v7SqQmZ0","sub":"auth0|5f7c8ec7c33c6c004bbafe82","iat":1800000000,"exp":1800036000,"sid":"s"}
            """#,
        principal: Principal(
            subject: "auth0|5f7c8ec7c33c6c004bbafe82", email: "jane@example.com", name: "Jane Doe", groups: groups))
}
