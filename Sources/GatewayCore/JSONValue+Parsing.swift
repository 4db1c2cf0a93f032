// SPDX-License-Identifier: Apache-2.0

/// Why a text is not JSON, with the offset in bytes at which that shows.
package struct JSONError: Error, Equatable, CustomStringConvertible {
    package let offset: Int
    package let reason: String

    package var description: String { "not valid JSON at byte \(self.offset): \(self.reason)" }
}

extension JSONValue {
    /// Parses a whole JSON text (RFC 8259). A later duplicate of a key wins, as in JavaScript.
    ///
    /// - Parameter maximumDepth: Nesting beyond it is refused, so that hostile input cannot exhaust the stack.
    package init(parsing bytes: some Collection<UInt8>, maximumDepth: Int = 256) throws(JSONError) {
        var parser = JSONParser(bytes: Array(bytes), maximumDepth: maximumDepth)
        self = try parser.parseDocument()
    }

    package init(parsing text: String) throws(JSONError) {
        try self.init(parsing: Array(text.utf8))
    }
}

private struct JSONParser {
    let bytes: [UInt8]
    let maximumDepth: Int
    var at = 0

    init(bytes: [UInt8], maximumDepth: Int) {
        self.bytes = bytes
        self.maximumDepth = maximumDepth
    }

    mutating func parseDocument() throws(JSONError) -> JSONValue {
        let value = try self.parseValue(depth: 0)
        self.skipSpace()
        guard self.at == self.bytes.count else { throw self.fail("text after the value") }
        return value
    }

    func fail(_ reason: String) -> JSONError {
        JSONError(offset: self.at, reason: reason)
    }

    mutating func skipSpace() {
        while self.at < self.bytes.count {
            switch self.bytes[self.at] {
            case 0x20, 0x09, 0x0A, 0x0D: self.at += 1
            default: return
            }
        }
    }

    mutating func expect(_ word: StaticString, _ value: JSONValue) throws(JSONError) -> JSONValue {
        let end = self.at + word.utf8CodeUnitCount
        guard end <= self.bytes.count, word.withUTF8Buffer({ self.bytes[self.at..<end].elementsEqual($0) }) else {
            throw self.fail("an unknown word")
        }
        self.at = end
        return value
    }

    mutating func parseValue(depth: Int) throws(JSONError) -> JSONValue {
        guard depth <= self.maximumDepth else { throw self.fail("nesting deeper than \(self.maximumDepth)") }
        self.skipSpace()
        guard self.at < self.bytes.count else { throw self.fail("the text ends too early") }
        switch self.bytes[self.at] {
        case 0x7B: return try self.parseObject(depth: depth)
        case 0x5B: return try self.parseArray(depth: depth)
        case 0x22: return .string(try self.parseString())
        case 0x74: return try self.expect("true", .bool(true))
        case 0x66: return try self.expect("false", .bool(false))
        case 0x6E: return try self.expect("null", .null)
        default: return .number(try self.parseNumber())
        }
    }

    mutating func parseObject(depth: Int) throws(JSONError) -> JSONValue {
        self.at += 1
        var object = JSONObject()
        self.skipSpace()
        if self.at < self.bytes.count, self.bytes[self.at] == 0x7D {
            self.at += 1
            return .object(object)
        }
        while true {
            self.skipSpace()
            guard self.at < self.bytes.count, self.bytes[self.at] == 0x22 else { throw self.fail("a key is missing") }
            let key = try self.parseString()
            self.skipSpace()
            guard self.at < self.bytes.count, self.bytes[self.at] == 0x3A else { throw self.fail("a colon is missing") }
            self.at += 1
            object[key] = try self.parseValue(depth: depth + 1)
            self.skipSpace()
            guard self.at < self.bytes.count else { throw self.fail("the text ends inside an object") }
            self.at += 1
            switch self.bytes[self.at - 1] {
            case 0x2C: continue
            case 0x7D: return .object(object)
            default: throw self.fail("a comma or a closing brace is missing")
            }
        }
    }

    mutating func parseArray(depth: Int) throws(JSONError) -> JSONValue {
        self.at += 1
        var items: [JSONValue] = []
        self.skipSpace()
        if self.at < self.bytes.count, self.bytes[self.at] == 0x5D {
            self.at += 1
            return .array(items)
        }
        while true {
            items.append(try self.parseValue(depth: depth + 1))
            self.skipSpace()
            guard self.at < self.bytes.count else { throw self.fail("the text ends inside an array") }
            self.at += 1
            switch self.bytes[self.at - 1] {
            case 0x2C: continue
            case 0x5D: return .array(items)
            default: throw self.fail("a comma or a closing bracket is missing")
            }
        }
    }

