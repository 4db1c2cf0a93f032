// SPDX-License-Identifier: Apache-2.0

internal import Foundation
internal import GatewayCore
internal import GatewayHTTPClient
internal import GatewayProviders
internal import Synchronization

/// The environment's own AWS credentials, in the order in which the AWS SDKs look for them.
///
/// Source: <https://docs.aws.amazon.com/sdkref/latest/guide/standardized-credentials.html>. A profile that
/// `AWS_PROFILE` names comes before everything else.
struct AWSCredentialChain: Sendable {
    let environment: CredentialEnvironment
    let region: String

    func fetch() async throws -> FetchedCredential {
        if let token = self.environment["AWS_BEARER_TOKEN_BEDROCK"] {
            return FetchedCredential(.bearer(Secret(token)), expiresAt: nil, source: "AWS_BEARER_TOKEN_BEDROCK")
        }
        if let name = self.environment["AWS_PROFILE"] {
            guard let found = try await self.profile(name) else {
                throw CredentialFailure("AWS_PROFILE names the profile \(name.singleLine), which gives no credentials")
            }
            return found
        }
        if let id = self.environment["AWS_ACCESS_KEY_ID"], let key = self.environment["AWS_SECRET_ACCESS_KEY"] {
            let keys = AWSAuthentication.Keys(
                accessKeyID: id, secretAccessKey: Secret(key),
                sessionToken: self.environment["AWS_SESSION_TOKEN"].map(Secret.init))
            return FetchedCredential(.aws(keys), expiresAt: nil, source: "AWS_ACCESS_KEY_ID")
        }
        if let found = try await self.profile("default") { return found }
        if let role = self.environment["AWS_ROLE_ARN"], let file = self.environment["AWS_WEB_IDENTITY_TOKEN_FILE"] {
            return try await self.webIdentity(
                role: role, file: file, session: self.environment["AWS_ROLE_SESSION_NAME"], source: "web identity")
        }
        if let found = try await self.container() { return found }
        if self.environment["AWS_EC2_METADATA_DISABLED"]?.lowercased() != "true" { return try await self.instance() }
        throw CredentialFailure(
            "no AWS credentials in the environment: neither a profile, AWS_ACCESS_KEY_ID, a web identity, nor a container's; the instance's are switched off"
        )
    }

    // MARK: Profiles

    private var profiles: [String: [String: String]] {
        let folder = self.environment.home + "/.aws/"
        let config = self.environment["AWS_CONFIG_FILE"] ?? folder + "config"
        let credentials = self.environment["AWS_SHARED_CREDENTIALS_FILE"] ?? folder + "credentials"
        var profiles: [String: [String: String]] = [:]
        for (name, values) in Self.parse(self.environment.optionalFile(config) ?? "") {
            let isProfile = name == "default" || name.hasPrefix("profile ")
            let key = isProfile ? name.replacing("profile ", with: "").trimmingSpaces : name
            profiles[key, default: [:]].merge(values) { _, new in new }
        }
        for (name, values) in Self.parse(self.environment.optionalFile(credentials) ?? "") {
            profiles[name, default: [:]].merge(values) { _, new in new }
        }
        return profiles
    }

    /// Sections of `key = value` lines; `#` and `;` begin comments.
    static func parse(_ text: String) -> [(String, [String: String])] {
        var sections: [(String, [String: String])] = []
        for line in text.split(whereSeparator: \.isNewline) {
            let line = String(line).trimmingSpaces
            if line.isEmpty || line.hasPrefix("#") || line.hasPrefix(";") { continue }
            if line.hasPrefix("["), line.hasSuffix("]") {
                sections.append((String(line.dropFirst().dropLast()).trimmingSpaces, [:]))
            } else if let equals = line.firstIndex(of: "="), !sections.isEmpty {
                let key = String(line[..<equals]).trimmingSpaces.lowercased()
                sections[sections.count - 1].1[key] = String(line[line.index(after: equals)...]).trimmingSpaces
            }
        }
        return sections
    }

