// SPDX-License-Identifier: Apache-2.0

package import GatewayConfig
package import GatewayCore

/// Where Google access tokens come from, as `auth` says.
package enum GoogleAuthentication: Sendable {
    /// Application default credentials: a file named by the environment, or the metadata server.
    case ambient
    /// A service account's key file.
    case serviceAccount(path: String)
    case accessToken(Secret)

    package init(_ auth: ConfigNode?) {
        if let token = auth?["access_token"]?.secret {
            self = .accessToken(token)
        } else if let path = auth?["service_account_json"]?.string {
            self = .serviceAccount(path: path)
        } else {
            self = .ambient
        }
    }
}

enum GoogleKeys {
    static let project = ConfigKey(
        "project_id", .string(minimum: 1), required: true, "The Google Cloud project.", example: "my-project")

    static let authentication = ConfigKey(
        "auth",
        .section(
            ConfigSection([
                ConfigKey(
                    "service_account_json", .string(minimum: 1), "Path of a service account's key file."),
                ConfigKey("access_token", .string(minimum: 1), "A Google access token, for a short trial."),
            ])),
        "Credentials. Leave it out for application default credentials.")

    static func isLocation(_ text: String) -> Bool {
        !text.isEmpty
            && text.utf8.allSatisfy { byte in
                switch byte {
                case 0x30...0x39, 0x41...0x5A, 0x61...0x7A, 0x2D: true
                default: false
                }
            }
    }
}
