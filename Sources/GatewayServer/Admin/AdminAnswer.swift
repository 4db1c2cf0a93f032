// SPDX-License-Identifier: Apache-2.0

internal import GatewayCore
internal import GatewayRelay
internal import NIOCore
internal import NIOHTTP1

/// An error of the admin API: `{"type":"error","error":{"type","message"},"request_id":"req_…"}`.
struct AdminError: Error, Equatable {
    let status: Int
    let type: String
    let message: String
    var headers: [String: String] = [:]

    static func invalid(_ message: String) -> AdminError {
        AdminError(status: 400, type: "invalid_request_error", message: message)
    }

    static func notFound(_ message: String) -> AdminError {
        AdminError(status: 404, type: "not_found_error", message: message)
    }

    static let unauthenticated = AdminError(
        status: 401, type: "authentication_error", message: "missing or invalid admin credentials")

    static func forbidden(_ message: String) -> AdminError {
        AdminError(status: 403, type: "permission_error", message: message)
    }

    static func wrongMethod(_ allowed: [String]) -> AdminError {
        AdminError(
            status: 405, type: "invalid_request_error",
            message: "method not allowed; this path takes \(allowed.joined(separator: ", "))",
            headers: ["allow": allowed.joined(separator: ", ")])
    }

    static let tooManyGuesses = AdminError(
        status: 429, type: "rate_limit_error",
        message: "too many wrong admin keys from this address; wait, and check the key that is being sent",
        headers: ["retry-after": "10"])

    static let storeAway = AdminError(
        status: 503, type: "api_error", message: "the store is not answering; try again shortly",
        headers: ["retry-after": "5"])
}

/// The id of one call of the admin API: in the answer's body, its `request-id` header, and the log.
struct AdminRequestID: Sendable {
    let text = "req_" + Hexadecimal.encode(RandomToken.bytes(16))
}

extension PlainResponse {
    static func admin(_ error: AdminError, _ id: AdminRequestID) -> PlainResponse {
        var headers: HTTPHeaders = ["content-type": "application/json;charset=utf-8", "request-id": id.text]
        for (name, value) in error.headers { headers.add(name: name, value: value) }
        let body: JSONValue = [
            "type": "error", "error": ["type": .string(error.type), "message": .string(error.message)],
            "request_id": .string(id.text),
        ]
        return PlainResponse(
            status: HTTPResponseStatus(statusCode: error.status), headers: headers,
            body: .bytes(ByteBuffer(bytes: body.bytes())))
    }
}