    private func profile(_ name: String, depth: Int = 0) async throws -> FetchedCredential? {
        let profiles = self.profiles
        guard let values = profiles[name], depth < 5 else { return nil }
        let source = "profile \(name)"
        if let role = values["role_arn"] {
            if let file = values["web_identity_token_file"] {
                return try await self.webIdentity(
                    role: role, file: file, session: values["role_session_name"], source: source)
            }
            let base: FetchedCredential?
            if let other = values["source_profile"] {
                base =
                    other == name
                    ? Self.keys(in: values, source: source) : try await self.profile(other, depth: depth + 1)
            } else {
                switch values["credential_source"] {
                case "Environment": base = self.environmentKeys
                case "EcsContainer": base = try await self.container()
                case "Ec2InstanceMetadata": base = try await self.instance()
                default: base = nil
                }
            }
            guard let base, case .aws(let keys) = base.value else {
                throw CredentialFailure("the profile \(name.singleLine) has a role and no source of credentials for it")
            }
            return try await AWSSecurityTokens(environment: self.environment, region: values["region"] ?? self.region)
                .assume(
                    role: role, externalID: values["external_id"],
                    session: values["role_session_name"] ?? "claude-gateway", with: keys, source: source)
        }
        if let found = Self.keys(in: values, source: source) { return found }
        if let account = values["sso_account_id"], let role = values["sso_role_name"] {
            return try await self.singleSignOn(values, profiles, account: account, role: role, source: source)
        }
        if let command = values["credential_process"] { return try await self.process(command, source: source) }
        return nil
    }

    private var environmentKeys: FetchedCredential? {
        guard let id = self.environment["AWS_ACCESS_KEY_ID"], let key = self.environment["AWS_SECRET_ACCESS_KEY"] else {
            return nil
        }
        let keys = AWSAuthentication.Keys(
            accessKeyID: id, secretAccessKey: Secret(key),
            sessionToken: self.environment["AWS_SESSION_TOKEN"].map(Secret.init))
        return FetchedCredential(.aws(keys), expiresAt: nil, source: "AWS_ACCESS_KEY_ID")
    }

    private static func keys(in values: [String: String], source: String) -> FetchedCredential? {
        guard let id = values["aws_access_key_id"], let key = values["aws_secret_access_key"] else { return nil }
        let keys = AWSAuthentication.Keys(
            accessKeyID: id, secretAccessKey: Secret(key), sessionToken: values["aws_session_token"].map(Secret.init))
        return FetchedCredential(.aws(keys), expiresAt: nil, source: source)
    }

    /// The token that `aws sso login` left behind, exchanged for a role's credentials.
    private func singleSignOn(
        _ values: [String: String], _ profiles: [String: [String: String]], account: String, role: String,
        source: String,
    ) async throws -> FetchedCredential {
        let session = values["sso_session"]
        let shared = session.flatMap { profiles["sso-session \($0)"] } ?? values
        guard let region = shared["sso_region"], let url = shared["sso_start_url"] else {
            throw CredentialFailure("\(source) lacks sso_region or sso_start_url")
        }
        let name = SHA1.hexadecimal(session ?? url)
        let path = self.environment.home + "/.aws/sso/cache/\(name).json"
        let cache = try JSONValue(parsing: Array(try self.environment.file(path).utf8))
        guard let token = cache["accessToken"]?.string,
            let end = cache["expiresAt"]?.string.flatMap(Timestamp.init(iso8601:)), end > .now
        else { throw CredentialFailure("the single sign-on session of \(source) is over; run aws sso login") }
        let query = FormCoding.encode([("role_name", role), ("account_id", account)])
        let json = try await self.environment.json(
            OutboundRequest(
                "GET", "https://portal.sso.\(region).amazonaws.com/federation/credentials?\(query)",
                headers: [("x-amz-sso_bearer_token", token)]), of: "AWS IAM Identity Center")
        guard let found = json["roleCredentials"], let id = found["accessKeyId"]?.string,
            let key = found["secretAccessKey"]?.string
        else { throw CredentialFailure("AWS IAM Identity Center gave no credentials") }
        let keys = AWSAuthentication.Keys(
            accessKeyID: id, secretAccessKey: Secret(key), sessionToken: found["sessionToken"]?.string.map(Secret.init))
        let expiry = found["expiration"]?.integer.map { Timestamp(milliseconds: Int64($0)) }
        return FetchedCredential(.aws(keys), expiresAt: expiry, source: source + " (single sign-on)")
    }

    private func process(_ command: String, source: String) async throws -> FetchedCredential {
        let environment = self.environment.variables
        let output = try await Subprocess.run(command, environment: environment)
        return try Self.document(JSONValue(parsing: output), source: source + " (credential_process)")
    }

    /// `AccessKeyId`, `SecretAccessKey`, `SessionToken` or `Token`, `Expiration`.
    private static func document(_ json: JSONValue, source: String) throws -> FetchedCredential {
        guard let id = json["AccessKeyId"]?.string, let key = json["SecretAccessKey"]?.string else {
            throw CredentialFailure("\(source) gave no AccessKeyId and SecretAccessKey")
        }
        let token = json["SessionToken"]?.string ?? json["Token"]?.string
        let keys = AWSAuthentication.Keys(
            accessKeyID: id, secretAccessKey: Secret(key), sessionToken: token.map(Secret.init))
        return FetchedCredential(
            .aws(keys), expiresAt: json["Expiration"]?.string.flatMap(Timestamp.init(iso8601:)), source: source)
    }

