// SPDX-License-Identifier: Apache-2.0

import Foundation
import GatewayCore
import GatewayProviders
import TestSupport
import Testing

/// A Python with botocore, which scripts/test installs.
@Suite("AWS signatures")
struct AWSSignatureTests {
    /// The service's own example, <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html>,
    /// in the form of the published test suite's "get-vanilla".
    @Test("are those of the published suite")
    func published() {
        let keys = AWSAuthentication.Keys(
            accessKeyID: "AKIDEXAMPLE", secretAccessKey: Secret("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"),
            sessionToken: nil)
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        let headers = AWSSignature.headers(
            method: "GET", target: "/", headers: [("host", "example.amazonaws.com")], bodyHash: empty, keys: keys,
            service: "service", region: "us-east-1", now: Timestamp(milliseconds: 1_440_938_160_000))
        let value = headers.first { $0.name == "authorization" }?.value ?? ""
        #expect(value.hasPrefix("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, "))
        #expect(headers.contains { $0 == ("x-amz-date", "20150830T123600Z") })
    }

    @Test(
        "are botocore's, for thousands of requests",
        .enabled(if: Oracle.isThere, "scripts/test installs botocore"), arguments: [1, 2, 3, 4])
    func agreesWithBotocore(_ seed: Int) async throws {
        var generator = SplitMix(state: UInt64(seed))
        func pick(_ characters: String, _ count: ClosedRange<Int>) -> String {
            let all = Array(characters)
            return String(
                (0..<Int.random(in: count, using: &generator)).map { _ in all.randomElement(using: &generator)! })
        }
        var cases: [JSONValue] = []
        var ours: [String] = []
        for _ in 0..<1000 {
            let segments = (0..<Int.random(in: 1...5, using: &generator)).map { _ in
                pick("abcXYZ019-_.~:@%2F", 1...14)
            }
            let target = "/" + segments.joined(separator: "/").replacing("%2F", with: "%2F")
            var headers: [(name: String, value: String)] = [("host", "bedrock.example.com")]
            for _ in 0..<Int.random(in: 0...5, using: &generator) {
                let name = "x-" + pick("abcdefghij", 1...8)
                if headers.contains(where: { $0.name == name }) { continue }
                headers.append((name, pick("abc 0123=;,/ ", 1...20).trimmingSpaces))
            }
            headers.append(("user-agent", "not signed"))
            let body = Array(pick("{}\"abcé€ ", 0...200).utf8)
            let token = Bool.random(using: &generator) ? pick("ABC+/=", 20...40) : nil
            let keys = AWSAuthentication.Keys(
                accessKeyID: pick("ABCDEFG", 20...20), secretAccessKey: Secret(pick("abc+/123", 40...40)),
                sessionToken: token.map { Secret($0) })
            let time = Timestamp(
                milliseconds: Int64.random(in: 1_000_000_000_000...2_000_000_000_000, using: &generator))
            let service = ["bedrock", "bedrock-mantle", "sts"].randomElement(using: &generator)!
            let signed = AWSSignature.headers(
                method: "POST", target: target, headers: headers, bodyHash: Digest.hexadecimal(body), keys: keys,
                service: service, region: "eu-west-1", now: time)
            ours.append(signed.first { $0.name == "authorization" }!.value)
            var named: JSONObject = ["id": .string(keys.accessKeyID), "secret": .string(keys.secretAccessKey.reveal())]
            named["token"] = token.map(JSONValue.string)
            cases.append([
                "method": "POST", "target": .string(target),
                "headers": .object(headers.reduce(into: JSONObject()) { $0[$1.name] = .string($1.value) }),
                "body": .string(Base64.encode(body)), "keys": .object(named), "service": .string(service),
                "region": "eu-west-1", "time": .string(signed.first { $0.name == "x-amz-date" }!.value),
            ])
        }
        let theirs = try await Oracle.ask("oracle.py", ["sign"], input: JSONValue.array(cases).bytes())
        var differences = 0
        for (index, value) in ours.enumerated() where theirs.array?[index].string != value {
            differences += 1
            if differences < 3 {
                Issue.record("\(cases[index].text())\nours   \(value)\ntheirs \(theirs.array?[index].string ?? "")")
            }
        }
        #expect(differences == 0)
    }
}

