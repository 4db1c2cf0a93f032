// SPDX-License-Identifier: Apache-2.0

/// A QR code (ISO/IEC 18004) in byte mode, error correction level L, versions 1 to 9: enough for any sign-in page's URL.
struct QRCode: Sendable {
    /// Dark modules, row by row.
    private(set) var modules: [[Bool]]
    private var isFunction: [[Bool]]
    private(set) var size: Int
    private var version: Int

    /// For versions 1 to 9 at level L: data codewords, blocks, and error correction codewords of each block.
    private static let capacities = [
        (19, 1, 7), (34, 1, 10), (55, 1, 15), (80, 1, 20), (108, 1, 26), (136, 2, 18), (156, 2, 20), (194, 2, 24),
        (232, 2, 30),
    ]

    /// `nil` when the text is too long.
    init?(_ text: String) {
        let bytes = Array(text.utf8)
        guard let index = Self.capacities.firstIndex(where: { bytes.count + 2 <= $0.0 }) else { return nil }
        self.version = index + 1
        self.size = 17 + 4 * self.version
        self.modules = Array(repeating: Array(repeating: false, count: self.size), count: self.size)
        self.isFunction = self.modules
        self.drawFunctionPatterns()
        self.drawCodewords(Self.codewords(bytes, version: self.version))
        let plain = self
        var best: (penalty: Int, code: QRCode)?
        for mask in 0..<8 {
            var candidate = plain
            candidate.apply(mask: mask)
            candidate.drawFormat(mask: mask)
            let penalty = candidate.penalty
            if best == nil || penalty < best!.penalty { best = (penalty, candidate) }
        }
        self = best!.code
    }

    // MARK: Text

    /// The code in half-height blocks, with its quiet zone. Light modules are drawn, so that it reads on a dark
    /// terminal; with colours it reads on any.
    func text(usesColor: Bool) -> String {
        let quiet = 2
        func isLight(_ row: Int, _ column: Int) -> Bool {
            guard (0..<self.size).contains(row), (0..<self.size).contains(column) else {
                return row < self.size + quiet
            }
            return !self.modules[row][column]
        }
        var lines: [String] = []
        for row in stride(from: -quiet, to: self.size + quiet, by: 2) {
            var line = usesColor ? "\u{1B}[40;97m" : ""
            for column in -quiet..<self.size + quiet {
                switch (isLight(row, column), isLight(row + 1, column)) {
                case (true, true): line += "█"
                case (true, false): line += "▀"
                case (false, true): line += "▄"
                case (false, false): line += " "
                }
            }
            lines.append(line + (usesColor ? "\u{1B}[0m" : ""))
        }
        return lines.joined(separator: "\n")
    }

    // MARK: Data

    private static func codewords(_ bytes: [UInt8], version: Int) -> [UInt8] {
        let (capacity, blocks, correction) = self.capacities[version - 1]
        var bits: [Bool] = []
        func put(_ value: Int, _ count: Int) {
            for shift in stride(from: count - 1, through: 0, by: -1) { bits.append(value >> shift & 1 == 1) }
        }
        put(0b0100, 4)
        put(bytes.count, 8)
        for byte in bytes { put(Int(byte), 8) }
        put(0, min(4, capacity * 8 - bits.count))
        while bits.count % 8 != 0 { bits.append(false) }
        var data = stride(from: 0, to: bits.count, by: 8).map { start in
            bits[start..<start + 8].reduce(UInt8(0)) { $0 << 1 | ($1 ? 1 : 0) }
        }
        var pad: UInt8 = 0xEC
        while data.count < capacity {
            data.append(pad)
            pad ^= 0xEC ^ 0x11
        }
        let length = capacity / blocks
        let parts = (0..<blocks).map { Array(data[$0 * length..<($0 + 1) * length]) }
        let checks = parts.map { self.remainder($0, degree: correction) }
        var out: [UInt8] = []
        for index in 0..<length { out += parts.map { $0[index] } }
        for index in 0..<correction { out += checks.map { $0[index] } }
        return out
    }

    /// Multiplication in GF(2^8) modulo x^8 + x^4 + x^3 + x^2 + 1.
    private static func multiply(_ a: UInt8, _ b: UInt8) -> UInt8 {
        var product = 0
        for shift in stride(from: 7, through: 0, by: -1) {
            product = product << 1 ^ (product >> 7) * 0x11D
            product ^= (Int(b) >> shift & 1) * Int(a)
        }
        return UInt8(product)
    }

    /// The Reed-Solomon check codewords.
    private static func remainder(_ data: [UInt8], degree: Int) -> [UInt8] {
        var divisor = [UInt8](repeating: 0, count: degree)
        divisor[degree - 1] = 1
        var root: UInt8 = 1
        for _ in 0..<degree {
            for index in 0..<degree {
                divisor[index] = self.multiply(divisor[index], root)
                if index + 1 < degree { divisor[index] ^= divisor[index + 1] }
            }
            root = self.multiply(root, 2)
        }
        var result = [UInt8](repeating: 0, count: degree)
        for byte in data {
            let factor = byte ^ result.removeFirst()
            result.append(0)
            for index in 0..<degree { result[index] ^= self.multiply(divisor[index], factor) }
        }
        return result
    }

    // MARK: Modules

    private mutating func set(_ row: Int, _ column: Int, _ isDark: Bool) {
        self.modules[row][column] = isDark
        self.isFunction[row][column] = true
    }