    // MARK: Platforms

    private func webIdentity(role: String, file: String, session: String?, source: String) async throws
        -> FetchedCredential
    {
        let token = try self.environment.file(file)
        return try await AWSSecurityTokens(environment: self.environment, region: self.region)
            .assumeWithWebIdentity(role: role, session: session ?? "claude-gateway", token: token, source: source)
    }

    /// ECS tasks, and EKS Pod Identity.
    private func container() async throws -> FetchedCredential? {
        let url: String
        if let path = self.environment["AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"] {
            url = "http://169.254.170.2" + path
        } else if let full = self.environment["AWS_CONTAINER_CREDENTIALS_FULL_URI"] {
            guard let parsed = WebURL(full),
                parsed.isSecure || parsed.isLoopback
                    || ["169.254.170.2", "169.254.170.23", "fd00:ec2::23"].contains(parsed.host)
            else {
                throw CredentialFailure(
                    "AWS_CONTAINER_CREDENTIALS_FULL_URI must be https, or the container's own address")
            }
            url = full
        } else {
            return nil
        }
        var headers: [(name: String, value: String)] = [("accept", "application/json")]
        if let file = self.environment["AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"] {
            headers.append(("authorization", try self.environment.file(file).trimmingSpaces))
        } else if let token = self.environment["AWS_CONTAINER_AUTHORIZATION_TOKEN"] {
            headers.append(("authorization", token))
        }
        let json = try await self.environment.json(
            OutboundRequest("GET", url, headers: headers), of: "the container's credential service", isMetadata: true,
            timeout: .seconds(3))
        return try Self.document(json, source: "container")
    }

    /// The instance metadata service, version 2.
    private func instance() async throws -> FetchedCredential {
        let base = self.environment["AWS_EC2_METADATA_SERVICE_ENDPOINT"] ?? "http://169.254.169.254"
        let root = base.hasSuffix("/") ? String(base.dropLast()) : base
        func get(_ method: String, _ path: String, _ headers: [(name: String, value: String)]) async throws -> String {
            let response: OutboundResponse
            do {
                response = try await self.environment.send(
                    OutboundRequest(method, root + path, headers: headers), isMetadata: true, timeout: .seconds(2))
            } catch {
                throw CredentialFailure("no AWS credentials in the environment, and no instance metadata (\(error))")
            }
            guard response.status == 200 else {
                throw CredentialFailure("the instance metadata service answered with HTTP \(response.status)")
            }
            return response.text
        }
        let token = try await get("PUT", "/latest/api/token", [("x-aws-ec2-metadata-token-ttl-seconds", "21600")])
        let headers = [(name: "x-aws-ec2-metadata-token", value: token.trimmingSpaces)]
        let path = "/latest/meta-data/iam/security-credentials/"
        let role = try await get("GET", path, headers).split(whereSeparator: \.isNewline).first.map(String.init) ?? ""
        guard !role.isEmpty else { throw CredentialFailure("the instance has no role") }
        let json = try JSONValue(parsing: Array(try await get("GET", path + role.trimmingSpaces, headers).utf8))
        return try Self.document(json, source: "instance metadata")
    }
}

/// AWS Security Token Service.
///
/// Source: <https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html>.
struct AWSSecurityTokens: Sendable {
    let environment: CredentialEnvironment
    let region: String

    private var endpoint: String {
        self.environment["AWS_ENDPOINT_URL_STS"] ?? "https://sts.\(self.region).amazonaws.com/"
    }

    func assume(
        role: String, externalID: String?, session: String, with keys: AWSAuthentication.Keys, source: String,
    ) async throws -> FetchedCredential {
        var fields = [
            ("Action", "AssumeRole"), ("Version", "2011-06-15"), ("RoleArn", role),
            ("RoleSessionName", Self.sessionName(session)),
        ]
        if let externalID { fields.append(("ExternalId", externalID)) }
        return try await self.send(fields, signedWith: keys, source: source)
    }

    func assumeWithWebIdentity(role: String, session: String, token: String, source: String) async throws
        -> FetchedCredential
    {
        try await self.send(
            [
                ("Action", "AssumeRoleWithWebIdentity"), ("Version", "2011-06-15"), ("RoleArn", role),
                ("RoleSessionName", Self.sessionName(session)), ("WebIdentityToken", token.trimmingSpaces),
            ], signedWith: nil, source: source)
    }

    /// 2 to 64 of `[\w+=,.@-]`.
    static func sessionName(_ text: String) -> String {
        let kept = text.unicodeScalars.map { scalar -> Character in
            let isPlain =
                scalar.isASCII
                && (scalar.properties.isAlphabetic || ("0"..."9").contains(scalar)
                    || "_+=,.@-".unicodeScalars.contains(scalar))
            return isPlain ? Character(scalar) : "-"
        }
        let name = String(kept.prefix(64))
        return name.count < 2 ? "claude-gateway" : name
    }