/// The same sequence everywhere.
struct SplitMix: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        self.state &+= 0x9E37_79B9_7F4A_7C15
        var z = self.state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }
}

@Suite("CRC-32")
struct ChecksumTests {
    /// Bit by bit, as ISO 3309 has it.
    private static func checksum(_ bytes: [UInt8]) -> UInt32 {
        var rest = UInt32.max
        for byte in bytes {
            rest ^= UInt32(byte)
            for _ in 0..<8 { rest = rest & 1 == 0 ? rest >> 1 : rest >> 1 ^ 0xEDB8_8320 }
        }
        return ~rest
    }

    @Test("has the published check value")
    func published() {
        #expect(Array("123456789".utf8).withUnsafeBytes { CRC32.checksum($0) } == 0xCBF4_3926)
    }

    @Test("of any length is the definition's, in one piece and in two")
    func lengths() {
        var generator = SplitMix(state: 32)
        let memory = BoundedMemory()
        for count in 0...400 {
            let bytes = (0..<count).map { _ in UInt8.random(in: 0...255, using: &generator) }
            let cut = Int.random(in: 0...count, using: &generator)
            let whole = UnsafeRawBufferPointer(memory.end(bytes))
            let first = CRC32.checksum(UnsafeRawBufferPointer(rebasing: whole[..<cut]))
            let expected = Self.checksum(bytes)
            #expect(CRC32.checksum(whole) == expected, "\(count) bytes")
            #expect(CRC32.checksum(UnsafeRawBufferPointer(rebasing: whole[cut...]), after: first) == expected, "\(cut)")
        }
    }
}

@Suite("AWS event streams")
struct EventStreamTests {
    private func decode(_ bytes: [UInt8], cuts: [Int]) throws -> [EventStreamMessage] {
        var decoder = EventStreamDecoder()
        var messages: [EventStreamMessage] = []
        var at = 0
        for cut in cuts + [bytes.count] where cut > at {
            decoder.receive(Array(bytes[at..<cut]))
            while let message = try decoder.next() { messages.append(message) }
            at = cut
        }
        #expect(decoder.isAtBoundary)
        return messages
    }

    @Test(
        "are read as botocore reads them, wherever they are cut",
        .enabled(if: Oracle.isThere, "scripts/test installs botocore"), arguments: [11, 12])
    func agreesWithBotocore(_ seed: Int) async throws {
        var generator = SplitMix(state: UInt64(seed))
        for row in try await Oracle.ask("oracle.py", ["frames", String(seed), "1500"]).array ?? [] {
            let bytes = try #require(row["bytes"]?.string.flatMap(Base64.decode))
            let expected = (row["messages"]?.array ?? []).map { message in
                EventStreamMessage(
                    headers: (message["headers"]?.object?.members ?? []).reduce(into: [:]) {
                        $0[$1.key] = $1.value.string
                    },
                    payload: message["payload"]?.string.flatMap(Base64.decode) ?? [])
            }
            let cuts = (0..<4).map { _ in Int.random(in: 0...bytes.count, using: &generator) }.sorted()
            #expect(try self.decode(bytes, cuts: cuts) == expected)
        }
    }

    @Test("are read alike when cut at every byte")
    func everyCut() throws {
        let bytes =
            EventStreamFrame.make([(":event-type", "chunk")], Array("{\"bytes\":\"e30=\"}".utf8))
            + EventStreamFrame.make([], [])
        let whole = try self.decode(bytes, cuts: [])
        #expect(whole.count == 2)
        for cut in 0...bytes.count { #expect(try self.decode(bytes, cuts: [cut]) == whole) }
    }

    @Test("are refused when any byte is damaged")
    func damage() {
        let bytes = EventStreamFrame.make([(":event-type", "chunk")], Array("{}".utf8))
        for index in bytes.indices {
            for bit in 0..<8 {
                var broken = bytes
                broken[index] ^= 1 << UInt8(bit)
                var decoder = EventStreamDecoder()
                decoder.receive(broken)
                #expect(throws: EventStreamDecoder.Failure.self) {
                    if try decoder.next() != nil { Issue.record("a damaged frame was read") }
                    // A longer length is only noticed when the bytes do not come.
                    if !decoder.isAtBoundary { throw EventStreamDecoder.Failure.truncated }
                }
            }
        }
    }

