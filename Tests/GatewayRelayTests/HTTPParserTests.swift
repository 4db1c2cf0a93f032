// SPDX-License-Identifier: Apache-2.0

import GatewayRelay
import NIOCore
import NIOHTTP1
import Testing

/// What a parser made of some bytes, in a form that can be compared.
private struct Reading: Equatable {
    var heads: [String] = []
    var bodies: [String] = []
    var ends = 0
    var fault: HTTPSyntaxError?
    var rest = ""
}

private func readRequests(_ pieces: [String]) -> Reading {
    var parser = RequestParser()
    var input = ByteBuffer()
    var reading = Reading()
    do throws(HTTPSyntaxError) {
        for piece in pieces {
            input.writeString(piece)
            while let event = try parser.next(&input) {
                switch event {
                case .head(let head):
                    let fields = head.fields.headers.map { "\($0.name)=\($0.value)" }.joined(separator: "&")
                    reading.heads.append("\(head.method) \(head.target) \(fields)")
                    reading.bodies.append("")
                case .body(let bytes): reading.bodies[reading.bodies.count - 1] += String(buffer: bytes)
                case .end: reading.ends += 1
                }
            }
        }
    } catch {
        reading.fault = error
    }
    reading.rest = String(buffer: input)
    return reading
}

private func readResponse(_ pieces: [String], closes: Bool = false) -> (Reading, framed: String) {
    var parser = ResponseParser()
    parser.expectResponse()
    var input = ByteBuffer()
    var reading = Reading()
    var frames = ""
    do throws(HTTPSyntaxError) {
        for piece in pieces {
            input.writeString(piece)
            while let event = try parser.next(&input) {
                switch event {
                case .head(let head):
                    reading.heads.append("\(head.status) \(head.reason) \(head.keepsAlive)")
                    reading.bodies.append("")
                case .body(let bytes, let framed):
                    reading.bodies[reading.bodies.count - 1] += String(buffer: bytes)
                    frames += framed.map { String(buffer: $0) } ?? "(\(String(buffer: bytes)))"
                case .end: reading.ends += 1
                }
            }
        }
        if closes, parser.close() { reading.ends += 1 }
    } catch {
        reading.fault = error
    }
    return (reading, frames)
}

/// Every way to cut a text in two, and the text byte by byte.
private func cuts(_ text: String) -> [[String]] {
    let bytes = Array(text.utf8)
    let text = { (part: ArraySlice<UInt8>) in String(decoding: part, as: UTF8.self) }
    return (0...bytes.count).map { [text(bytes[..<$0]), text(bytes[$0...])] } + [bytes.map { text([$0]) }]
}

@Suite("The HTTP/1.1 request parser")
struct RequestParserTests {
    @Test("reads requests one behind the other, however they are cut")
    func reads() {
        let text =
            "POST /v1/messages?a=b HTTP/1.1\r\nHost: x\r\nX-Empty:\r\nX-Two:\t a  b \t\r\nContent-Length: 5\r\n\r\nhello"
            + "\r\nGET / HTTP/1.0\r\n\r\nDELETE http://x/y HTTP/1.1\r\nhost: y\r\n\r\n"
        let whole = readRequests([text])
        #expect(
            whole.heads == [
                "POST /v1/messages?a=b Host=x&X-Empty=&X-Two=a  b&Content-Length=5", "GET / ",
                "DELETE http://x/y host=y",
            ])
        #expect(whole.bodies == ["hello", "", ""])
        #expect(whole.ends == 3 && whole.fault == nil && whole.rest.isEmpty)
        for pieces in cuts(text) { #expect(readRequests(pieces) == whole) }
    }

