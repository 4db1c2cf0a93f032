// SPDX-License-Identifier: Apache-2.0

#if os(Linux)
    import Foundation
    import Testing

    @testable import GatewayServer

    @Suite("The start's memory")
    struct StartupMemoryTests {
        /// A line of `/proc/self/smaps` that begins a mapping, and how much of that is resident.
        private struct Mapping {
            var range: Range<UInt>
            var kind: Substring
            var file: String
            var resident: Int
        }

        private static func mappings() throws -> [Mapping] {
            var found: [Mapping] = []
            let file = try #require(FileHandle(forReadingAtPath: "/proc/self/smaps"))
            var text = Data()
            // It comes in pieces, whatever is asked for.
            while let piece = try file.read(upToCount: 1 << 16), !piece.isEmpty { text += piece }
            for line in String(decoding: text, as: UTF8.self).split(separator: "\n") {
                let fields = line.split(separator: " ", maxSplits: 5, omittingEmptySubsequences: true)
                let ends = fields[0].split(separator: "-").compactMap { UInt($0, radix: 16) }
                if ends.count == 2, fields.count >= 5 {
                    let file = fields.count == 6 ? fields[5].trimmingCharacters(in: .whitespaces) : ""
                    found.append(Mapping(range: ends[0]..<ends[1], kind: fields[1], file: file, resident: 0))
                } else if fields[0] == "Rss:", !found.isEmpty {
                    found[found.count - 1].resident = Int(fields[1]) ?? 0
                }
            }
            return found
        }

        @Test("is given back where it is code, of the program and of libraries, and comes back as it was")
        func givesBackCode() throws {
            let libraries = try Self.mappings().filter { $0.kind == "r-xp" && $0.file.contains(".so") }
            // The largest, of which the other tests use little at a time.
            let library = try #require(libraries.max { $0.range.count < $1.range.count })
            let bytes = UnsafeRawBufferPointer(
                start: UnsafeRawPointer(bitPattern: library.range.lowerBound), count: library.range.count)
            let before = bytes.reduce(into: UInt64(0)) { $0 = $0 &* 31 &+ UInt64($1) }
            func resident() throws -> Int {
                try #require(try Self.mappings().first { $0.range == library.range }).resident
            }
            #expect(try resident() * 1024 >= library.range.count * 9 / 10)
            StartupMemory.release()
            #expect(try resident() * 1024 < library.range.count / 2)
            #expect(bytes.reduce(into: UInt64(0)) { $0 = $0 &* 31 &+ UInt64($1) } == before)
        }
    }
#endif