    private mutating func drawFunctionPatterns() {
        for index in 0..<self.size {
            self.set(6, index, index % 2 == 0)
            self.set(index, 6, index % 2 == 0)
        }
        for (row, column) in [(3, 3), (3, self.size - 4), (self.size - 4, 3)] { self.drawFinder(row, column) }
        let centers = self.alignmentCenters
        for (i, row) in centers.enumerated() {
            for (j, column) in centers.enumerated() {
                let last = centers.count - 1
                if (i, j) == (0, 0) || (i, j) == (0, last) || (i, j) == (last, 0) { continue }
                for dy in -2...2 {
                    for dx in -2...2 { self.set(row + dy, column + dx, max(abs(dy), abs(dx)) != 1) }
                }
            }
        }
        self.drawFormat(mask: 0)
        self.drawVersion()
    }

    private var alignmentCenters: [Int] {
        switch self.version {
        case 1: []
        case 2...6: [6, self.size - 7]
        // Versions 7 to 9 have one more in the middle.
        default: [6, 8 + 2 * self.version, self.size - 7]
        }
    }

    private mutating func drawFinder(_ row: Int, _ column: Int) {
        for dy in -4...4 {
            for dx in -4...4 {
                let (y, x) = (row + dy, column + dx)
                guard (0..<self.size).contains(y), (0..<self.size).contains(x) else { continue }
                let distance = max(abs(dy), abs(dx))
                self.set(y, x, distance != 2 && distance != 4)
            }
        }
    }

    /// Level L and the mask, protected by BCH(15,5).
    private mutating func drawFormat(mask: Int) {
        let data = 0b01 << 3 | mask
        var rest = data
        for _ in 0..<10 { rest = rest << 1 ^ (rest >> 9) * 0x537 }
        let bits = (data << 10 | rest) ^ 0x5412
        func bit(_ index: Int) -> Bool { bits >> index & 1 == 1 }
        for index in 0...5 { self.set(index, 8, bit(index)) }
        self.set(7, 8, bit(6))
        self.set(8, 8, bit(7))
        self.set(8, 7, bit(8))
        for index in 9..<15 { self.set(8, 14 - index, bit(index)) }
        for index in 0..<8 { self.set(8, self.size - 1 - index, bit(index)) }
        for index in 8..<15 { self.set(self.size - 15 + index, 8, bit(index)) }
        self.set(self.size - 8, 8, true)
    }

    /// From version 7 on, the version, protected by BCH(18,6).
    private mutating func drawVersion() {
        guard self.version >= 7 else { return }
        var rest = self.version
        for _ in 0..<12 { rest = rest << 1 ^ (rest >> 11) * 0x1F25 }
        let bits = self.version << 12 | rest
        for index in 0..<18 {
            let isDark = bits >> index & 1 == 1
            let (far, near) = (self.size - 11 + index % 3, index / 3)
            self.set(near, far, isDark)
            self.set(far, near, isDark)
        }
    }

    private mutating func drawCodewords(_ codewords: [UInt8]) {
        var index = 0
        var right = self.size - 1
        while right >= 1 {
            if right == 6 { right = 5 }
            for step in 0..<self.size {
                let isUpward = (right + 1) & 2 == 0
                let row = isUpward ? self.size - 1 - step : step
                for column in [right, right - 1] where !self.isFunction[row][column] && index < codewords.count * 8 {
                    self.modules[row][column] = codewords[index >> 3] >> (7 - UInt8(index & 7)) & 1 == 1
                    index += 1
                }
            }
            right -= 2
        }
    }

    private mutating func apply(mask: Int) {
        for y in 0..<self.size {
            for x in 0..<self.size where !self.isFunction[y][x] {
                let isInverted =
                    switch mask {
                    case 0: (x + y) % 2 == 0
                    case 1: y % 2 == 0
                    case 2: x % 3 == 0
                    case 3: (x + y) % 3 == 0
                    case 4: (x / 3 + y / 2) % 2 == 0
                    case 5: x * y % 2 + x * y % 3 == 0
                    case 6: (x * y % 2 + x * y % 3) % 2 == 0
                    default: ((x + y) % 2 + x * y % 3) % 2 == 0
                    }
                if isInverted { self.modules[y][x].toggle() }
            }
        }
    }

    /// How hard the code is to read: long runs, blocks, and an uneven balance count against it.
    private var penalty: Int {
        var total = 0
        let columns = (0..<self.size).map { x in (0..<self.size).map { self.modules[$0][x] } }
        for line in self.modules + columns {
            var run = 1
            for index in 1..<line.count {
                if line[index] == line[index - 1] {
                    run += 1
                    total += run == 5 ? 3 : run > 5 ? 1 : 0
                } else {
                    run = 1
                }
            }
            let text = String(line.map { $0 ? "1" : "0" })
            for pattern in ["10111010000", "00001011101"] where text.contains(pattern) { total += 40 }
        }
        for y in 1..<self.size {
            for x in 1..<self.size {
                let value = self.modules[y][x]
                if value == self.modules[y - 1][x], value == self.modules[y][x - 1], value == self.modules[y - 1][x - 1]
                {
                    total += 3
                }
            }
        }
        let dark = self.modules.joined().count { $0 }
        return total + abs(dark * 20 - self.size * self.size * 10) / (self.size * self.size) * 10
    }
}