    @Test(
        "refuses what two servers could read in two ways",
        arguments: [
            // Line ends.
            ("GET / HTTP/1.1\nHost: x\n\n", HTTPSyntaxError.lineEnd),
            ("GET / HTTP/1.1\r\nHost: x\n\r\n", .lineEnd), ("GET / HTTP/1.1\r\nHost: x\r\n\n", .lineEnd),
            ("GET / HTTP/1.1\r\nA: b\rC: d\r\n\r\n", .field), ("GET / HTTP/1.1\r\nA: b\r\n\rX: y\r\n\r\n", .field),
            ("GET / HTTP/1.1\r\n\r \r\n\r\n", .field),
            // Start lines.
            ("GET  / HTTP/1.1\r\n\r\n", .startLine), ("GET /a b HTTP/1.1\r\n\r\n", .startLine),
            (" GET / HTTP/1.1\r\n\r\n", .startLine), ("GET / HTTP/1.1 \r\n\r\n", .startLine),
            ("GET /\r\n\r\n", .startLine), ("GET\r\n\r\n", .startLine), ("GET / HTTP/1.2\r\n\r\n", .startLine),
            ("GET / HTTP/0.9\r\n\r\n", .startLine), ("GET / http/1.1\r\n\r\n", .startLine),
            ("GET / HTTP/11.1\r\n\r\n", .startLine), ("GET foo HTTP/1.1\r\n\r\n", .startLine),
            ("GET ftp://x/ HTTP/1.1\r\n\r\n", .startLine), ("GET *x HTTP/1.1\r\n\r\n", .startLine),
            ("GET http://x:8`/y HTTP/1.1\r\n\r\n", .startLine), ("GET http:///y HTTP/1.1\r\n\r\n", .startLine),
            ("GET http://u@x/y HTTP/1.1\r\n\r\n", .startLine),
            ("GET /\u{7F} HTTP/1.1\r\n\r\n", .startLine), ("GET /ä HTTP/1.1\r\n\r\n", .startLine),
            ("G@T / HTTP/1.1\r\n\r\n", .startLine), ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", .version),
            ("\u{16}\u{03}\u{01}", .startLine), ("\n", .startLine), ("GET\t/ HTTP/1.1\r\n\r\n", .startLine),
            // Field lines.
            ("GET / HTTP/1.1\r\nHost : x\r\n\r\n", .field), ("GET / HTTP/1.1\r\n Host: x\r\n\r\n", .field),
            ("GET / HTTP/1.1\r\nA: b\r\n c\r\n\r\n", .field), ("GET / HTTP/1.1\r\n: x\r\n\r\n", .field),
            ("GET / HTTP/1.1\r\nHost\r\n\r\n", .field), ("GET / HTTP/1.1\r\nA\u{0}: b\r\n\r\n", .field),
            ("GET / HTTP/1.1\r\nA: b\u{0}c\r\n\r\n", .field), ("GET / HTTP/1.1\r\nA: b\u{7F}\r\n\r\n", .field),
            ("GET / HTTP/1.1\r\nä: b\r\n\r\n", .field), ("GET / HTTP/1.1\r\nA(b): c\r\n\r\n", .field),
            // Lengths.
            ("POST / HTTP/1.1\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\n{}", .framing),
            ("POST / HTTP/1.1\r\nContent-Length: 2, 2\r\n\r\n{}", .framing),
            ("POST / HTTP/1.1\r\nContent-Length: +2\r\n\r\n{}", .framing),
            ("POST / HTTP/1.1\r\nContent-Length: -2\r\n\r\n{}", .framing),
            ("POST / HTTP/1.1\r\nContent-Length: 0x2\r\n\r\n{}", .framing),
            ("POST / HTTP/1.1\r\nContent-Length:\r\n\r\n{}", .framing),
            ("POST / HTTP/1.1\r\nContent-Length: 2 2\r\n\r\n{}", .framing),
            ("POST / HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n", .framing),
            ("POST / HTTP/1.1\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n", .framing),
            ("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n", .framing),
            ("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", .framing),
        ])
    func refuses(_ text: String, _ fault: HTTPSyntaxError) {
        let reading = readRequests([text])
        #expect(reading.fault == fault && reading.heads.isEmpty, "\(reading)")
        #expect(readRequests(text.unicodeScalars.map { String($0) }).heads.isEmpty)
    }

    /// A slow reading of the same rules: `nil` for what is refused.
    private func slowly(_ lines: [String]) -> [String]? {
        let token = Set("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ".utf8)
        var fields: [String] = []
        for line in lines {
            let bytes = Array(line.utf8)
            guard let colon = bytes.firstIndex(of: 0x3A), colon > 0, bytes[..<colon].allSatisfy(token.contains) else {
                return nil
            }
            let value = bytes[(colon + 1)...]
            guard value.allSatisfy({ $0 >= 0x20 && $0 != 0x7F || $0 == 0x09 }) else { return nil }
            let isSpace = { (byte: UInt8) in byte == 0x20 || byte == 0x09 }
            let trimmed = value.drop(while: isSpace).reversed().drop(while: isSpace).reversed()
            let name = String(decoding: bytes[..<colon], as: UTF8.self)
            fields.append(name + "=" + String(decoding: Array(trimmed), as: UTF8.self))
        }
        return fields
    }

