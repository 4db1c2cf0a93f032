// SPDX-License-Identifier: Apache-2.0

internal import GatewayCore
internal import GatewayProviders
internal import NIOCore

extension UpstreamRequest {
    /// The headers that make the gateway known, besides the request's own.
    func signature(_ slices: [ByteBuffer], _ credential: ResolvedCredential?) -> [(name: String, value: String)] {
        switch (self.authorization, credential) {
        case (.included, _), (_, nil), (.bearer, .aws?): []
        case (_, .bearer(let token)?): [(name: "authorization", value: "Bearer " + token.reveal())]
        case (.awsV4(let service, let region), .aws(let keys)?):
            AWSSignature.headers(
                method: "POST", target: self.target, headers: self.headers.pairs,
                bodyHash: BodyDigest.hexadecimal(slices), keys: keys, service: service, region: region, now: .now)
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
