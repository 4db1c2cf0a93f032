// SPDX-License-Identifier: Apache-2.0

internal import GatewayCore

/// Makes HTTP requests with libcurl under an address rule that is applied to the very address being connected to.
///
/// Redirects are never followed: each caller knows the one URL it means to talk to.
package struct OutboundClient: Sendable {
    private let rule: AddressRule

    package init(rule: AddressRule) {
        self.rule = rule
    }

    /// Sends a request and waits for the whole answer.
    ///
    /// - Parameter onBody: Receives the body's bytes as they arrive, on the client's own thread; the response's body
    ///   is then empty. It is not called for statuses of 400 and above.
    /// - Throws: `OutboundError`, or `CancellationError` when the task is cancelled.
    package func send(_ request: OutboundRequest, onBody: (@Sendable ([UInt8]) -> Void)? = nil) async throws
        -> OutboundResponse
    {
        guard let url = WebURL(request.url) else { throw OutboundError.invalidURL }
        if case .guarded(let rule) = self.rule, let refusal = rule.refusal(ofHost: url.host) {
            throw OutboundError.blocked(host: url.host, reason: refusal.description)
        }
        for header in request.headers where header.value.utf8.contains(where: { $0 < 0x20 && $0 != 0x09 || $0 == 0x7F })
        {
            throw OutboundError.broken(host: url.host, reason: "a control character in the header \(header.name)")
        }
        var request = request
        if request.pinsAddress, case .guarded(let rule) = self.rule {
            request.pinnedAddress = try await HostLookup.address(of: url.host, rule: rule)
        }
        let transfer = CurlTransfer(request, host: url.host, rule: self.rule, onBody: onBody)
        return try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { continuation in
                transfer.continuation = continuation
                CurlEngine.shared.start(transfer)
            }
        } onCancel: {
            CurlEngine.shared.cancel(transfer)
        }
    }
}