    /// Whose keys they are: an ARN. Needs no permission, and shows that the keys are good.
    func callerIdentity(_ keys: AWSAuthentication.Keys) async throws -> String {
        let text = try await self.ask([("Action", "GetCallerIdentity"), ("Version", "2011-06-15")], signedWith: keys)
        return Self.element("Arn", text) ?? "an unnamed identity"
    }

    private func send(_ fields: [(String, String)], signedWith keys: AWSAuthentication.Keys?, source: String)
        async throws -> FetchedCredential
    {
        let text = try await self.ask(fields, signedWith: keys)
        guard let id = Self.element("AccessKeyId", text), let key = Self.element("SecretAccessKey", text),
            let token = Self.element("SessionToken", text)
        else { throw CredentialFailure("AWS STS answered without credentials") }
        let made = AWSAuthentication.Keys(accessKeyID: id, secretAccessKey: Secret(key), sessionToken: Secret(token))
        return FetchedCredential(
            .aws(made), expiresAt: Self.element("Expiration", text).flatMap(Timestamp.init(iso8601:)), source: source)
    }

    private func ask(_ fields: [(String, String)], signedWith keys: AWSAuthentication.Keys?) async throws -> String {
        var request = OutboundRequest.form(self.endpoint, fields)
        if let keys, let url = WebURL(self.endpoint) {
            request.headers.append(("host", url.authority))
            request.headers += AWSSignature.headers(
                method: "POST", target: url.target.isEmpty ? "/" : url.target, headers: request.headers,
                bodyHash: Digest.hexadecimal(request.body ?? []), keys: keys, service: "sts", region: self.region,
                now: .now)
        }
        let response = try await self.environment.send(request)
        let text = response.text
        guard response.status == 200 else {
            let code = Self.element("Code", text).map { ": " + $0.printableASCII(limit: 80) } ?? ""
            throw CredentialFailure("AWS STS answered with HTTP \(response.status)\(code)")
        }
        return text
    }

    /// The text of the first element of that name in the service's plain XML.
    private static func element(_ name: String, _ xml: String) -> String? {
        guard let open = xml.range(of: "<\(name)>") else { return nil }
        let rest = String(xml[open.upperBound...])
        guard let close = rest.range(of: "</\(name)>") else { return nil }
        return String(rest[..<close.lowerBound]).replacing("&amp;", with: "&").replacing("&lt;", with: "<")
            .trimmingSpaces
    }
}

/// `assume_role`: the role's credentials, one set for each session name.
final class AWSRoleCredential: UpstreamCredential {
    /// A developer's session is kept while requests come; so many at once is an organization's worth.
    private static let maximumSessions = 4096

    private let role: AWSRole
    private let base: any UpstreamCredential
    private let tokens: AWSSecurityTokens
    private let sessions = Mutex<[String: RefreshingCredential]>([:])

    init(role: AWSRole, base: any UpstreamCredential, tokens: AWSSecurityTokens) {
        self.role = role
        self.base = base
        self.tokens = tokens
    }

    private func session(_ principal: Principal) -> RefreshingCredential {
        let name: String
        switch self.role.sessionName {
        case .email: name = principal.email ?? principal.subject
        case .subject: name = principal.subject
        case nil: name = "claude-gateway"
        }
        return self.sessions.withLock { sessions in
            if let known = sessions[name] { return known }
            if sessions.count >= Self.maximumSessions { sessions.removeAll() }
            let (role, base, tokens) = (self.role, self.base, self.tokens)
            let made = RefreshingCredential {
                guard case .aws(let keys) = try await base.resolve(for: principal) else {
                    throw CredentialFailure("a bearer token cannot assume a role")
                }
                return try await tokens.assume(
                    role: role.arn, externalID: role.externalID, session: name, with: keys, source: "assume_role")
            }
            sessions[name] = made
            return made
        }
    }

    func ready(for principal: Principal, now: Timestamp) -> ResolvedCredential? {
        self.session(principal).ready(for: principal, now: now)
    }

    func resolve(for principal: Principal) async throws -> ResolvedCredential {
        try await self.session(principal).resolve(for: principal)
    }

    func source(for principal: Principal) async throws -> String {
        _ = try await self.resolve(for: principal)
        return try await self.base.source(for: principal) + ", then assume_role"
    }

    func invalidate(_ credential: ResolvedCredential) {
        for session in self.sessions.withLock({ Array($0.values) }) { session.invalidate(credential) }
    }
}
