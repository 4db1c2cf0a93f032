// SPDX-License-Identifier: Apache-2.0

internal import CByteScan
internal import GatewayCore

/// Reads over the members of a JSON object where they lie, without building anything of them.
enum JSONMembers {
    /// Calls with each member's name and the text of its value, in order.
    ///
    /// - Parameter room: How many containers may stand within each other in a value.
    /// - Returns: Where the object ends. `nil` when the bytes do not begin with a whole object, or one of its names has an
    ///   escape and would have to be read otherwise; some members may have been visited then.
    static func visit(
        _ bytes: UnsafeRawBufferPointer, room: Int = Int(cjson_maximum_depth),
        _ body: (_ name: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer) -> Void,
    ) -> Int? {
        guard let base = bytes.baseAddress?.assumingMemoryBound(to: UInt8.self) else { return nil }
        let count = bytes.count
        func skipSpace(_ at: Int) -> Int { cjson_skip_space(base, count, at) }
        var at = skipSpace(0)
        guard at < count, bytes[at] == UInt8(ascii: "{") else { return nil }
        at = skipSpace(at + 1)
        if at < count, bytes[at] == UInt8(ascii: "}") { return at + 1 }
        while at < count, bytes[at] == UInt8(ascii: "\"") {
            let length = cjson_string_end(base + at + 1, count - at - 1)
            guard length >= 0 else { return nil }
            let name = UnsafeRawBufferPointer(rebasing: bytes[at + 1..<at + 1 + length])
            guard ByteSearch.first(UInt8(ascii: "\\"), name, from: 0) == nil else { return nil }
            at = skipSpace(at + length + 2)
            guard at < count, bytes[at] == UInt8(ascii: ":") else { return nil }
            at = skipSpace(at + 1)
            let end = cjson_value_end(base + at, count - at, room, nil, 0, nil)
            guard end >= 0 else { return nil }
            body(name, UnsafeRawBufferPointer(rebasing: bytes[at..<at + end]))
            at = skipSpace(at + end)
            guard at < count else { return nil }
            if bytes[at] == UInt8(ascii: "}") { return at + 1 }
            guard bytes[at] == UInt8(ascii: ",") else { return nil }
            at = skipSpace(at + 1)
        }
        return nil
    }
}
