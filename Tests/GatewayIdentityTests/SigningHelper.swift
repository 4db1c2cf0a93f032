// SPDX-License-Identifier: Apache-2.0

import Crypto
import Foundation
import GatewayCore

/// Signs as an attacker with the secret could.
enum SigningHelper {
    static func sign(_ header: JSONValue, _ claims: JSONValue, _ secret: String) -> String {
        let text = Base64URL.encode(header.bytes()) + "." + Base64URL.encode(claims.bytes())
        let code = HMAC<SHA256>.authenticationCode(for: Data(text.utf8), using: SymmetricKey(data: Data(secret.utf8)))
        return text + "." + Base64URL.encode(code)
    }
}
