// SPDX-License-Identifier: Apache-2.0

package import GatewayProviders
package import NIOCore

/// Applies edits to a body without copying what stays.
package enum BodySlices {
    /// The body's unchanged stretches and the replacements between them, in order.
    package static func apply(_ edits: [BodyEdit], to body: ByteBuffer) -> [ByteBuffer] {
        guard !edits.isEmpty else { return [body] }
        var out: [ByteBuffer] = []
        var at = 0
        func keep(until end: Int) {
            if end > at, let slice = body.getSlice(at: body.readerIndex + at, length: end - at) { out.append(slice) }
        }
        for edit in edits {
            keep(until: edit.range.lowerBound)
            if !edit.replacement.isEmpty { out.append(ByteBuffer(bytes: edit.replacement)) }
            at = edit.range.upperBound
        }
        keep(until: body.readableBytes)
        return out
    }
}
