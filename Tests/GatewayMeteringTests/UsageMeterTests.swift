// SPDX-License-Identifier: Apache-2.0

import GatewayCore
import Testing

@testable import GatewayMetering

@Suite("Usage of answers")
struct UsageMeterTests {
    private func read(_ format: UsageMeter.Format, _ pieces: [ArraySlice<UInt8>]) -> UsageMeter.Reading {
        var meter = UsageMeter(format)
        for piece in pieces { piece.withUnsafeBytes { meter.receive($0) } }
        return meter.finish()
    }

    private func json(_ text: String) -> UsageMeter.Reading {
        self.read(.json, [Array(text.utf8)[...]])
    }

    private func events(_ text: String) -> UsageMeter.Reading {
        self.read(.events, [Array(text.utf8)[...]])
    }

    private func reading(
        _ input: Int = 0, _ output: Int = 0, read: Int = 0, write: Int = 0, hour: Int = 0, searches: Int = 0,
        fast: Bool = false, knowsInput: Bool = true, knowsOutput: Bool = true
    ) -> UsageMeter.Reading {
        var usage = TokenUsage(input: input, output: output)
        usage.cacheRead = read
        usage.cacheWrite5m = write
        usage.cacheWrite1h = hour
        usage.webSearches = searches
        usage.isFast = fast
        return UsageMeter.Reading(
            usage: usage, knowsInput: knowsInput, knowsOutput: knowsOutput, sawAnything: true)
    }

    // MARK: JSON

    @Test("reads the text of a usage as it reads the parsed value")
    func textAndValue() throws {
        var generator = SystemRandomNumberGenerator()
        let names = [
            "input_tokens", "output_tokens", "cache_read_input_tokens", "cache_creation_input_tokens", "speed",
            "cache_creation", "server_tool_use", "service_tier", "input\\u005ftokens", "ephemeral_5m_input_tokens",
            "ephemeral_1h_input_tokens", "web_search_requests",
        ]
        let scalars = [
            "0", "12", "1.5", "-1", "1e3", "null", "true", "\"fast\"", "100000001", "9999999999999999", "[]", "\"\"",
        ]
        func object(_ depth: Int) -> String {
            let members = (0..<Int.random(in: 0...6, using: &generator)).map { _ in
                let isNested = depth == 0 && Int.random(in: 0...3, using: &generator) == 0
                let value = isNested ? object(1) : scalars.randomElement(using: &generator)!
                return "\"\(names.randomElement(using: &generator)!)\" :\(value)"
            }
            return "{" + members.joined(separator: " ,") + "}"
        }
        var usable = 0
        for _ in 0..<5000 {
            let text = object(0)
            for place in [UsageReader.Place.answer, .start, .delta] {
                var (one, other) = (UsageReader.Partial(), UsageReader.Partial())
                let isUsable = UsageReader.apply(Array(text.utf8), at: place, to: &one)
                #expect(isUsable == UsageReader.apply(try JSONValue(parsing: text), at: place, to: &other), "\(text)")
                #expect(one == other, "\(text)")
                if isUsable { usable += 1 }
            }
        }
        #expect(usable > 2000 && usable < 13_000, "\(usable)")
    }

