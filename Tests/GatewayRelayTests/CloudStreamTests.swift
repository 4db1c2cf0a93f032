// SPDX-License-Identifier: Apache-2.0

import Foundation
import GatewayCore
import GatewayProviders
import NIOCore
import TestSupport
import Testing

@testable import GatewayRelay

@Suite("Streams of cloud providers")
struct CloudStreamTests {
    /// What the client sees of a stream that arrives in pieces of that size.
    private func run(_ bytes: [UInt8], _ answer: UpstreamRequest.Answer, pieces: Int) -> (
        text: String, failure: String?
    ) {
        var stream = CloudStream(answer)
        var steps: [CloudStream.Step] = []
        var at = 0
        while at < bytes.count {
            let end = min(bytes.count, at + pieces)
            steps += stream.receive(ByteBuffer(bytes: bytes[at..<end]))
            at = end
        }
        steps += stream.finish()
        var text = ""
        var failure: String?
        for step in steps {
            switch step {
            case .events(let bytes): text += String(buffer: bytes)
            case .failure(let type, _): failure = type
            }
        }
        return (text, failure)
    }

    private static let events =
        ": comment\n\nevent: message_start\ndata: {\"type\":\"message_start\"}\n\nevent: ping\r\ndata: {\"type\": \"ping\"}\r\n\r\nevent: future\ndata: {\"type\":\"future\",\ndata: \"x\":1}\n\n"

    @Test("pass as they are, cut at any place: comments, pings, unknown events, all line ends")
    func passes() {
        for pieces in 1...80 {
            let result = self.run(Array(Self.events.utf8), .messages, pieces: pieces)
            #expect(result.text == Self.events)
            #expect(result.failure == nil)
        }
    }

    @Test(
        "keep an error's type and lose its text",
        arguments: [
            (
                "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"secret\"}}\n\n",
                "overloaded_error"
            ),
            ("data: {\"type\":\"error\",\"error\":{\"type\":\"made_up\",\"message\":\"secret\"}}\n\n", "api_error"),
            ("event: error\ndata: garbage\n\n", "api_error"),
        ])
    func errors(_ text: String, _ type: String) {
        let result = self.run(Array((Self.events + text + "event: late\ndata: {}\n\n").utf8), .messages, pieces: 7)
        #expect(result.text == Self.events)
        #expect(result.failure == type)
    }

    @Test("of Bedrock become events, with their JSON as it was")
    func frames() {
        let json = #"{"type":"content_block_delta","n":12345678901234567890,"t":"\u00e9"}"#
        let bytes = EventStreamFrame.chunk(#"{"type":"message_start"}"#) + EventStreamFrame.chunk(json)
        for pieces in [1, 2, 3, 7, 64, 1000] {
            let result = self.run(bytes, .eventStream, pieces: pieces)
            #expect(
                result.text
                    == "event: message_start\ndata: {\"type\":\"message_start\"}\n\nevent: content_block_delta\ndata: \(json)\n\n"
            )
            #expect(result.failure == nil)
        }
    }

    /// What Bedrock writes goes a short way, and everything else that means the same a long one.
    @Test(
        "of Bedrock become the same events in whatever form they come",
        arguments: [
            #"{"type":"content_block_delta","t":"a"}"#, #"{"t":"a","type":"content_block_delta"}"#,
            #" {"type":"content_block_delta","t":"a"}"#, #"{"type" : "content_block_delta", "t":"\u00e9"}"#,
            "{\"type\":\"content_block_delta\",\n\"t\":1}", #"{"type":"content\u005fblock_delta"}"#,
            #"{"type":"ping"}"#,
        ])
    func forms(_ json: String) throws {
        let base64 = Base64.encode(Array(json.utf8))
        let type = try #require(JSONValue(parsing: Array(json.utf8))["type"]?.string)
        let expected = "event: \(type)\ndata: \(json.filter { !$0.isNewline })\n\n"
        let headers = [(":message-type", "event"), (":event-type", "chunk")]
        for payload in [
            "{\"bytes\":\"\(base64)\"}", "{\"bytes\":\"\(base64)\",\"p\":\"abcA0\"}",
            "{\"bytes\":\"\(base64)\",\"p\":\"\"}",
            "{\"p\":\"ab\",\"bytes\":\"\(base64)\"}", "{ \"bytes\" : \"\(base64)\" }",
            "{\"bytes\":\"\(base64.replacingOccurrences(of: "=", with: ""))\",\"p\":\"a b\"}",
            "{\"bytes\":\"\\u00\(String(base64.utf8.first!, radix: 16))\(base64.dropFirst())\",\"q\":[1]}",
        ] {
            let bytes = EventStreamFrame.make(headers, Array(payload.utf8))
            let result = self.run(bytes + bytes, .eventStream, pieces: 50)
            #expect(result.text == expected + expected, "\(payload)")
            #expect(result.failure == nil)
        }
    }

