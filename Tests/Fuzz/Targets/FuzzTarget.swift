// SPDX-License-Identifier: Apache-2.0

import Foundation
import GatewayConfig
import GatewayCore
import GatewayIdentity
import GatewayMetering
import GatewayPolicy
import GatewayProviders
import GatewayRelay
import GatewayServer
import GatewayTelemetry
import NIOCore

/// One piece of code that reads what strangers send, with what must hold whatever they send. A broken rule traps, as a
/// crash does.
public struct FuzzTarget: Sendable {
    public let name: String
    public let run: @Sendable ([UInt8]) -> Void

    public static let all: [FuzzTarget] = [
        FuzzTarget(name: "event-stream", run: eventStream), FuzzTarget(name: "sse", run: events),
        FuzzTarget(name: "body", run: body), FuzzTarget(name: "usage", run: usage),
        FuzzTarget(name: "json", run: json), FuzzTarget(name: "forms", run: forms),
        FuzzTarget(name: "cookies", run: cookies), FuzzTarget(name: "jwt", run: tokens),
        FuzzTarget(name: "jwks", run: keys), FuzzTarget(name: "proxy-headers", run: proxyHeaders),
        FuzzTarget(name: "otlp", run: exports), FuzzTarget(name: "cloud-errors", run: cloudErrors),
        FuzzTarget(name: "config", run: configuration), FuzzTarget(name: "http", run: HTTPTarget.run),
        FuzzTarget(name: "http-requests", run: HTTPDifferential.requests),
        FuzzTarget(name: "http-responses", run: HTTPDifferential.responses),
    ]

    /// The first byte decides how the rest is cut.
    static func pieces(_ input: [UInt8]) -> (whole: [UInt8], pieces: [[UInt8]]) {
        let size = max(1, Int(input.first ?? 1))
        let whole = Array(input.dropFirst())
        let pieces = stride(from: 0, to: whole.count, by: size).map { Array(whole[$0..<min($0 + size, whole.count)]) }
        return (whole, pieces)
    }

    // MARK: Streams: cuts must not matter

    private static func eventStream(_ input: [UInt8]) {
        func read(_ pieces: [[UInt8]]) -> ([[UInt8]], Bool) {
            var decoder = EventStreamDecoder()
            var parts: [[UInt8]] = []
            for piece in pieces {
                piece.withUnsafeBytes { decoder.receive($0) }
                do {
                    try decoder.read { message in
                        parts.append(Array(message.payload))
                        message.visitTexts { parts += [Array($0), Array($1)] }
                        return true
                    }
                } catch {
                    return (parts, false)
                }
            }
            return (parts, true)
        }
        let (whole, pieces) = self.pieces(input)
        let (one, many) = (read([whole]), read(pieces))
        precondition(one == many, "a cut changes what is read")
    }

    private static func events(_ input: [UInt8]) {
        func read(_ pieces: [[UInt8]]) -> ([[UInt8]], [UInt8]) {
            var splitter = SSESplitter()
            var events: [[UInt8]] = []
            for piece in pieces {
                splitter.receive(ByteBuffer(bytes: piece))
                while let event = splitter.next() {
                    _ = (event.data, event.errorType, event.isContent)
                    events.append(Array(event.raw.readableBytesView))
                }
            }
            return (events, Array(splitter.rest.readableBytesView))
        }
        let (whole, pieces) = self.pieces(input)
        let (events, rest) = read([whole])
        precondition(events.flatMap { $0 } + rest == whole, "a byte is lost")
        let (others, left) = read(pieces)
        precondition(others.flatMap { $0 } + left == whole, "a byte is lost at a cut")
    }

    private static func usage(_ input: [UInt8]) {
        let (whole, pieces) = self.pieces(input)
        for format in [UsageMeter.Format.json, .events] {
            func read(_ pieces: [[UInt8]]) -> UsageMeter.Reading {
                var meter = UsageMeter(format)
                for piece in pieces { piece.withUnsafeBytes { meter.receive($0) } }
                return meter.finish()
            }
            let reading = read([whole])
            precondition(reading == read(pieces), "a cut changes the bill")
            precondition(reading.usage.input >= 0 && reading.usage.output >= 0, "a negative bill")
        }
    }

    // MARK: Requests

    private static func body(_ input: [UInt8]) {
        let scan = input.withUnsafeBytes { bytes in
            try? BodyScanner.scan(bytes, findsNestedModels: true, listsMembers: true)
        }
        guard let scan else { return }
        for range in scan.modelRanges { precondition(range.lowerBound >= 0 && range.upperBound <= input.count) }
        for member in scan.members {
            precondition(member.range.lowerBound >= 0 && member.range.upperBound <= input.count)
            precondition(member.range.lowerBound <= member.value.lowerBound, "a value before its key")
            precondition(member.value.upperBound == member.range.upperBound, "a value that does not end its member")
        }
        // What the scanner takes for an object, a parser takes for one.
        if case .string(let model) = scan.model, let parsed = try? JSONValue(parsing: input), !scan.hasConflictingModels
        {
            precondition(parsed["model"]?.string == model, "another model than the parser's")
        }
    }

