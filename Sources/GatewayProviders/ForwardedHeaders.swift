// SPDX-License-Identifier: Apache-2.0

package import GatewayCore

/// Which of a client's headers go on to an upstream that speaks the Messages API.
///
/// `anthropic-*` and `x-claude-code-*` are open lists, as the public gateway protocol asks; credentials, cookies and
/// everything that only concerns the connection or the client's network stay behind.
package enum ForwardedHeaders {
    package enum Disposition: Sendable {
        case passed
        case withheld
        /// Joined with the gateway's own values.
        case beta
        case userAgent
        case acceptEncoding
    }

    /// - Parameter name: A field's name, in any case.
    package static func disposition(of name: UnsafeRawBufferPointer) -> Disposition {
        // Few names are as long as another.
        switch name.count {
        case 6 where name.matches("accept"), 12 where name.matches("content-type"): return .passed
        case 10 where name.matches("user-agent"): return .userAgent
        case 14 where name.matches("anthropic-beta"): return .beta
        case 15 where name.matches("accept-encoding"): return .acceptEncoding
        // The workspace is the gateway's to choose; the other two speak of the client's own situation.
        case 17 where name.matches("anthropic-api-key"), 22 where name.matches("anthropic-workspace-id"),
            41 where name.matches("anthropic-dangerous-direct-browser-access"):
            return .withheld
        default: break
        }
        switch name.first {
        case UInt8(ascii: "a"), UInt8(ascii: "A"): return name.begins(with: "anthropic-") ? .passed : .withheld
        case UInt8(ascii: "x"), UInt8(ascii: "X"):
            return name.begins(with: "x-claude-code-") || name.begins(with: "x-stainless-") ? .passed : .withheld
        default: return .withheld
        }
    }

    /// Calls unless the field stays behind.
    package static func pass(
        _ name: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer,
        to body: (Disposition, UnsafeRawBufferPointer, UnsafeRawBufferPointer) -> Void,
    ) {
        let disposition = self.disposition(of: name)
        if disposition != .withheld { body(disposition, name, value) }
    }

    /// The codings that the gateway can undo to read usage; others are not offered to the upstream.
    static func decodable(_ value: UnsafeRawBufferPointer) -> String {
        // What clients nearly always say.
        if value.equals("gzip, deflate, br, zstd") || value.equals("gzip, deflate, br") { return "gzip, deflate" }
        if value.equals("identity") { return "identity" }
        let kept = String(decoding: value, as: UTF8.self).split(separator: ",").map { String($0).trimmingSpaces }.filter
        { coding in
            let name = coding.prefix { $0 != ";" }.lowercased()
            return name == "gzip" || name == "deflate" || name == "identity"
        }
        return kept.isEmpty ? "identity" : kept.joined(separator: ", ")
    }
}

/// A client's headers in place.
package protocol ForwardableHeaders {
    /// Calls with each header that some upstream may want to know of, in order, and with what becomes of it at one that
    /// speaks the Messages API.
    func visitForwardable(
        _ body: (ForwardedHeaders.Disposition, _ name: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer) -> Void)
}

extension FieldBlock: ForwardableHeaders {
    package func visitForwardable(
        _ body: (ForwardedHeaders.Disposition, _ name: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer) -> Void,
    ) {
        self.visit { name, value in ForwardedHeaders.pass(name, value, to: body) }
    }
}
