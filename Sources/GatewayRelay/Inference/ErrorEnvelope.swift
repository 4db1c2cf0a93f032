// SPDX-License-Identifier: Apache-2.0

package import GatewayCore

/// The error body that clients of the Messages API understand.
package struct ErrorEnvelope: Sendable, Equatable {
    package let status: Int
    package let type: String
    package let message: String

    package init(status: Int, type: String, message: String) {
        self.status = status
        self.type = type
        self.message = message
    }

    package static func invalidRequest(_ message: String) -> ErrorEnvelope {
        ErrorEnvelope(status: 400, type: "invalid_request_error", message: message)
    }

    /// The bearer is missing, expired or not ours. Always with `x-should-retry: false`, or clients repeat it for minutes.
    package static let invalidToken = ErrorEnvelope(status: 401, type: "authentication_error", message: "invalid token")

    package static let internalError = ErrorEnvelope(status: 500, type: "api_error", message: "internal server error")

    package func body(requestID: RequestID) -> [UInt8] {
        JSONValue.object([
            "type": "error", "request_id": .string(requestID.description),
            "error": ["type": .string(self.type), "message": .string(self.message)],
        ]).bytes()
    }

    /// Headers besides the content type.
    package var headers: [(name: String, value: String)] {
        self.status == 401 ? [("x-should-retry", "false")] : []
    }
}