    @Test("of Bedrock say the same on the short way as on the long one, however a payload is damaged")
    func shortAndLong() {
        var generator = SystemRandomNumberGenerator()
        let events = [
            #"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"a \u00e9 \"b\" \n"}}"#,
            #"{"type":"ping"}"#, #"{"type":"error","error":{"type":"overloaded_error"}}"#, #"{"type":"message_stop" }"#,
        ]
        var (short, long, none) = (0, 0, 0)
        for round in 0..<20_000 {
            var json = Array(events[round % events.count].utf8)
            if round % 3 == 1 {
                json[Int.random(in: 0..<json.count, using: &generator)] = UInt8.random(in: 0...127, using: &generator)
            }
            var payload = Array("{\"bytes\":\"\(Base64.encode(json))\",\"p\":\"abcdef\"}".utf8)
            if round % 3 == 2 {
                payload[Int.random(in: 0..<payload.count, using: &generator)] =
                    Array("\"\\{}=+A, p:\n".utf8).randomElement(using: &generator)!
            }
            var written = ByteBuffer()
            let type = payload.withUnsafeBytes { ChunkPayload.write($0, to: &written) }
            switch (type, payload.withUnsafeBytes({ ChunkPayload(parsing: $0) })) {
            case (let type?, .event(let name, let json)?):
                short += 1
                #expect((type == .ping) == (name == "ping"))
                let text = "event: \(name)\ndata: \(String(decoding: json, as: UTF8.self))\n\n"
                #expect(String(buffer: written) == text)
            case (nil, .some): long += 1
            case (nil, nil): none += 1
            default: Issue.record("the long way refuses \(String(decoding: payload, as: UTF8.self))")
            }
            if type == nil { #expect(written.readableBytes == 0) }
        }
        #expect(short > 5000 && long > 500 && none > 500, "\(short) \(long) \(none)")
    }

    @Test(
        "of Bedrock end where a frame is no event",
        arguments: [
            "", "{}", "{\"bytes\":\"", "{\"bytes\":\"e30=\"}", "{\"bytes\":\"eyJ0\"}", "{\"bytes\":\"!!!!\"}",
            // Not JSON behind the type, two values, and a control byte in a string.
            "{\"bytes\":\"\(Base64.encode(Array("{\"type\":\"x\",}".utf8)))\"}",
            "{\"bytes\":\"\(Base64.encode(Array("{\"type\":\"x\"}{}".utf8)))\"}",
            "{\"bytes\":\"\(Base64.encode(Array("{\"type\":\"x\",\"a\":\"\u{1}\"}".utf8)))\"}",
            "{\"bytes\":\"\(Base64.encode(Array("{\"type\":\"x\"}".utf8)))\",\"p\":\"a\"", "[1]",
        ])
    func brokenFrames(_ payload: String) {
        let good = EventStreamFrame.chunk(#"{"type":"message_start"}"#)
        let bad = EventStreamFrame.make([(":event-type", "chunk")], Array(payload.utf8))
        let result = self.run(good + bad + good, .eventStream, pieces: 1000)
        #expect(result.text == "event: message_start\ndata: {\"type\":\"message_start\"}\n\n")
        #expect(result.failure == "api_error")
    }

    @Test(
        "of Bedrock end with what its exceptions mean",
        arguments: [
            ("throttlingException", "rate_limit_error"), ("serviceUnavailableException", "overloaded_error"),
            ("validationException", "invalid_request_error"), ("modelStreamErrorException", "api_error"),
        ])
    func exceptions(_ name: String, _ type: String) {
        let bytes =
            EventStreamFrame.chunk(#"{"type":"message_start"}"#)
            + EventStreamFrame.make(
                [(":message-type", "exception"), (":exception-type", name)], Array(#"{"message":"secret"}"#.utf8))
        let result = self.run(bytes, .eventStream, pieces: 5)
        #expect(result.failure == type)
        #expect(!result.text.contains("secret"))
    }

    @Test("that end inside a frame, or with a wrong checksum, are failures")
    func truncated() {
        let bytes = EventStreamFrame.chunk(#"{"type":"message_start"}"#)
        #expect(self.run(Array(bytes.dropLast(3)), .eventStream, pieces: 9).failure == "api_error")
        var broken = bytes
        broken[20] ^= 1
        #expect(self.run(broken, .eventStream, pieces: 9).failure == "api_error")
    }

    @Test("never crash the reader", arguments: 0..<40)
    func fuzz(_ seed: Int) {
        var state = UInt64(seed) &* 0x9E37_79B9_7F4A_7C15 | 1
        func random(_ bound: Int) -> Int {
            state ^= state << 13
            state ^= state >> 7
            state ^= state << 17
            return Int(state % UInt64(bound))
        }
        let seeds = [Array(Self.events.utf8), EventStreamFrame.chunk(#"{"type":"x"}"#) + EventStreamFrame.chunk("[]")]
        for _ in 0..<200 {
            var bytes = seeds[random(2)]
            for _ in 0..<random(6) { bytes[random(bytes.count)] = UInt8(random(256)) }
            _ = self.run(bytes, random(2) == 0 ? .messages : .eventStream, pieces: 1 + random(30))
        }
    }
}

@Suite("Silent upstreams")
struct UpstreamHealthTests {
    @Test("are tried last for a while, then once, and first again when they answer")
    func rests() {
        let health = UpstreamHealth(count: 2)
        let start = Timestamp(milliseconds: 1_000_000_000_000)
        func rests(_ seconds: Double) -> Bool { health.rests(0, model: "m", now: start.advanced(bySeconds: seconds)) }
        #expect(!rests(0))
        health.wasSilent(0, now: start)
        #expect(rests(1) && rests(9.9) && !health.rests(1, model: "m", now: start))
        #expect(!rests(10.1), "no probe was let through")
        #expect(rests(10.2), "a second probe was let through")
        health.wasSilent(0, now: start.advanced(bySeconds: 11))
        #expect(rests(30), "the rest did not grow")
        #expect(!rests(31.1))
        #expect(rests(35) && !rests(41.2), "a probe that nobody heard of again was the last one")
        health.answered(0)
        #expect(!rests(41.3) && !rests(41.4))
    }

    @Test("and failing ones rest where a breaker is configured, each model for itself")
    func breaker() {
        let health = UpstreamHealth(count: 1, breaker: .init(failures: 3, restSeconds: 5))
        let start = Timestamp(milliseconds: 1_000_000_000_000)
        func rests(_ model: String, _ seconds: Double) -> Bool {
            health.rests(0, model: model, now: start.advanced(bySeconds: seconds))
        }
        for second in 0..<2 { health.failed(0, model: "a", now: start.advanced(bySeconds: Double(second))) }
        health.served(0, model: "a")
        for second in 0..<2 { health.failed(0, model: "a", now: start.advanced(bySeconds: Double(second))) }
        #expect(!rests("a", 2), "failures that were not in a row counted")
        health.failed(0, model: "a", now: start.advanced(bySeconds: 2))
        #expect(rests("a", 3) && !rests("b", 3))
        #expect(!rests("a", 7.1) && rests("a", 7.2), "not one probe")
        health.failed(0, model: "a", now: start.advanced(bySeconds: 8))
        #expect(rests("a", 12.9) && !rests("a", 13.1))
        health.served(0, model: "a")
        #expect(!rests("a", 13.2))
        let plain = UpstreamHealth(count: 1)
        for _ in 0..<9 { plain.failed(0, model: "a", now: start) }
        #expect(!plain.rests(0, model: "a", now: start))
    }
}

@Suite("Retry budgets")
struct RetryBudgetTests {
    @Test("allow a share of the requests and a number a second, and save for some time only")
    func budget() {
        let start = Timestamp(milliseconds: 1_000_000_000_000)
        let budget = RetryBudget(.init(percent: 20, minimumPerSecond: 1), now: start)
        func taken(_ second: Double) -> Int {
            (0..<1000).prefix { _ in budget.take(now: start.advanced(bySeconds: second)) }.count
        }
        #expect(taken(0) == 11)
        for _ in 0..<50 { budget.began(now: start) }
        #expect(taken(0) == 10)
        #expect(taken(3) == 3)
        #expect(taken(10_000) == 20)
        let strict = RetryBudget(.init(percent: 10, minimumPerSecond: 0), now: start)
        while strict.take(now: start) {}
        for _ in 0..<9 { strict.began(now: start) }
        #expect(!strict.take(now: start))
        strict.began(now: start)
        #expect(strict.take(now: start) && !strict.take(now: start))
    }
}

@Suite("Weights")
struct WeightedOrderTests {
    @Test("give each upstream its share, keep sessions, and leave the others' places alone")
    func shares() {
        let items: [(name: String, weight: Double?)] = [("fixed", nil), ("a", 3), ("b", 1), ("last", nil)]
        var counts: [Int: Int] = [:]
        for key in 0..<8000 {
            let order = WeightedOrder.order(items, key: "\(key)")
            #expect(order.first == 0 && order.last == 3)
            counts[order[1], default: 0] += 1
        }
        #expect((5800...6200).contains(counts[1] ?? 0), "\(counts)")
        #expect(WeightedOrder.order(items, key: "s") == WeightedOrder.order(items, key: "s"))
        // Without a, only what a had moves.
        for key in 0..<100 where WeightedOrder.order(items, key: "\(key)")[1] == 2 {
            #expect(WeightedOrder.order([items[0], items[2], items[3]], key: "\(key)")[1] == 1)
        }
    }
}
