// SPDX-License-Identifier: Apache-2.0

package import GatewayConfig
package import GatewayCore

/// Where AWS credentials come from, as `auth` says.
package enum AWSAuthentication: Sendable {
    package struct Keys: Sendable, Equatable {
        package let accessKeyID: String
        package let secretAccessKey: Secret
        package let sessionToken: Secret?

        package init(accessKeyID: String, secretAccessKey: Secret, sessionToken: Secret?) {
            self.accessKeyID = accessKeyID
            self.secretAccessKey = secretAccessKey
            self.sessionToken = sessionToken
        }
    }

    /// The environment's own chain: profile, variables, files, web identity, container, instance.
    case ambient
    case keys(Keys)
    /// An Amazon Bedrock API key.
    case bearer(Secret)

    package init(_ auth: ConfigNode?) {
        if let token = auth?["aws_bearer_token"]?.secret {
            self = .bearer(token)
        } else if let id = auth?["aws_access_key_id"]?.string, let key = auth?["aws_secret_access_key"]?.secret {
            self = .keys(
                Keys(accessKeyID: id, secretAccessKey: key, sessionToken: auth?["aws_session_token"]?.secret))
        } else {
            self = .ambient
        }
    }
}

/// `assume_role`: a role that requests are signed as, in another account perhaps.
package struct AWSRole: Sendable, Equatable {
    /// What the session is named after, so that AWS's own records tell developers apart.
    package enum SessionName: String, Sendable {
        case email
        case subject = "sub"
    }

    package let arn: String
    package let externalID: String?
    package let sessionName: SessionName?

    package init(arn: String, externalID: String?, sessionName: SessionName?) {
        self.arn = arn
        self.externalID = externalID
        self.sessionName = sessionName
    }

    package init?(_ node: ConfigNode?) {
        guard let arn = node?["role_arn"]?.string else { return nil }
        self.arn = arn
        self.externalID = node?["external_id"]?.string
        self.sessionName = node?["session_name"]?.string.flatMap(SessionName.init)
    }
}

/// Keys that the providers on AWS share.
enum AWSKeys {
    static func region(_ example: String = "us-east-1") -> ConfigKey {
        ConfigKey(
            "region", .string(minimum: 1), required: true, "The AWS region, such as us-east-1.", example: example,
            check: { node in
                let text = node.string ?? ""
                let isPlain = text.utf8.allSatisfy { byte in
                    switch byte {
                    case 0x30...0x39, 0x41...0x5A, 0x61...0x7A, 0x2D: true
                    default: false
                    }
                }
                return isPlain ? nil : "is not an AWS region; write it like us-east-1."
            })
    }

    static func authentication(takesBearer: Bool, takesKey: Bool) -> ConfigKey {
        var keys: [ConfigKey] = []
        if takesKey {
            keys.append(ConfigKey("api_key", .string(minimum: 1), "A key of the service, sent as x-api-key."))
        }
        keys += [
            ConfigKey("aws_access_key_id", .string(minimum: 1), "An access key, with aws_secret_access_key."),
            ConfigKey("aws_secret_access_key", .string(minimum: 1), "The access key's secret."),
            ConfigKey("aws_session_token", .string(minimum: 1), "For temporary credentials."),
        ]
        if takesBearer {
            keys.append(
                ConfigKey("aws_bearer_token", .string(minimum: 1), "An Amazon Bedrock API key, instead of signing."))
        }
        return ConfigKey(
            "auth",
            .section(
                ConfigSection(
                    keys,
                    rules: [
                        { node, report in
                            let (id, secret) = (node["aws_access_key_id"], node["aws_secret_access_key"])
                            if id == nil, let secret {
                                report.error(
                                    secret, "needs aws_access_key_id beside it; set both, or neither.")
                            }
                            if secret == nil, id != nil {
                                report.add(
                                    ConfigFault(
                                        .error, at: node.position, node.path.appending("aws_secret_access_key"),
                                        "is required beside aws_access_key_id; set both, or neither."))
                            }
                            if let token = node["aws_session_token"], id == nil, secret == nil {
                                report.error(
                                    token, "needs aws_access_key_id and aws_secret_access_key beside it.")
                            }
                        }
                    ])),
            "Credentials. Leave it out for the environment's own: profile, variables, web identity, container, instance."
        )
    }

    static let role = ConfigKey(
        "assume_role",
        .section(
            ConfigSection([
                ConfigKey(
                    "role_arn", .string(minimum: 1), required: true, "The role, as arn:aws:iam::<account>:role/<name>.",
                    check: { node in
                        let parts = (node.string ?? "").split(
                            separator: ":", maxSplits: 5, omittingEmptySubsequences: false)
                        let isRole =
                            parts.count == 6 && parts[0] == "arn" && parts[1].hasPrefix("aws") && parts[2] == "iam"
                            && parts[3].isEmpty && parts[4].count == 12 && parts[4].allSatisfy(\.isNumber)
                            && parts[5].hasPrefix("role/") && parts[5].count > 5
                            && !parts[5].contains(where: \.isWhitespace)
                        return isRole ? nil : "is not a role's ARN; write it like arn:aws:iam::123456789012:role/name."
                    }),
                ConfigKey(
                    "external_id", .string(), "The external id that the role's trust policy asks for.",
                    check: { node in
                        let text = node.string ?? ""
                        let isPlain =
                            (2...1224).contains(text.count)
                            && text.unicodeScalars.allSatisfy {
                                $0.isASCII
                                    && ($0.properties.isAlphabetic || ("0"..."9").contains($0)
                                        || "_+=,.@:/-".unicodeScalars.contains($0))
                            }
                        return isPlain
                            ? nil : "must have 2 to 1224 characters: letters, digits and _ + = , . @ : / -."
                    }),
                ConfigKey(
                    "session_name", .choice(["email", "sub"]),
                    "What the session is named after, so that AWS's records tell developers apart."),
            ])),
        "A role to assume with the credentials before each request is signed.")

    static let roleRule: ConfigSection.Rule = { node, report in
        if let role = node["assume_role"], node["auth"]?["aws_bearer_token"] != nil {
            report.error(
                role,
                "needs access keys or the environment's own credentials; a bearer token cannot assume a role.")
        }
    }

    /// A value that travels in a header.
    static let headerValue: ConfigKey.Check = { node in
        HeaderFields.isFieldValue(node.string ?? "")
            ? nil : "must be printable ASCII without spaces at its ends, because it is sent in a header."
    }
}
