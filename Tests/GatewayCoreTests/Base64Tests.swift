// SPDX-License-Identifier: Apache-2.0

import Foundation
import TestSupport
import Testing

@testable import GatewayCore

@Suite("Base64")
struct Base64Tests {
    /// By what the processor has and by what any has.
    private static func decode(
        _ text: UnsafeRawBufferPointer, _ out: UnsafeMutableRawBufferPointer, isWide: Bool,
    ) -> Int? {
        isWide ? Base64.decode(text, into: out) : Base64.decode(text, into: out) { _, _, _ in 0 }
    }

    @Test("of any length is decoded to the byte, and writes no further than it says", arguments: [true, false])
    func lengths(isWide: Bool) {
        let memory = BoundedMemory()
        for count in 0...400 {
            let bytes = (0..<count).map { _ in UInt8.random(in: 0...255) }
            let text = UnsafeRawBufferPointer(memory.end(Array(Data(bytes).base64EncodedString().utf8)))
            let unpadded = UnsafeRawBufferPointer(rebasing: text.prefix { $0 != UInt8(ascii: "=") })
            for text in [text, unpadded] {
                var out = [UInt8](repeating: 0xEE, count: count + 67)
                let decoded = out.withUnsafeMutableBytes { Self.decode(text, $0, isWide: isWide) }
                #expect(decoded == count && Array(out[..<count]) == bytes)
                #expect(out[count...].allSatisfy { $0 == 0xEE })
            }
        }
    }

    @Test(
        "is refused with a character outside the alphabet anywhere, and at an impossible length",
        arguments: [true, false])
    func refused(isWide: Bool) {
        let alphabet = Set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)
        var out = [UInt8](repeating: 0, count: 200)
        func isTaken(_ text: [UInt8]) -> Bool {
            text.withUnsafeBytes { text in
                out.withUnsafeMutableBytes { Self.decode(text, $0, isWide: isWide) }
            } != nil
        }
        for byte in UInt8.min...UInt8.max {
            for place in [0, 1, 62, 63, 64, 127, 130, 131, 132] {
                var text = [UInt8](repeating: UInt8(ascii: "A"), count: 135)
                text[place] = byte
                #expect(isTaken(text) == alphabet.contains(byte), "\(byte) at \(place)")
            }
        }
        for count in [1, 5, 61, 65, 129] { #expect(!isTaken(Array(repeating: UInt8(ascii: "A"), count: count))) }
        #expect(Base64.decode("Zg=") == [0x66] && Base64.decode("Zg===") == nil && Base64.decode("====") == nil)
    }
}
