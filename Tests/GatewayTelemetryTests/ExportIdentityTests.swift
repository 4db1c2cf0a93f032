// SPDX-License-Identifier: Apache-2.0

import GatewayCore
import Testing

@testable import GatewayTelemetry

@Suite("Exports and their developer")
struct ExportIdentityTests {
    private let anna = Principal(subject: "u-1", email: "anna@example.com", groups: ["eng", "ops"])

    private func attribute(_ name: String, _ value: String) -> [UInt8] {
        ProtobufFields.field(
            1,
            ProtobufFields.field(1, Array(name.utf8))
                + ProtobufFields.field(2, ProtobufFields.field(1, Array(value.utf8))))
    }

    /// An export with two resource groups; field 2 and 9 stand for all that is not looked at.
    private func export(_ attributes: [(String, String)]) -> [UInt8] {
        let resource = attributes.reduce(into: [UInt8]()) { $0 += self.attribute($1.0, $1.1) } + [0x10, 0x05]
        let group = ProtobufFields.field(2, Array("metrics \u{0}\u{1}".utf8)) + ProtobufFields.field(1, resource)
        return ProtobufFields.field(1, group) + ProtobufFields.field(9, [1, 2, 3]) + ProtobufFields.field(1, group)
    }

    private func attributes(_ export: [UInt8]) throws -> [[String: String]] {
        var found: [[String: String]] = []
        try ProtobufFields.forEach(export[...]) { group in
            guard group.number == 1, let group = group.value else { return }
            try ProtobufFields.forEach(group) { resource in
                guard resource.number == 1, let resource = resource.value else { return }
                var values: [String: String] = [:]
                try ProtobufFields.forEach(resource) { attribute in
                    guard attribute.number == 1, let attribute = attribute.value else { return }
                    var (name, value) = ("", "")
                    try ProtobufFields.forEach(attribute) { part in
                        if part.number == 1 { name = String(decoding: part.value!, as: UTF8.self) }
                        if part.number == 2 {
                            try ProtobufFields.forEach(part.value!) {
                                value = String(decoding: $0.value!, as: UTF8.self)
                            }
                        }
                    }
                    #expect(values[name] == nil, "\(name) twice")
                    values[name] = value
                }
                found.append(values)
            }
        }
        return found
    }

    @Test("pass byte for byte when nothing is checked, whatever they are")
    func off() throws {
        let body = try ExportIdentity(mode: .off, principal: self.anna).admit(
            [0xFF, 0, 1], contentType: nil, contentEncoding: "gzip")
        #expect(body == ExportIdentity.Body(bytes: [0xFF, 0, 1], contentEncoding: "gzip"))
    }

    @Test("are stamped with the developer's own attributes, and the rest stays as it was")
    func stamp() throws {
        let theirs = self.export([("service.name", "x"), ("user.email", "ben@example.com"), ("enduser.id", "ben")])
        let body = try ExportIdentity(mode: .stamp, principal: self.anna).admit(
            theirs, contentType: "application/x-protobuf", contentEncoding: nil)
        let expected = [
            "service.name": "x", "user.id": "u-1", "user.email": "anna@example.com", "user.groups": "eng,ops",
            "enduser.id": "anna@example.com", "enduser.sub": "u-1",
        ]
        #expect(try self.attributes(body.bytes) == [expected, expected])
        // Fields that are not looked at are still there, byte for byte.
        #expect(body.bytes.split(separator: Array("metrics \u{0}\u{1}".utf8)).count == 3)
        #expect(String(decoding: body.bytes, as: UTF8.self).contains("ben") == false)
        // A group without a resource gets one.
        let bare = try ExportIdentity(mode: .stamp, principal: Principal(subject: "s")).admit(
            ProtobufFields.field(1, []), contentType: nil, contentEncoding: nil)
        #expect(try self.attributes(bare.bytes) == [["user.id": "s", "enduser.id": "s", "enduser.sub": "s"]])
    }

