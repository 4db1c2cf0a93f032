// SPDX-License-Identifier: Apache-2.0

internal import GatewayCore
internal import GatewayRelay
internal import NIOCore
internal import NIOHTTP1

extension PlainResponse {
    static func json(_ status: HTTPResponseStatus = .ok, _ value: JSONValue, headers: HTTPHeaders = [:])
        -> PlainResponse
    {
        var headers = headers
        headers.add(name: "content-type", value: "application/json;charset=utf-8")
        return PlainResponse(status: status, headers: headers, body: .bytes(ByteBuffer(bytes: value.bytes())))
    }

    /// An answer of an OAuth endpoint: never cached (RFC 6749 §5.1).
    static func oauth(_ status: HTTPResponseStatus = .ok, _ value: JSONValue) -> PlainResponse {
        .json(status, value, headers: ["cache-control": "no-store", "pragma": "no-cache"])
    }

    /// RFC 6749 §5.2, RFC 8628 §3.5.
    static func oauthError(_ status: HTTPResponseStatus, _ code: String, _ description: String? = nil) -> PlainResponse
    {
        var object: JSONObject = ["error": .string(code)]
        object["error_description"] = description.map(JSONValue.string)
        return .oauth(status, .object(object))
    }
}