    @Test("of a JSON answer")
    func wholeAnswer() {
        let text = """
            {"type":"message","model":"x","content":[{"type":"text","text":"\\"usage\\":{}"}],"usage":{"input_tokens":1000,
            "output_tokens":500,"cache_read_input_tokens":7,"cache_creation_input_tokens":30,
            "cache_creation":{"ephemeral_5m_input_tokens":10,"ephemeral_1h_input_tokens":20},
            "server_tool_use":{"web_search_requests":3,"web_fetch_requests":9},"service_tier":"priority","speed":"fast"}}
            """
        #expect(
            self.json(text) == self.reading(1000, 500, read: 7, write: 10, hour: 20, searches: 3, fast: true))
    }

    @Test(
        "of usage blocks that count",
        arguments: [
            ("{}", [0, 0, 0, 0, 0]),
            (#"{"output_tokens":5}"#, [0, 5, 0, 0, 0]),
            (#"{"input_tokens":1.2,"output_tokens":0.001}"#, [2, 1, 0, 0, 0]),
            (#"{"input_tokens":1e2,"output_tokens":-0}"#, [100, 0, 0, 0, 0]),
            (#"{"input_tokens":100000000}"#, [100_000_000, 0, 0, 0, 0]),
            (#"{"cache_read_input_tokens":4,"cache_creation_input_tokens":9}"#, [0, 0, 4, 9, 0]),
            // The split: absent, partial, over the total, without a total.
            (#"{"cache_creation_input_tokens":9,"cache_creation":null}"#, [0, 0, 0, 9, 0]),
            (#"{"cache_creation_input_tokens":9,"cache_creation":{"ephemeral_1h_input_tokens":4}}"#, [0, 0, 0, 5, 4]),
            (#"{"cache_creation_input_tokens":9,"cache_creation":{"ephemeral_5m_input_tokens":4}}"#, [0, 0, 0, 9, 0]),
            (
                #"{"cache_creation_input_tokens":100,"cache_creation":"#
                    + #"{"ephemeral_5m_input_tokens":100,"ephemeral_1h_input_tokens":100}}"#,
                [0, 0, 0, 0, 100]
            ),
            (
                #"{"cache_creation_input_tokens":100,"cache_creation":"#
                    + #"{"ephemeral_5m_input_tokens":90,"ephemeral_1h_input_tokens":30}}"#,
                [0, 0, 0, 70, 30]
            ),
            (
                #"{"cache_creation_input_tokens":0,"cache_creation":"#
                    + #"{"ephemeral_5m_input_tokens":6,"ephemeral_1h_input_tokens":7}}"#,
                [0, 0, 0, 6, 7]
            ),
            (#"{"cache_creation":{"ephemeral_5m_input_tokens":6}}"#, [0, 0, 0, 6, 0]),
        ])
    func counts(_ usage: String, _ expected: [Int]) {
        #expect(
            self.json(#"{"usage":\#(usage)}"#)
                == self.reading(expected[0], expected[1], read: expected[2], write: expected[3], hour: expected[4]))
    }

    @Test(
        "of unusable blocks is unknown",
        arguments: [
            #"{"input_tokens":null}"#, #"{"input_tokens":"5"}"#, #"{"input_tokens":true}"#, #"{"input_tokens":-1}"#,
            #"{"input_tokens":100000001}"#, #"{"input_tokens":1e20}"#, #"{"input_tokens":1e400}"#,
            #"{"input_tokens":[5]}"#, #"{"input_tokens":5,"output_tokens":null}"#,
            #"{"input_tokens":5,"output_tokens":-0.5}"#, #"{"input_tokens":5,"cache_read_input_tokens":null}"#,
            #"{"input_tokens":5,"cache_creation_input_tokens":"9"}"#,
            #"{"input_tokens":5,"cache_creation":{"ephemeral_5m_input_tokens":-9}}"#,
            #"{"input_tokens":5,"cache_creation":{"ephemeral_1h_input_tokens":{}}}"#,
            "null", "[]", "5", #""x""#,
        ])
    func unusable(_ usage: String) {
        let text = #"{"usage":\#(usage)}"#
        #expect(
            self.json(text)
                == self.reading(0, (text.utf8.count + 3) / 4, knowsInput: false, knowsOutput: false))
    }

    @Test(
        "counts web searches, within reason",
        arguments: [
            ("3", 3), ("0", 0), ("10000", 10000), ("2.5", 3), ("-5", 0), ("10001", 0), ("1e400", 0), ("null", 0),
            (#""3""#, 0), ("true", 0),
        ])
    func webSearches(_ count: String, _ expected: Int) {
        let usage = #"{"input_tokens":8,"server_tool_use":{"web_search_requests":\#(count)}}"#
        #expect(self.json(#"{"usage":\#(usage)}"#) == self.reading(8, searches: expected))
    }

    @Test(
        "is fast where it says exactly so",
        arguments: [(#""fast""#, true), (#""Fast""#, false), (#""standard""#, false), ("null", false), ("1", false)])
    func speed(_ speed: String, _ expected: Bool) {
        #expect(self.json(#"{"usage":{"speed":\#(speed)}}"#) == self.reading(fast: expected))
    }

    @Test("of other bodies is an estimate from their length")
    func otherBodies() {
        #expect(self.json("{}") == self.reading(0, 1, knowsInput: false, knowsOutput: false))
        #expect(self.json("hello") == self.reading(0, 2, knowsInput: false, knowsOutput: false))
        #expect(self.json(#"{"usage":{"#) == self.reading(0, 3, knowsInput: false, knowsOutput: false))
        let empty = UsageMeter.Reading(
            usage: TokenUsage(), knowsInput: false, knowsOutput: false, sawAnything: false)
        #expect(self.read(.json, []) == empty)
        #expect(self.read(.json, [[]]) == empty)
        #expect(self.read(.events, []) == empty)
    }

    @Test("of a body that is cut off behind it")
    func cutBody() {
        let usage = #"{"input_tokens":5,"output_tokens":7}"#
        for tail in ["}", "", ",", #","id":"m"#, #","x":{"usage":{"input_tokens":9"#] {
            #expect(self.json(#"{"usage":\#(usage)\#(tail)"#) == self.reading(5, 7), "\(tail)")
        }
        let cut = #"{"usage":{"input_tokens":5,"output_tokens":7"#
        #expect(
            self.json(cut) == self.reading(0, (cut.utf8.count + 3) / 4, knowsInput: false, knowsOutput: false))
    }

    @Test("of a body of 40 MB that says it at its end")
    func hugeBody() {
        let start = Array(#"{"x":""#.utf8)
        let filler = [UInt8](repeating: 0x61, count: 1 << 20)
        let end = Array(#"","usage":{"input_tokens":5,"output_tokens":7}}"#.utf8)
        let pieces = [start[...]] + Array(repeating: filler[...], count: 40) + [end[...]]
        #expect(self.read(.json, pieces) == self.reading(5, 7))
    }

    // MARK: Streams

    private static let start =
        #"event: message_start"# + "\n"
        + #"data: {"type":"message_start","message":{"id":"m","content":[],"usage":{"input_tokens":7,"#
        + #""cache_creation_input_tokens":30,"cache_read_input_tokens":5,"cache_creation":"#
        + #"{"ephemeral_5m_input_tokens":10,"ephemeral_1h_input_tokens":20},"output_tokens":99}}}"# + "\n\n"
    private static let stop = "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n"

    /// A compact text delta: as long as its text and 80.
    private static func text(_ text: String) -> String {
        "event: content_block_delta\n"
            + #"data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"\#(text)"}}"#
            + "\n\n"
    }

    private static func delta(_ usage: String) -> String {
        "event: message_delta\n"
            + #"data: {"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":\#(usage)}"# + "\n\n"
    }

    private static func started(_ usage: String) -> String {
        "event: message_start\n" + #"data: {"type":"message_start","message":{"usage":\#(usage)}}"# + "\n\n"
    }

    @Test("of a stream: the input from its start, the output from its end")
    func wholeStream() {
        #expect(
            self.events(Self.start + Self.text("Hello") + Self.delta(#"{"output_tokens":42}"#) + Self.stop)
                == self.reading(7, 42, read: 5, write: 10, hour: 20))
    }

    @Test("takes the largest output of several deltas")
    func decreasing() {
        #expect(
            self.events(
                Self.started("{}") + Self.delta(#"{"output_tokens":3}"#) + Self.delta(#"{"output_tokens":9}"#)
                    + Self.delta(#"{"output_tokens":4}"#)) == self.reading(0, 9))
    }

    @Test(
        "lets a delta replace the input, and null keep it",
        arguments: [
            (#"{"input_tokens":70,"output_tokens":1}"#, [70, 1, 5, 10, 20]),
            (#"{"input_tokens":null,"output_tokens":1}"#, [7, 1, 5, 10, 20]),
            (
                #"{"cache_read_input_tokens":50,"cache_creation_input_tokens":40,"output_tokens":1}"#,
                [7, 1, 50, 20, 20]
            ),
            (
                #"{"cache_creation_input_tokens":null,"cache_read_input_tokens":null,"output_tokens":1}"#,
                [7, 1, 5, 10, 20]
            ),
            (
                #"{"cache_creation_input_tokens":9,"cache_creation":{"ephemeral_1h_input_tokens":2,"#
                    + #""ephemeral_5m_input_tokens":null},"output_tokens":1}"#,
                [7, 1, 5, 7, 2]
            ),
        ])
    func replaces(_ usage: String, _ expected: [Int]) {
        #expect(
            self.events(Self.start + Self.delta(usage))
                == self.reading(expected[0], expected[1], read: expected[2], write: expected[3], hour: expected[4]))
    }

    @Test(
        "ignores unusable deltas as a whole",
        arguments: [
            #"{"input_tokens":70,"output_tokens":"9"}"#, #"{"input_tokens":70,"output_tokens":-9}"#,
            #"{"output_tokens":9,"input_tokens":1e20}"#, #"{"output_tokens":true}"#, "null", "[]",
        ])
    func unusableDelta(_ usage: String) {
        let text = Self.start + Self.text("12345") + Self.delta(usage)
        #expect(self.events(text) == self.reading(7, 2, read: 5, write: 10, hour: 20, knowsOutput: false))
        #expect(
            self.events(text + Self.delta(#"{"output_tokens":6}"#))
                == self.reading(7, 6, read: 5, write: 10, hour: 20))
        #expect(
            self.events(Self.start + Self.delta(#"{"output_tokens":6}"#) + Self.delta(usage))
                == self.reading(7, 6, read: 5, write: 10, hour: 20))
    }

    @Test("keeps estimating while deltas say nothing about the output", arguments: ["{}", #"{"output_tokens":null}"#])
    func silentDelta(_ usage: String) {
        #expect(
            self.events(Self.started("{}") + Self.text("1234") + Self.delta(usage) + Self.text("5678"))
                == self.reading(0, 2, knowsOutput: false))
    }

    @Test("does not know the input when the start is unusable")
    func unusableStart() {
        let unusable = [
            #"{"input_tokens":null}"#, #"{"input_tokens":"1","speed":"fast"}"#, "null", #"{"x":1},"usage":1"#,
        ]
        for usage in unusable {
            #expect(
                self.events(Self.started(usage) + Self.delta(#"{"output_tokens":6,"cache_read_input_tokens":8}"#))
                    == self.reading(0, 6, knowsInput: false))
        }
        #expect(
            self.events("event: message_start\ndata: {broken\n\n" + Self.text("1234"))
                == self.reading(0, 1, knowsInput: false, knowsOutput: false))
        #expect(
            self.events(Self.text("1234") + Self.delta(#"{"output_tokens":6}"#))
                == self.reading(0, 6, knowsInput: false))
        // The delta makes up for it.
        #expect(
            self.events(
                Self.started("null")
                    + Self.delta(#"{"output_tokens":6,"input_tokens":3,"cache_read_input_tokens":8}"#))
                == self.reading(3, 6, read: 8))
    }

    @Test("ignores the start's output, whatever it is")
    func startOutput() {
        for output in ["99", "null", #""x""#, "-1"] {
            #expect(
                self.events(Self.started(#"{"input_tokens":7,"output_tokens":\#(output)}"#))
                    == self.reading(7, 0, knowsOutput: false))
        }
    }

    @Test("takes the speed from the start, web searches from both")
    func speedAndSearches() {
        let fast = Self.started(#"{"speed":"fast","server_tool_use":{"web_search_requests":2}}"#)
        #expect(
            self.events(fast + Self.delta(#"{"output_tokens":1,"speed":"standard"}"#))
                == self.reading(0, 1, searches: 2, fast: true))
        #expect(
            self.events(
                fast + Self.delta(#"{"output_tokens":1,"server_tool_use":{"web_search_requests":5}}"#)
                    + Self.delta(#"{"server_tool_use":{"web_search_requests":-4}}"#))
                == self.reading(0, 1, searches: 5, fast: true))
        #expect(
            self.events(Self.started("{}") + Self.delta(#"{"output_tokens":1,"speed":"fast"}"#))
                == self.reading(0, 1))
    }

    @Test("estimates the output of a cut stream from its text, in UTF-16 units")
    func estimate() {
        func output(_ text: String) -> Int { self.events(Self.started("{}") + text).usage.output }
        #expect(output("") == 0)
        #expect(output(Self.text("")) == 0)
        #expect(output(Self.text("1")) == 1)
        #expect(output(Self.text("1234")) == 1)
        #expect(output(Self.text("12345")) == 2)
        // Rounded up once, over all of them.
        #expect(output(Self.text("1") + Self.text("1") + Self.text("1") + Self.text("1")) == 1)
        // One unit, one unit, two units; escapes as written.
        #expect(output(Self.text("ääää€€€€")) == 2)
        #expect(output(Self.text("😀😀")) == 1)
        #expect(output(Self.text("😀😀😀")) == 2)
        #expect(output(Self.text(#"\n\n"#)) == 1)
        for _ in 0..<500 {
            let text = String((0..<Int.random(in: 0...40)).map { _ in "aaaaéß€😀𝄞".randomElement()! })
            #expect(output(Self.text(text)) == (text.utf16.count + 3) / 4, "\(text)")
        }
        // Without a space behind the colon; an event shorter than 80 does not lower the sum.
        let short = "event: content_block_delta\ndata: {}\n\n"
        #expect(output(short + Self.text("12345678") + short) == 2)
        let noSpace = #"data:{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"1234"}}"#
        #expect(output("event:content_block_delta\n\(noSpace)\n\n") == 1)
        #expect(output("\(noSpace)\n\n") == 1)
        #expect(output("\(noSpace)\nevent: content_block_delta\n\n") == 1)
        // Other events are not counted.
        let long = String(repeating: "x", count: 400)
        let block = #"data: {"type":"content_block_start","content_block":{"text":"\#(long)"}}"#
        #expect(output("event: content_block_start\n\(block)\n\n") == 0)
        #expect(output("\(block)\n\n") == 0)
        #expect(output("event: ping\ndata: {}\n\n: \(block)\n\n") == 0)
    }

    @Test("does not estimate once the output is known")
    func noEstimate() {
        #expect(
            self.events(
                Self.started("{}") + Self.text("1234") + Self.delta(#"{"output_tokens":1}"#)
                    + Self.text(String(repeating: "x", count: 400))) == self.reading(0, 1))
    }

    @Test("of events without names")
    func unnamed() {
        let text = (Self.start + Self.text("12345") + Self.delta(#"{"output_tokens":42}"#) + Self.stop)
            .split(separator: "\n", omittingEmptySubsequences: false).filter { !$0.hasPrefix("event") }
        #expect(self.events(text.joined(separator: "\n")) == self.reading(7, 42, read: 5, write: 10, hour: 20))
    }

    @Test("believes the event's name, not the JSON's type")
    func names() {
        #expect(
            self.events(
                "event: future\n" + #"data: {"type":"message_delta","usage":{"output_tokens":5}}"# + "\n\n"
                    + "event: message_delta\n" + #"data: {"type":"future","usage":{"output_tokens":6}}"# + "\n\n"
                    + "event: x\nevent: message_start\n" + #"data: {"message":{"usage":{"input_tokens":1}}}"# + "\n\n"
                    + "event: message_delta_with_a_name_longer_than_any_that_counts\n"
                    + #"data: {"type":"message_delta","usage":{"output_tokens":7}}"# + "\n\n")
                == self.reading(1, 6))
    }

    @Test("joins the lines of an event's data and skips other fields")
    func lines() {
        #expect(
            self.events(
                ": comment\nid: 5\nretry: 3\nevent: message_start\n"
                    + "data: {\"message\":\ndata:{\"usage\":{\"input_tokens\":\ndata: 7}}\ndatax: ,\ndata: }\nid\n\n")
                == self.reading(7, 0, knowsOutput: false))
        #expect(
            self.events(
                Self.started("{}") + "event: message_delta\ndata: {\"usage\":{\"output_tokens\":1\ndata\ndata: 2}}\n\n")
                == self.reading(0, 0, knowsOutput: false))
        #expect(
            self.events(
                Self.started("{}")
                    + "event: message_delta\ndata\ndata: {\"usage\":{\"output_tokens\":\ndata\ndata: 2}}\n\n")
                == self.reading(0, 2))
    }

    @Test("reads a last event without its blank line, or without its line end")
    func lastEvent() {
        let text = Self.start + Self.delta(#"{"output_tokens":42}"#)
        for ending in 0...2 {
            #expect(
                self.events(String(text.dropLast(ending))) == self.reading(7, 42, read: 5, write: 10, hour: 20))
        }
        #expect(
            self.events(String(text.dropLast(3)))
                == self.reading(7, 0, read: 5, write: 10, hour: 20, knowsOutput: false))
        #expect(
            self.events(String((Self.started("{}") + Self.text("12345678")).dropLast(6)))
                == self.reading(0, 1, knowsOutput: false))
    }

    @Test("of events with too much data is unusable")
    func hugeEvents() {
        let filler = String(repeating: "x", count: 1 << 20)
        let start =
            "event: message_start\n"
            + #"data: {"filler":"\#(filler)","message":{"usage":{"input_tokens":7}}}"# + "\n\n"
        let delta = "event: message_delta\n" + #"data: {"usage":{"output_tokens":7},"filler":"\#(filler)"}"# + "\n\n"
        #expect(
            self.events(start + Self.text("1234") + delta)
                == self.reading(0, 1, knowsInput: false, knowsOutput: false))
        // The next ones are read again, and text is counted in any length.
        #expect(
            self.events(start + delta + Self.start + Self.delta(#"{"output_tokens":6}"#))
                == self.reading(7, 6, read: 5, write: 10, hour: 20))
        #expect(self.events(Self.text(filler)).usage.output == 1 << 18)
    }

    @Test("of something that is no stream")
    func noStream() {
        #expect(
            self.events(#"{"usage":{"input_tokens":5,"output_tokens":5}}"#)
                == self.reading(knowsInput: false, knowsOutput: false))
        #expect(self.events("\n\n\r\r\n") == self.reading(knowsInput: false, knowsOutput: false))
    }

    // MARK: Pieces

    private static let samples: [(text: String, expected: [Int])] = [
        (start + text("Hell😀 wörld") + delta(#"{"output_tokens":42}"#) + stop, [7, 42, 5, 10, 20]),
        (start + text("Hell😀 w€rld") + text("x"), [7, 4, 5, 10, 20]),
        (
            ": hi\n\n" + started(#"{"input_tokens":3}"#) + "event: ping\ndata: {}\n\n"
                + "data: {\"type\":\"message_delta\",\ndata: \"usage\":{\"output_tokens\":8}}\n\n",
            [3, 8, 0, 0, 0]
        ),
        ("event: message_delta\nid: 1\ndata:{\"usage\":{\"output_tokens\":4,\"input_tokens\":2}}", [2, 4, 0, 0, 0]),
        (
            started("{}") + "event: content_block_delta\ndata: {\"delta\":\ndata:\ndata\ndata:  \"" + "1234567890"
                + "1234567890123456789012345678901234567890123456789012345678901234567890é€😀\"}\n",
            [0, 5, 0, 0, 0]
        ),
    ]

    /// With these line ends, separated by bars, in turn.
    private func bytes(_ text: String, _ lineEnds: String) -> [UInt8] {
        let lineEnds = lineEnds.utf8.split(separator: UInt8(ascii: "|"))
        var line = 0
        return text.utf8.flatMap { byte in
            guard byte == 0x0A else { return [byte] }
            line += 1
            return Array(lineEnds[line % lineEnds.count])
        }
    }

    @Test("is the same however the bytes arrive, with all line ends")
    func pieces() {
        for (text, expected) in Self.samples {
            for lineEnds in ["\n", "\r\n", "\r", "\r\n|\n", "\r|\r\n"] {
                let bytes = self.bytes(text, lineEnds)
                let whole = self.read(.events, [bytes[...]])
                let usage = whole.usage
                #expect(
                    [usage.input, usage.output, usage.cacheRead, usage.cacheWrite5m, usage.cacheWrite1h] == expected)
                #expect(whole.knowsInput)
                for cut in 0...bytes.count where self.read(.events, [bytes[..<cut], bytes[cut...]]) != whole {
                    Issue.record("differs when cut at \(cut): \(text), line ends \(lineEnds.debugDescription)")
                }
                #expect(self.read(.events, bytes.indices.map { bytes[$0...$0] }) == whole)
                #expect(self.read(.events, [bytes[...], []]) == whole)
            }
        }
    }

    @Test("of a JSON answer is the same however the bytes arrive")
    func jsonPieces() {
        let bytes = Array(#"{"usage":{"input_tokens":3,"output_tokens":4}}"#.utf8)
        for cut in 0...bytes.count {
            #expect(self.read(.json, [bytes[..<cut], bytes[cut...]]) == self.reading(3, 4))
        }
        #expect(self.read(.json, bytes.indices.map { bytes[$0...$0] }) == self.reading(3, 4))
    }

    @Test("can be asked for twice")
    func twice() {
        var meter = UsageMeter(.events)
        Array((Self.started("{}") + Self.text("1234")).utf8).withUnsafeBytes { meter.receive($0) }
        #expect(meter.finish() == meter.finish())
    }
}
