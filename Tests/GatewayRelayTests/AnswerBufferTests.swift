// SPDX-License-Identifier: Apache-2.0

import GatewayCore
import NIOCore
import NIOHTTP1
import Testing

@testable import GatewayRelay

@Suite("Answers on their way out")
struct AnswerBufferTests {
    private func head() -> FieldLines {
        var head = FieldLines()
        head.addStatusLine(.ok, isOld: false)
        head.add(lines: "\r\n")
        return head
    }

    /// What is written, and in how many pieces.
    private func written(_ framing: BodyFraming, _ parts: [(String, framed: String?)]) -> (text: String, count: Int) {
        var buffer = AnswerBuffer()
        var all = ""
        var count = 0
        let write: (ByteBuffer) -> Void = {
            all += String(buffer: $0)
            count += 1
        }
        buffer.begin(self.head(), framing, write: write)
        for part in parts {
            buffer.body(
                ByteBuffer(string: part.0), framed: part.framed.map { ByteBuffer(string: $0) }, write: write)
        }
        buffer.end(write: write)
        var own = buffer.takeOwn()
        if own.used > 0 { own.withBytes { write(ByteBuffer(bytes: $0)) } }
        if let rest = buffer.takePassed() { write(rest) }
        return (all, count)
    }

    @Test("leave in one write while they are small")
    func gathers() {
        let (text, count) = self.written(.chunked, [("hello", nil), ("", nil), ("abc", framed: "003\r\nabc\r\n")])
        #expect(text == "HTTP/1.1 200 OK\r\n\r\n5\r\nhello\r\n003\r\nabc\r\n0\r\n\r\n")
        #expect(count == 1)
    }

    @Test("pass large pieces as they are, in order")
    func passesLargePieces() {
        let large = String(repeating: "x", count: 0x12345)
        let (text, count) = self.written(.chunked, [("a", nil), (large, nil), ("b", nil)])
        #expect(text == "HTTP/1.1 200 OK\r\n\r\n1\r\na\r\n12345\r\n\(large)\r\n1\r\nb\r\n0\r\n\r\n")
        #expect(count == 3)
    }

    @Test("have no frames where a length is declared or the connection's end is the end")
    func unframed() {
        for framing in [BodyFraming.declared, .connectionEnd] {
            #expect(self.written(framing, [("ab", framed: "2\r\nab\r\n")]).text == "HTTP/1.1 200 OK\r\n\r\nab")
        }
    }

    @Test("never let a value out of its line")
    func cleansValues() {
        var lines = FieldLines()
        lines.add(name: "a", "b\r\nc: d\u{0}e\u{7F}\tä")
        lines.add("n", 1234)
        #expect(String(buffer: lines.buffer()) == "a: b  c: d e \tä\r\nn: 1234\r\n")
        #expect(Array(lines.headers().map(\.name)) == ["a", "n"])
    }
}

@Suite("Compressed answers")
struct InflaterTests {
    /// `hello, hello, hello` as gzip -9n makes it.
    private static let gzip: [UInt8] = [
        0x1F, 0x8B, 0x08, 0x00, 0x00, 0x00, 0x00, 0x00, 0x02, 0xFF, 0xCB, 0x48, 0xCD, 0xC9, 0xC9, 0xD7, 0x51, 0xC8,
        0x40, 0xA2, 0x00, 0x9F, 0xA1, 0xCA, 0x09, 0x13, 0x00, 0x00, 0x00,
    ]

    private func inflated(_ pieces: [ArraySlice<UInt8>]) throws -> String {
        let inflater = Inflater()
        var out = ByteBuffer()
        for piece in pieces {
            try inflater.receive(ByteBuffer(bytes: piece)) { out.writeImmutableBuffer($0) }
        }
        return String(buffer: out)
    }

    @Test("are read however they are cut, and what stands behind them is not")
    func reads() throws {
        for cut in 0...Self.gzip.count {
            #expect(try self.inflated([Self.gzip[..<cut], Self.gzip[cut...], [1, 2, 3]]) == "hello, hello, hello")
        }
    }

    @Test("are refused when they are none")
    func refuses() {
        #expect(throws: Inflater.Failure.self) {
            try self.inflated([[0x1F, 0x8B, 0x08, 0xFF, 1, 2, 3, 4, 5, 6, 7, 8]])
        }
        #expect(throws: Inflater.Failure.self) { try self.inflated([Array("plain text".utf8)[...]]) }
    }
}
