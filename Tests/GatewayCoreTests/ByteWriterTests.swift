// SPDX-License-Identifier: Apache-2.0

import GatewayCore
import Testing

@Suite("Bytes")
struct ByteWriterTests {
    @Test("are written as decimal numbers like everywhere else")
    func decimals() {
        var numbers = [0, 9, .max, .min, .max - 1, .min + 1]
        var power = 1
        for _ in 0..<18 {
            power *= 10
            numbers += [power - 1, power, power + 1, -power, 1 - power]
        }
        for number in numbers {
            var writer = ByteWriter()
            writer.put(0x5B)
            writer.putDecimal(number)
            writer.put(0x5D)
            #expect(String(decoding: writer.bytes, as: UTF8.self) == "[\(number)]")
        }
    }

    @Test("of strings are equal or are not, whatever characters they make")
    func equality() {
        let texts = [
            "", "a", "claude-sonnet-4-6", "claude-sonnet-4-7", "\u{212A}", "K", "e\u{301}", "\u{E9}", "\u{212B}",
            "\u{C5}",
        ]
        for one in texts {
            for other in texts {
                #expect(ByteSearch.areEqual(one, other) == (Array(one.utf8) == Array(other.utf8)), "\(one) \(other)")
            }
        }
    }

    @Test("are hashed with where one text ends and the next begins")
    func hashes() {
        let lists = [
            [], [""], ["", ""], ["a"], ["a", ""], ["", "a"], ["ab"], ["a", "b"], ["b", "a"], ["12345678"],
            ["1234567", "8"], ["12345678", ""], ["123456789"], ["1234567\0"], ["1234567"], ["12345678\0"],
        ]
        let hashes = lists.map { texts in
            var hash = ByteHash(seed: 1)
            for text in texts { hash.add(text) }
            return hash.value
        }
        #expect(Set(hashes).count == lists.count)
        #expect(ByteHash(seed: 1).value != ByteHash(seed: 2).value)
    }
}
