// SPDX-License-Identifier: Apache-2.0

internal import GatewayCore

#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Musl)
    internal import Musl
#else
    internal import Darwin
#endif

/// What only the start needs, given back: pages of the program's own code and constants, of which the kernel has mapped
/// many around each that was touched. Those that serving needs come back from the page cache as they are used.
enum StartupMemory {
    static func release() {
        #if os(Linux)
            guard let program = readLink("/proc/self/exe"), let maps = fopen("/proc/self/maps", "r") else { return }
            defer { fclose(maps) }
            var line: UnsafeMutablePointer<CChar>?
            var capacity = 0
            defer { free(line) }
            while getline(&line, &capacity, maps) > 0 {
                guard let line, let range = Self.codeRange(String(cString: line), of: program) else { continue }
                // Read-only pages of a file: nothing in them can be lost.
                madvise(UnsafeMutableRawPointer(bitPattern: range.lowerBound), range.count, MADV_DONTNEED)
            }
        #endif
    }

    #if os(Linux)
        private static func readLink(_ path: String) -> String? {
            var buffer = [UInt8](repeating: 0, count: Int(PATH_MAX))
            let count = buffer.withUnsafeMutableBytes {
                readlink(path, $0.baseAddress!.assumingMemoryBound(to: CChar.self), $0.count)
            }
            return count > 0 ? String(decoding: buffer[..<count], as: UTF8.self) : nil
        }
    #endif

    /// The addresses of a line of `/proc/self/maps`, if they hold the program's code or the constants that stand before
    /// it. Other pages that cannot be written now were written before: the dynamic linker fills in tables, and then locks
    /// them.
    static func codeRange(_ line: String, of program: String) -> Range<UInt>? {
        let fields = line.split(separator: " ", maxSplits: 5, omittingEmptySubsequences: true)
        guard fields.count == 6, String(fields[5]).trimmingSpaces == program,
            fields[1] == "r-xp" || (fields[1] == "r--p" && fields[2].allSatisfy { $0 == "0" })
        else { return nil }
        let ends = fields[0].split(separator: "-").compactMap { UInt($0, radix: 16) }
        return ends.count == 2 && ends[0] < ends[1] ? ends[0]..<ends[1] : nil
    }
}