    @Test("never crash the reader", arguments: 0..<50)
    func fuzz(_ seed: Int) {
        var generator = SplitMix(state: UInt64(seed))
        for _ in 0..<200 {
            var decoder = EventStreamDecoder()
            decoder.receive(
                (0..<Int.random(in: 0...80, using: &generator)).map { _ in UInt8.random(in: 0...255, using: &generator)
                })
            _ = try? decoder.next()
        }
    }
}

@Suite("Cloud providers' refusals")
struct CloudFailureTests {
    @Test(
        "keep what a client can act on, and nothing that names an account",
        arguments: [
            (400, #"{"message":"Input is too long for requested model."}"#, "capability_rejected: prompt_too_long"),
            (400, #"[{"error":{"message":"Could not process image"}}]"#, "capability_rejected: image_block"),
            (400, #"{"message":"role arn:aws:iam::123456789012:role/x is bad"}"#, "upstream rejected the request"),
            (
                400,
                #"{"type":"error","error":{"type":"invalid_request_error","message":"see arn:aws:x:123456789012:y now"}}"#,
                "see [redacted] now"
            ),
            (
                400, #"{"type":"error","error":{"type":"invalid_request_error","message":"max_tokens: 5 > 4"}}"#,
                "max_tokens: 5 > 4"
            ),
            (
                403, #"{"Message":"User 123456789012 is not authorized"}"#,
                "upstream denied the request; tell your administrator"
            ),
            (413, "", "request too large for this upstream"), (418, "<html>", "upstream error"),
        ])
    func messages(_ status: Int, _ body: String, _ message: String) {
        let failure = CloudFailure(status: status, body: Array(body.utf8), provider: "bedrock", model: "m")
        #expect(failure.message == message)
    }
}

@Suite("Cutting bodies")
struct BodyEditorTests {
    private struct Text: BodyReading {
        let bytes: [UInt8]
        var count: Int { self.bytes.count }
        func bytes(_ range: Range<Int>) -> [UInt8] { Array(self.bytes[range]) }
    }

    @Test("leaves JSON, and everything else as it was, whatever is cut out of it", arguments: 0..<64)
    func cuts(_ mask: Int) throws {
        let parts = [
            #""model" : "m""#, #""x": 12345678901234567890"#, #""stream":true"#, #""y":"\u00e9\/""#,
            #""tags":{"a":[1,2]}"#, #""z":1.0"#,
        ]
        let keys: [BodyMember.Key] = [.model, .other, .stream, .other, .tags, .other]
        var text = "{ "
        var members: [BodyMember] = []
        for (index, part) in parts.enumerated() {
            let start = text.utf8.count
            text += part
            let value = start + part.utf8.firstIndex(of: 0x3A)!.utf16Offset(in: part) + 1
            members.append(BodyMember(key: keys[index], range: start..<text.utf8.count, value: value..<text.utf8.count))
            text += index + 1 < parts.count ? " ,\n" : " "
        }
        let end = text.utf8.count
        text += "}"
        var editor = BodyEditor(members: members, end: end)
        for (bit, key) in [BodyMember.Key.model, .stream, .tags].enumerated() where mask >> bit & 1 == 1 {
            editor.remove(key)
        }
        if mask & 8 != 0 { editor.append("\"new\":[1]") }
        if mask & 16 != 0 { editor.append("\"other\":2") }
        if mask & 32 != 0 { editor.replace(.model, with: Array("\"other\"".utf8)) }
        let out = BodyEditor.apply(editor.edits, to: Text(bytes: Array(text.utf8)))
        let json = try JSONValue(parsing: out)
        #expect((json["model"] == nil) == (mask & 1 == 1))
        #expect((json["stream"] == nil) == (mask & 2 == 2))
        #expect((json["tags"] == nil) == (mask & 4 == 4))
        #expect((json["new"] != nil) == (mask & 8 == 8))
        let kept = String(decoding: out, as: UTF8.self)
        for part in [parts[1], parts[3], parts[5]] { #expect(kept.contains(part)) }
    }
}
