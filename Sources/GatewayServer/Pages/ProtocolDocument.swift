// SPDX-License-Identifier: Apache-2.0

/// What `GET /protocol` serves, and docs/protocol.md holds.
package enum ProtocolDocument {
    package static let text = """
        # The gateway protocol

        What a client needs to know to use this gateway. `GET /protocol` serves this page. Version 1.

        All requests go to the gateway's public URL. Errors of the inference and model routes have the form of Anthropic's API:
        `{"type":"error","request_id":"…","error":{"type":"…","message":"…"}}`. Every answer carries `x-request-id`.

        ## Discovery

        `GET /.well-known/oauth-authorization-server` (RFC 8414), without a bearer. It names `issuer`,
        `device_authorization_endpoint`, `token_endpoint`, `revocation_endpoint`, the grant types, and
        `gateway_protocol_version`, which is 1. A client goes on only with a version that it knows.

        ## Sign-in

        The device grant (RFC 8628). Requests are form-encoded; clients are public and have no secret.

        1. `POST /oauth/device_authorization` answers `device_code`, `user_code`, `verification_uri`,
           `verification_uri_complete`, `expires_in` and `interval`, in seconds.
        2. The developer opens the page, compares the code and signs in with the organization's identity provider.
        3. `POST /oauth/token` with `grant_type=urn:ietf:params:oauth:grant-type:device_code` and `device_code` answers
           `authorization_pending`, `slow_down`, `access_denied` or `expired_token`, or in the end `access_token`, `token_type`
           `Bearer`, `expires_in` and, where the identity provider gives sessions, `refresh_token`.
        4. `POST /oauth/token` with `grant_type=refresh_token` and `refresh_token` renews. `invalid_grant` means that the session
           has ended: sign in again. `temporarily_unavailable` (503) means that it has not: try again later. A replaced refresh
           token still works for 30 seconds, for clients that renew at the same time.
        5. `POST /oauth/revoke` with `token` (RFC 7009) ends the session.

        The access token is a JWT for the gateway alone. It goes into `Authorization: Bearer …`. A 401 carries
        `x-should-retry: false`: renew or sign in, and do not send the same token again.

        ## Settings

        `GET /managed/settings` answers the settings that the organization has decided for the caller, with `uuid`, `checksum` and
        `settings`, and an `ETag`; `If-None-Match` is answered 304, and 404 means that there are none. A client asks when it
        starts and from time to time.

        ## Models

        `GET /v1/models` lists what the caller may use, in the form of Anthropic's API.

        ## Inference

        `POST /v1/messages` and `POST /v1/messages/count_tokens` take requests of Anthropic's Messages API. `anthropic-version`,
        `anthropic-beta` and other `anthropic-*` headers, `x-claude-code-*` and `x-stainless-*` go on to providers that know them. A
        body has a `Content-Length`; transfer codings are answered 411. Streams are server-sent events. A stream that breaks ends
        with an `error` event or with the connection, and never looks whole.

        | status | means |
        | --- | --- |
        | 400 | the request is wrong, or asks for a model that the caller may not use |
        | 401 | the bearer is missing, wrong or at its end |
        | 413 | the body is too large |
        | 429 | a spend limit (`billing_error`), a rate limit of the gateway, or the provider's |
        | 502 | no provider served the request |
        | 529, 503 | the only provider is overloaded |

        `x-should-retry` says whether it is of use to send the request again.

        ## Telemetry

        `POST /v1/metrics`, `/v1/logs` and `/v1/traces` take OTLP over HTTP, as protobuf or JSON, with the bearer. They are answered
        200 at once and passed on to the organization's collectors.

        ## Usage

        `GET /api/oauth/usage` answers what the caller has spent of its limits, where the gateway keeps limits.

        """
}
