// SPDX-License-Identifier: Apache-2.0

internal import GatewayRelay

/// The pick-a-user page of the built-in identity provider.
enum DevPages {
    static func picker(_ users: [[String: String]]) -> PlainResponse {
        Pages(publicURL: "http://localhost", formOrigins: [], notice: nil).pickUser(users)
    }
}