    mutating func parseString() throws(JSONError) -> String {
        self.at += 1
        let start = self.at
        while self.at < self.bytes.count, self.bytes[self.at] != 0x22, self.bytes[self.at] != 0x5C,
            self.bytes[self.at] >= 0x20
        {
            self.at += 1
        }
        guard self.at < self.bytes.count else { throw self.fail("the text ends inside a string") }
        if self.bytes[self.at] == 0x22 {
            self.at += 1
            return String(decoding: self.bytes[start..<(self.at - 1)], as: UTF8.self)
        }
        var units = Array(self.bytes[start..<self.at])
        while true {
            guard self.at < self.bytes.count else { throw self.fail("the text ends inside a string") }
            let byte = self.bytes[self.at]
            self.at += 1
            switch byte {
            case 0x22: return String(decoding: units, as: UTF8.self)
            case 0x5C: try self.parseEscape(into: &units)
            case 0..<0x20: throw self.fail("a control character inside a string")
            default: units.append(byte)
            }
        }
    }

    mutating func parseEscape(into units: inout [UInt8]) throws(JSONError) {
        guard self.at < self.bytes.count else { throw self.fail("the text ends inside a string") }
        let byte = self.bytes[self.at]
        self.at += 1
        switch byte {
        case 0x22, 0x5C, 0x2F: units.append(byte)
        case 0x62: units.append(0x08)
        case 0x66: units.append(0x0C)
        case 0x6E: units.append(0x0A)
        case 0x72: units.append(0x0D)
        case 0x74: units.append(0x09)
        case 0x75:
            var scalar = UInt32(try self.parseHex())
            if (0xD800...0xDBFF).contains(scalar), self.at + 1 < self.bytes.count, self.bytes[self.at] == 0x5C,
                self.bytes[self.at + 1] == 0x75
            {
                let mark = self.at
                self.at += 2
                let low = UInt32(try self.parseHex())
                if (0xDC00...0xDFFF).contains(low) {
                    scalar = 0x10000 + (scalar - 0xD800) << 10 + (low - 0xDC00)
                } else {
                    self.at = mark
                }
            }
            units += Array(String(Character(Unicode.Scalar(scalar) ?? "\u{FFFD}")).utf8)
        default: throw self.fail("an unknown escape")
        }
    }

    mutating func parseHex() throws(JSONError) -> UInt16 {
        guard self.at + 4 <= self.bytes.count else { throw self.fail("the text ends inside a string") }
        var value: UInt16 = 0
        for _ in 0..<4 {
            let byte = self.bytes[self.at]
            let digit: UInt8
            switch byte {
            case 0x30...0x39: digit = byte - 0x30
            case 0x41...0x46: digit = byte - 0x37
            case 0x61...0x66: digit = byte - 0x57
            default: throw self.fail("an escape that is not hexadecimal")
            }
            value = value << 4 | UInt16(digit)
            self.at += 1
        }
        return value
    }

    mutating func parseNumber() throws(JSONError) -> Double {
        let start = self.at
        func isDigit(_ index: Int) -> Bool {
            index < self.bytes.count && (0x30...0x39).contains(self.bytes[index])
        }
        if self.bytes[self.at] == 0x2D { self.at += 1 }
        guard isDigit(self.at) else { throw self.fail("no value begins like this") }
        if self.bytes[self.at] == 0x30 {
            self.at += 1
        } else {
            while isDigit(self.at) { self.at += 1 }
        }
        if self.at < self.bytes.count, self.bytes[self.at] == 0x2E {
            self.at += 1
            guard isDigit(self.at) else { throw self.fail("a number without digits after its point") }
            while isDigit(self.at) { self.at += 1 }
        }
        if self.at < self.bytes.count, self.bytes[self.at] | 0x20 == 0x65 {
            self.at += 1
            if self.at < self.bytes.count, self.bytes[self.at] == 0x2B || self.bytes[self.at] == 0x2D { self.at += 1 }
            guard isDigit(self.at) else { throw self.fail("a number without digits in its exponent") }
            while isDigit(self.at) { self.at += 1 }
        }
        return Double(String(decoding: self.bytes[start..<self.at], as: UTF8.self)) ?? .infinity
    }
}
