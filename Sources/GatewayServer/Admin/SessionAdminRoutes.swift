// SPDX-License-Identifier: Apache-2.0

internal import Foundation
internal import GatewayCore
internal import GatewayIdentity
internal import GatewayRelay
internal import GatewayStore
internal import NIOCore
internal import NIOHTTP1

/// `GET /v1/organizations/sessions` and `POST /v1/organizations/sessions/revocations` (ours): who is signed in, and the end
/// of it.
struct SessionAdminRoutes: Sendable {
    static let base = "/v1/organizations/sessions"
    private static let revocationPath = base + "/revocations"

    let store: any GatewayStore
    let revocations: Revocations
    let audit: any AuditSink

    func methods(of path: String) -> [String]? {
        switch path {
        case Self.base: ["GET", "HEAD"]
        case Self.revocationPath: ["POST"]
        default: nil
        }
    }

    func answer(_ request: PlainRequest, _ administrator: AdminAccess.Administrator) async throws -> PlainResponse {
        request.path == Self.base
            ? try await self.list(QueryParameters(request.query)) : try await self.revoke(request, administrator)
    }

    private func list(_ query: QueryParameters) async throws -> PlainResponse {
        let limit = try query.limit("limit", default: 100)
        let rows = try await self.store.sessions(
            user: query["user"], after: query["after_id"], limit: limit + 1)
        let data = rows.prefix(limit).map { row -> JSONValue in
            [
                "type": "session", "id": .string(row.id), "subject": .string(row.subject),
                "email": row.email.jsonOrNull, "created_at": .string(row.createdAt.description),
                "refreshed_at": .string(row.refreshedAt.description), "refreshes": .integer(row.generation),
            ]
        }
        return .json(
            .ok,
            [
                "data": .array(data), "has_more": .bool(rows.count > limit),
                "last_id": rows.count > limit ? .string(rows[limit - 1].id) : .null,
            ])
    }

    private func revoke(_ request: PlainRequest, _ administrator: AdminAccess.Administrator) async throws
        -> PlainResponse
    {
        guard case .object(let body)? = try? JSONValue(parsing: Array(request.body.readableBytesView)) else {
            throw AdminError.invalid("body: send a JSON object with user, session or group")
        }
        let named = Revocation.Kind.allCases.filter { body[$0.rawValue] != nil }
        guard named.count == 1, body.members.count == 1, let kind = named.first,
            let id = body[kind.rawValue]?.string, !id.isEmpty, id.utf8.count <= 1024
        else { throw AdminError.invalid("body: name one of user, session or group, as text") }
        var subjects = [id]
        if kind == .user {
            // Developers are known to people by their addresses, and to the gateway by their subjects.
            let rows = try await self.store.sessions(user: id, after: nil, limit: 1000)
            subjects = Array(Set(rows.map(\.subject))).sorted()
            if subjects.isEmpty { subjects = [id] }
        }
        var ended = 0
        for subject in subjects {
            ended += try await self.revocations.revoke(kind, subject, now: .now)
            self.audit.record(
                AuditEvent(
                    "session.revoke",
                    [
                        "request_id": .string(request.requestID.description), "type": .string(kind.rawValue),
                        "id": .string(subject), "by": .string(administrator.actor),
                        "sessions_ended": .integer(ended), "client_ip": .string(request.client.description),
                    ]))
        }
        return .json(
            .ok,
            [
                "type": .string(kind.rawValue), "ids": .array(subjects.map(JSONValue.string)),
                "sessions_ended": .integer(ended), "effective_within_seconds": 5,
            ])
    }
}