    @Test("reads fields as they are written, wherever blocks of 16 bytes begin and however they are cut")
    func fields() {
        var numbers = SystemRandomNumberGenerator()
        func some(_ parts: [String], upTo count: Int) -> String {
            (0..<Int.random(in: 0...count, using: &numbers)).map { _ in parts.randomElement(using: &numbers)! }.joined()
        }
        let plain = ["a", "Z", "0", "9", "-", "content", "x-claude-code-"]
        let odd = ["_", "!", "~", "é", " ", "\u{7F}", "/", "@", "[", "`", "{", ":", "\t", "\u{1}"]
        var (taken, refused) = (0, 0)
        for round in 0..<4000 {
            let names = round % 3 == 0 ? plain + odd : plain
            let values = round % 5 == 0 ? plain + odd : plain + [" ", "\t", ";", "é"]
            let lines = (0..<Int.random(in: 0...6, using: &numbers)).map { _ in
                "n" + some(names, upTo: 8) + ":" + some(values, upTo: 30)
            }
            let text = "GET / HTTP/1.1\r\n" + lines.map { $0 + "\r\n" }.joined() + "\r\n"
            let cut = text.utf8.index(text.startIndex, offsetBy: Int.random(in: 0...text.utf8.count, using: &numbers))
            var parser = RequestParser()
            var input = ByteBuffer()
            var found: [String]?
            do throws(HTTPSyntaxError) {
                for piece in [Array(text.utf8[..<cut]), Array(text.utf8[cut...])] {
                    input.writeBytes(piece)
                    if case .head(let head)? = try parser.next(&input) {
                        found = head.fields.headers.map { "\($0.name)=\($0.value)" }
                    }
                }
            } catch {}
            let expected = self.slowly(lines)
            #expect(found == expected, "\(lines)")
            if expected == nil { refused += 1 } else { taken += 1 }
        }
        #expect(taken > 500 && refused > 500)
    }

    @Test("hands out a coded request's head, and looks at nothing behind it")
    func stopsAtCodings() {
        for coding in ["chunked", "gzip, chunked", "xchunked", "identity"] {
            let text =
                "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: \(coding)\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\n\r\n"
            let reading = readRequests([text])
            #expect(reading.heads.count == 1 && reading.ends == 0 && reading.bodies == [""])
        }
    }

    @Test("takes heads up to a length, and looks at each byte once")
    func boundsHeads() {
        let line = "A: " + String(repeating: "b", count: 1000) + "\r\n"
        let many = String(repeating: line, count: 79)
        #expect(readRequests(["GET / HTTP/1.1\r\n" + many + "\r\n"]).heads.count == 1)
        let tooMany = String(repeating: line, count: 90)
        #expect(readRequests(["GET / HTTP/1.1\r\n" + tooMany]).fault == .tooLong)
        #expect(readRequests(["GET / HTTP/1.1\r\n" + tooMany + "\r\n"]).fault == .tooLong)
        #expect(readRequests(["GET /" + String(repeating: "a", count: 100_000)]).fault == .tooLong)
    }

    @Test("knows who means to go on")
    func keepsAlive() throws {
        func keeps(_ head: String) throws -> Bool? {
            var parser = RequestParser()
            var input = ByteBuffer(string: head + "\r\n\r\n")
            guard case .head(let head)? = try parser.next(&input) else { return nil }
            return head.keepsAlive
        }
        #expect(try keeps("GET / HTTP/1.1") == true)
        #expect(try keeps("GET / HTTP/1.1\r\nConnection: foo , CLOSE") == false)
        #expect(try keeps("GET / HTTP/1.1\r\nConnection: foo\r\nconnection: close") == false)
        #expect(try keeps("GET / HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: h2c") == true)
        #expect(try keeps("GET / HTTP/1.0\r\nConnection: keep-alive") == false)
        #expect(try keeps("CONNECT x:1 HTTP/1.1") == false)
    }

    @Test("takes no field from HTTP/2 that could not be a line")
    func checksForeignFields() throws {
        for (name, value) in [("a", "b\r\nc: d"), ("a", "b\u{0}"), ("a b", "c"), ("", "c"), ("a:", "c")] {
            let head = HTTPRequestHead(version: .http2, method: .POST, uri: "/", headers: [name: value])
            #expect(throws: HTTPSyntaxError.field) { try RequestHead(head) }
        }
        let head = HTTPRequestHead(
            version: .http2, method: .POST, uri: "/", headers: ["content-length": "3", "content-length": "3"])
        #expect(throws: HTTPSyntaxError.framing) { try RequestHead(head) }
    }
}

