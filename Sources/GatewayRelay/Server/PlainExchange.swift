// SPDX-License-Identifier: Apache-2.0

package import GatewayCore
package import NIOCore
package import NIOHTTP1

/// A request outside the hot path: what the asynchronous routes see.
package struct PlainRequest: Sendable {
    package let method: HTTPMethod
    /// Without a query; dot segments are already resolved.
    package let path: String
    /// Without the `?`.
    package let query: String
    package let headers: HTTPHeaders
    package var body: ByteBuffer
    package let requestID: RequestID
    /// The client's address, behind trusted proxies if there are any.
    package let client: IPAddress

    package init(
        method: HTTPMethod, path: String, query: String, headers: HTTPHeaders, body: ByteBuffer, requestID: RequestID,
        client: IPAddress,
    ) {
        self.method = method
        self.path = path
        self.query = query
        self.headers = headers
        self.body = body
        self.requestID = requestID
        self.client = client
    }

    /// Without its body.
    init(_ head: RequestHead, _ target: RequestTarget, requestID: RequestID, client: IPAddress) {
        self.init(
            method: head.method, path: target.path, query: target.query ?? "", headers: head.fields.headers,
            body: ByteBuffer(), requestID: requestID, client: client)
    }
}

/// Its answer. The connection adds the security headers, the date and the request id.
package struct PlainResponse: Sendable {
    package enum Body: Sendable {
        case bytes(ByteBuffer)
        /// Written piece by piece; each call waits until the client has taken the one before.
        case stream(@Sendable (PlainBodyWriter) async throws -> Void)
    }

    package var status: HTTPResponseStatus
    package var headers: HTTPHeaders
    package var body: Body

    package init(status: HTTPResponseStatus, headers: HTTPHeaders = [:], body: Body) {
        self.status = status
        self.headers = headers
        self.body = body
    }

    package static func text(_ status: HTTPResponseStatus, _ text: String) -> PlainResponse {
        PlainResponse(
            status: status, headers: ["content-type": "text/plain;charset=utf-8"],
            body: .bytes(ByteBuffer(string: text)))
    }

    package static func error(_ envelope: ErrorEnvelope, requestID: RequestID) -> PlainResponse {
        var headers: HTTPHeaders = ["content-type": "application/json;charset=utf-8"]
        for header in envelope.headers { headers.add(name: header.name, value: header.value) }
        return PlainResponse(
            status: HTTPResponseStatus(statusCode: envelope.status), headers: headers,
            body: .bytes(ByteBuffer(bytes: envelope.body(requestID: requestID))))
    }
}

/// Takes the pieces of a streamed answer.
package struct PlainBodyWriter: Sendable {
    let put: @Sendable (ByteBuffer) async throws -> Void

    package func write(_ bytes: ByteBuffer) async throws {
        try await self.put(bytes)
    }
}

/// The asynchronous side of the server.
package protocol PlainResponder: Sendable {
    /// An answer that needs no body, so that nobody can make the server hold one: a wrong path, method or bearer, or
    /// something trivial. Runs on the event loop; must not block.
    func immediateAnswer(to request: PlainRequest) -> PlainResponse?
    func respond(to request: PlainRequest) async -> PlainResponse
    /// The name under which requests for a path are counted: never a text that only the client knows.
    func route(of path: String) -> String
}

extension PlainResponder {
    package func route(of path: String) -> String { "other" }
}
