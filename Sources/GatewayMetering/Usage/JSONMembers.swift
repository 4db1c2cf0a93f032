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
        var at = cjson_skip_space(base, bytes.count, 0)
        guard at < bytes.count, bytes[at] == UInt8(ascii: "{") else { return nil }
        at += 1
        var isFirst: Int32 = 1
        var member = cjson_member()
        while true {
            let read = cjson_next_member(base, bytes.count, &at, isFirst, room, nil, 0, nil, &member)
            guard read >= 0 else { return nil }
            if read == 0 { return at }
            guard member.is_escaped == 0 else { return nil }
            isFirst = 0
            let name = UnsafeRawBufferPointer(rebasing: bytes[member.key..<member.key + member.key_count])
            body(name, UnsafeRawBufferPointer(rebasing: bytes[member.value..<member.end]))
        }
    }
}