    @Test("are refused with somebody else's attributes, and pass unchanged with the right ones or none")
    func reject() throws {
        let check = ExportIdentity(mode: .reject, principal: self.anna)
        for (name, value) in [
            ("user.email", "ben@example.com"), ("user.id", "u-2"), ("enduser.id", ""), ("user.groups", "eng"),
        ] {
            #expect(throws: ExportIdentity.Refusal.foreign(attribute: name)) {
                try check.admit(
                    self.export([("a", "b"), (name, value)]), contentType: nil, contentEncoding: nil)
            }
        }
        for attributes in [
            [("user.email", "anna@example.com"), ("user.groups", "eng,ops")], [("service.name", "x")],
        ] {
            let export = self.export(attributes)
            #expect(try check.admit(export, contentType: nil, contentEncoding: nil).bytes == export)
        }
    }

    @Test("in JSON are judged alike")
    func json() throws {
        func export(_ email: String) -> [UInt8] {
            Array(
                #"{"resourceMetrics":[{"resource":{"attributes":[{"key":"user.email","value":{"stringValue":"\#(email)"}},{"key":"k","value":{"intValue":"9007199254740993"}}]},"scopeMetrics":[{"n":1.50}]}]}"#
                    .utf8)
        }
        #expect(throws: ExportIdentity.Refusal.foreign(attribute: "user.email")) {
            try ExportIdentity(mode: .reject, principal: self.anna).admit(
                export("ben@example.com"), contentType: "application/json", contentEncoding: nil)
        }
        let body = try ExportIdentity(mode: .stamp, principal: self.anna).admit(
            export("ben@example.com"), contentType: "application/json; charset=utf-8", contentEncoding: nil)
        let text = String(decoding: body.bytes, as: UTF8.self)
        #expect(text.contains("anna@example.com") && !text.contains("ben@") && text.contains("9007199254740993"))
        for bad in ["[]", "{", #"{"resource_logs":[]}"#, #"{"resourceLogs":{}}"#, #"{"resourceSpans":[1]}"#] {
            #expect(throws: ExportIdentity.Refusal.unreadable) {
                try ExportIdentity(mode: .stamp, principal: self.anna).admit(
                    Array(bad.utf8), contentType: "application/json", contentEncoding: nil)
            }
        }
    }

    /// `printf '\n\x02\n\x00' | gzip -n`, and the same cut short.
    @Test("are read through gzip, and refused where they are no gzip or cannot be read")
    func gzip() throws {
        let packed = try #require(Base64.decode("H4sIAAAAAAAAA+Ni4mIAAJwDkrcEAAAA"))
        let check = ExportIdentity(mode: .stamp, principal: self.anna)
        let body = try check.admit(packed, contentType: nil, contentEncoding: "gzip")
        #expect(body.contentEncoding == nil)
        #expect(try self.attributes(body.bytes).first?["user.id"] == "u-1")
        for (bytes, encoding) in [
            (Array("no gzip".utf8), "gzip"), (packed, "br"), ([0x0A, 0x7F, 0x00], nil), ([0x00], nil), ([0x0B], nil),
            ([0x08, 0x01], nil), (Array(repeating: 0xFF, count: 20), nil),
        ] as [([UInt8], String?)] {
            #expect(throws: ExportIdentity.Refusal.unreadable) {
                try check.admit(bytes, contentType: nil, contentEncoding: encoding)
            }
        }
    }

    @Test("never crash the reader", arguments: 0..<200)
    func damaged(_ seed: UInt64) {
        var generator = SeededGenerator(state: seed)
        var bytes = self.export([("user.email", "anna@example.com"), ("service.name", "x")])
        for _ in 0..<Int.random(in: 1...6, using: &generator) {
            bytes[Int.random(in: 0..<bytes.count, using: &generator)] = UInt8.random(in: 0...255, using: &generator)
        }
        bytes.removeLast(Int.random(in: 0..<bytes.count, using: &generator))
        _ = try? ExportIdentity(mode: .stamp, principal: self.anna).admit(bytes, contentType: nil, contentEncoding: nil)
    }
}

struct SeededGenerator: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        self.state &+= 0x9E37_79B9_7F4A_7C15
        var value = self.state
        value = (value ^ (value >> 30)) &* 0xBF58_476D_1CE4_E5B9
        value = (value ^ (value >> 27)) &* 0x94D0_49BB_1331_11EB
        return value ^ (value >> 31)
    }
}