    private static func json(_ input: [UInt8]) {
        guard let value = try? JSONValue(parsing: input) else { return }
        let text = value.bytes()
        guard let again = try? JSONValue(parsing: text) else { preconditionFailure("what is written cannot be read") }
        precondition(again.bytes() == text, "not written alike twice")
    }

    private static func forms(_ input: [UInt8]) {
        let fields = FormCoding.decode(input)
        let again = FormCoding.decode(Array(FormCoding.encode(fields.map { ($0.name, $0.value) }).utf8))
        precondition(fields.count == again.count, "a field is lost")
        for (one, other) in zip(fields, again) { precondition(one == other, "a field changes") }
        _ = RequestTarget(String(decoding: input, as: UTF8.self))
        _ = WebURL(String(decoding: input, as: UTF8.self))
        _ = TraceContext(header: String(decoding: input, as: UTF8.self))
    }

    private static func cookies(_ input: [UInt8]) {
        let headers = input.split(separator: 0x0A).map { String(decoding: $0, as: UTF8.self) }
        let value = Cookies.value("name", in: headers)
        precondition(value.map { !$0.contains(";") } ?? true)
    }

    private static func proxyHeaders(_ input: [UInt8]) {
        let lines = input.split(separator: 0x0A).map { String(decoding: $0, as: UTF8.self) }
        let proxy = IPNetwork("10.0.0.0/8")!
        let control = AccessControl(allow: [], deny: [], trustedProxies: [proxy])
        let peer = IPAddress("10.0.0.1")!
        if case .success(let address) = control.client(peer: peer, forwardedFor: lines) {
            precondition(address == peer || !proxy.contains(address), "a trusted proxy taken for a client")
        }
        let stranger = IPAddress("192.0.2.1")!
        guard case .success(stranger) = control.client(peer: stranger, forwardedFor: lines) else {
            preconditionFailure("a stranger's headers count")
        }
        for line in lines { _ = IPAddress(urlHost: line) }
    }

    // MARK: Tokens

    private static let sessions = SessionTokens(
        settings: SessionSettings(secrets: [Secret("0123456789abcdef0123456789abcdef")]), issuer: "http://gw")

    private static func tokens(_ input: [UInt8]) {
        let text = String(decoding: input, as: UTF8.self)
        precondition(self.sessions.verify(text, now: .now) == nil, "a forged bearer")
        let sealer = Sealer(settings: SessionSettings(secrets: [Secret("0123456789abcdef0123456789abcdef")]))
        for purpose in [Sealer.Purpose.state, .refreshToken, .refreshAnswer, .grant] {
            precondition(sealer.open(text, for: purpose) == nil, "a forged seal")
        }
        self.wait { _ = try? await self.known.value.verify(text) }
    }

    private static let known = Task {
        await SigningKeys(
            [
                "keys": [
                    [
                        "kty": "EC", "crv": "P-256", "kid": "k", "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
                        "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
                    ]
                ]
            ], algorithm: "ES256")
    }

    private static func keys(_ input: [UInt8]) {
        guard let document = try? JSONValue(parsing: input) else { return }
        for algorithm in ["RS256", "ES256", "PS256", "EdDSA", "ES512"] {
            self.wait { _ = await SigningKeys(document, algorithm: algorithm) }
        }
    }

    private static func wait(_ body: @escaping @Sendable () async -> Void) {
        let done = DispatchSemaphore(value: 0)
        Task {
            await body()
            done.signal()
        }
        done.wait()
    }

    // MARK: Telemetry, answers, files

    private static func exports(_ input: [UInt8]) {
        let identity = ExportIdentity(mode: .stamp, principal: Principal(subject: "u", email: "a@example.com"))
        let type = input.first.map { $0 & 1 == 0 } == true ? "application/json" : "application/x-protobuf"
        let encoding = input.first.map { $0 & 2 == 0 } == true ? nil : "gzip"
        let bytes = Array(input.dropFirst())
        guard let once = try? identity.admit(bytes, contentType: type, contentEncoding: encoding) else { return }
        guard let twice = try? identity.admit(once.bytes, contentType: type, contentEncoding: nil) else {
            preconditionFailure("what was stamped cannot be read")
        }
        precondition(twice.bytes == once.bytes, "stamping twice changes an export")
    }

    private static func cloudErrors(_ input: [UInt8]) {
        for status in [400, 413, 429, 500] {
            let failure = CloudFailure(status: status, body: input, provider: "bedrock", model: "m")
            precondition(!failure.message.contains("arn:aws"), "an ARN leaves")
        }
    }

    private static func configuration(_ input: [UInt8]) {
        let file = ConfigurationFile(path: "f", text: Data(input), .linting)
        precondition(file.settings != nil || !file.report.errors.isEmpty, "refused without a reason")
    }
}