@Suite("The HTTP/1.1 response parser")
struct ResponseParserTests {
    @Test(
        "reads each kind of body, however it is cut",
        arguments: [
            ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", "200 OK true", "hello"),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: CHUNKED\r\n\r\n5\r\nhello\r\nA\r\n0123456789\r\n0\r\n\r\n",
                "200 OK true", "hello0123456789"
            ),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n005;x=\"y\"\r\nhello\r\n000\r\nTrailer: z\r\n\r\n",
                "200 OK true", "hello"
            ),
            ("HTTP/1.1 204 No Content\r\nContent-Length: 7\r\n\r\n", "204 No Content true", ""),
            ("HTTP/1.1 200\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", "200  false", ""),
            ("HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", "200 OK false", "ok"),
            (
                "HTTP/1.0 529 Too busy\r\nConnection: Keep-Alive\r\nContent-Length: 2\r\n\r\nok", "529 Too busy true",
                "ok"
            ),
        ])
    func reads(_ text: String, _ head: String, _ body: String) {
        for pieces in [[text]] + cuts(text) {
            let (reading, _) = readResponse(pieces)
            #expect(reading.heads == [head] && reading.bodies == [body] && reading.ends == 1 && reading.fault == nil)
        }
    }

    @Test("hands out whole chunks with their frames, and what it cannot pass without")
    func frames() {
        let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        #expect(readResponse([head + "3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"]).framed == "3\r\nabc\r\n2\r\nde\r\n")
        #expect(readResponse([head + "3\r\nab", "c\r\n0\r\n\r\n"]).framed == "(ab)(c)")
        #expect(readResponse([head + "3\r\nabc", "\r\n0\r\n\r\n"]).framed == "(abc)")
        #expect(readResponse([head + "3;x\r\nabc\r\n0\r\n\r\n"]).framed == "(abc)")
        #expect(readResponse([head + "000000000003\r\nabc\r\n0\r\n\r\n"]).framed == "(abc)")
    }

    @Test("reads to the connection's end where nothing else is said")
    func readsToTheEnd() {
        let (reading, _) = readResponse(["HTTP/1.1 200 OK\r\n\r\nab", "c"], closes: true)
        #expect(reading.bodies == ["abc"] && reading.ends == 1)
        let (cut, _) = readResponse(["HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab", "c"], closes: true)
        #expect(cut.ends == 0)
    }

    @Test("skips what only announces an answer")
    func skipsInterim() {
        let text = "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na"
        let (reading, _) = readResponse([text])
        #expect(reading.heads == ["103 Early Hints true", "200 OK true"] && reading.ends == 1)
    }

    @Test(
        "takes no answer whose end is uncertain",
        arguments: [
            ("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", HTTPSyntaxError.framing),
            ("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", .framing),
            ("HTTP/1.1 204 No\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", .framing),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", .framing),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", .framing),
            ("HTTP/1.1 200 OK\r\nContent-Length: 1 \t2\r\n\r\n", .framing),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\nhello\r\n", .lineEnd),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhelloX\r\n0\r\n\r\n", .chunk),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\nhello\r\n", .chunk),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n 5\r\nhello\r\n", .chunk),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5 5\r\nhello\r\n", .chunk),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0x5\r\nhello\r\n", .chunk),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\r\n", .chunk),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFFF\r\n", .chunk),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nno field\r\n\r\n", .field),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\na b: c\r\n\r\n", .field),
            ("HTTP/1.1 101 Switching Protocols\r\n\r\n", .unasked), ("HTTP/1.0 103 Early Hints\r\n\r\n", .unasked),
            ("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nab", .unasked),
            ("HTTP/2 200\r\n\r\n", .startLine), ("ICY 200 OK\r\n\r\n", .startLine),
            ("HTTP/1.1 20 OK\r\n\r\n", .startLine), ("HTTP/1.1 2000 OK\r\n\r\n", .startLine),
            ("HTTP/1.1 099 OK\r\n\r\n", .startLine), ("HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n", .field),
            ("HTTP/1.1 200 OK\nA: b\n\n", .lineEnd),
        ])
    func refuses(_ text: String, _ fault: HTTPSyntaxError) {
        #expect(readResponse([text]).0.fault == fault)
        #expect(readResponse(Array(text.utf8).map { String(decoding: [$0], as: UTF8.self) }).0.fault == fault)
    }

    @Test("says nothing of bytes that nobody asked for but that")
    func refusesUnasked() throws {
        var parser = ResponseParser()
        var input = ByteBuffer()
        #expect(try parser.next(&input) == nil)
        input.writeString("x")
        #expect(throws: HTTPSyntaxError.unasked) { _ = try parser.next(&input) }
    }
}
