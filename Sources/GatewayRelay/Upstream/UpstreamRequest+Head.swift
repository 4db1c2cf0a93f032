// SPDX-License-Identifier: Apache-2.0

internal import GatewayCore
internal import GatewayProviders
internal import NIOCore

extension UpstreamRequest {
    /// The headers to send, with what makes the gateway known.
    func signed(_ slices: [ByteBuffer], _ credential: ResolvedCredential?) -> [(name: String, value: String)] {
        switch (self.authorization, credential) {
        case (.included, _), (_, nil): return self.headers
        case (_, .bearer(let token)?):
            return self.headers + [(name: "authorization", value: "Bearer " + token.reveal())]
        case (.awsV4(let service, let region), .aws(let keys)?):
            return self.headers
                + AWSSignature.headers(
                    method: "POST", target: self.target, headers: self.headers,
                    bodyHash: BodyDigest.hexadecimal(slices), keys: keys, service: service, region: region, now: .now)
        case (.bearer, .aws?): return self.headers
        }
    }
}

/// A body in the relay's memory, for providers to read parts of.
struct BufferBody: BodyReading {
    private let buffer: ByteBuffer

    init(_ buffer: ByteBuffer) {
        self.buffer = buffer
    }

    var count: Int { self.buffer.readableBytes }

    func bytes(_ range: Range<Int>) -> [UInt8] {
        self.buffer.getBytes(at: self.buffer.readerIndex + range.lowerBound, length: range.count) ?? []
    }
}
