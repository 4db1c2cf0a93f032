// SPDX-License-Identifier: Apache-2.0

internal import Foundation
internal import GatewayCore
package import GatewayStore
internal import Synchronization

/// Metered answers that could not be booked, on this machine's disk: one JSON line each, forced to the disk before the
/// gateway goes on. A file belongs to one process at a time, which holds a lock on it, and to one database, whose name
/// is part of its own; what a killed process has left is taken over by the next one.
package final class SpendJournal: Sendable {
    /// What the disk may be asked to hold. At some 400 bytes an answer that is more than half a million answers.
    package static let maximumBytes = 256 << 20

    package enum Failure: Error, CustomStringConvertible {
        case io(String, Int32)
        case full

        package var description: String {
            switch self {
            case .io(let what, let code): "\(what): \(String(cString: strerror(code)))"
            case .full: "the journal has reached \(SpendJournal.maximumBytes >> 20) MB"
            }
        }
    }

    private struct State {
        var descriptor: Int32 = -1
        var path = ""
        var size = 0
    }

    private let folder: String
    private let ledger: String
    private let state = Mutex(State())

    /// - Parameters:
    ///   - folder: Made when it is missing.
    ///   - ledger: The database's name (`SpendStore.ledgerName()`).
    package init(folder: String, ledger: String) {
        self.folder = folder
        self.ledger = String(ledger.filter { $0.isLetter || $0.isNumber }.prefix(24))
    }

    deinit {
        self.state.withLock { state in if state.descriptor >= 0 { Foundation.close(state.descriptor) } }
    }

    private var prefix: String { "spend-\(self.ledger)-" }

    /// Bytes that wait to be booked.
    package var size: Int { self.state.withLock { $0.size } }

    /// Adds answers and waits until the disk has them.
    package func append(_ entries: [SpendEntry]) throws(Failure) {
        var lines: [UInt8] = []
        for entry in entries {
            lines += entry.json.bytes()
            lines.append(0x0A)
        }
        let result = self.state.withLock { state -> Failure? in
            do throws(Failure) {
                try self.open(&state)
                guard state.size + lines.count <= Self.maximumBytes else { throw .full }
                // What a write has left that ran out of space would spoil the next line.
                if lseek(state.descriptor, 0, SEEK_END) > off_t(state.size) {
                    ftruncate(state.descriptor, off_t(state.size))
                }
                try Self.write(lines, to: state.descriptor)
                state.size += lines.count
                return nil
            } catch {
                return error
            }
        }
        if let result { throw result }
    }

    private func open(_ state: inout State) throws(Failure) {
        if state.descriptor >= 0 { return }
        do {
            try FileManager.default.createDirectory(
                atPath: self.folder, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
        } catch {
            throw .io("cannot make \(self.folder)", errno)
        }
        let path = "\(self.folder)/\(self.prefix)\(RandomToken.make().prefix(12).filter { $0 != "-" }).journal"
        let descriptor = Foundation.open(path, O_RDWR | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw .io("cannot make \(path)", errno) }
        guard flock(descriptor, LOCK_EX | LOCK_NB) == 0 else { throw .io("cannot lock \(path)", errno) }
        // The name itself must be on the disk too.
        let parent = Foundation.open(self.folder, O_RDONLY | O_CLOEXEC)
        if parent >= 0 {
            fsync(parent)
            Foundation.close(parent)
        }
        (state.descriptor, state.path, state.size) = (descriptor, path, 0)
    }

    private static func write(_ bytes: [UInt8], to descriptor: Int32) throws(Failure) {
        var at = 0
        while at < bytes.count {
            let count = bytes.withUnsafeBytes { Foundation.write(descriptor, $0.baseAddress! + at, bytes.count - at) }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { throw .io("cannot write the journal", errno) }
            at += count
        }
        guard fsync(descriptor) == 0 else { throw .io("cannot write the journal to the disk", errno) }
    }

    // MARK: Reading back

    /// The answers of this process's file and of files that killed processes have left for this database.
    ///
    /// - Parameter book: Books some of them; what throws ends the reading and leaves all files as they are.
    /// - Returns: How many answers have been handed over.
    package func replay(_ book: ([SpendEntry]) async throws -> Void) async throws -> Int {
        var count = 0
        let orphans = self.orphans()
        defer { for orphan in orphans { Foundation.close(orphan.descriptor) } }
        for (descriptor, path) in orphans {
            count += try await Self.replay(descriptor, from: 0, book).count
            unlink(path)
        }
        var done = 0
        while true {
            let (descriptor, size) = self.state.withLock { ($0.descriptor, $0.size) }
            guard descriptor >= 0, size > done else { break }
            let read = try await Self.replay(descriptor, from: done, book)
            count += read.count
            done = read.end
            let isWhole = self.state.withLock { state -> Bool in
                guard state.size <= done else { return false }
                // All of it is booked: the file goes, so that an idle gateway leaves nothing behind.
                unlink(state.path)
                Foundation.close(state.descriptor)
                state = State()
                return true
            }
            if isWhole || read.count == 0 { break }
        }
        return count
    }

    /// Files of this database that nobody has locked; locked for the caller.
    private func orphans() -> [(descriptor: Int32, path: String)] {
        let own = self.state.withLock { $0.path }
        let names = (try? FileManager.default.contentsOfDirectory(atPath: self.folder)) ?? []
        return names.sorted().compactMap { name in
            let path = "\(self.folder)/\(name)"
            guard name.hasPrefix(self.prefix), name.hasSuffix(".journal"), path != own else { return nil }
            let descriptor = Foundation.open(path, O_RDWR | O_CLOEXEC)
            guard descriptor >= 0 else { return nil }
            guard flock(descriptor, LOCK_EX | LOCK_NB) == 0 else {
                Foundation.close(descriptor)
                return nil
            }
            return (descriptor, path)
        }
    }

    private static let chunk = 1 << 20

    private static func replay(_ descriptor: Int32, from start: Int, _ book: ([SpendEntry]) async throws -> Void)
        async throws -> (count: Int, end: Int)
    {
        var (count, at, rest) = (0, start, [UInt8]())
        while true {
            var buffer = [UInt8](repeating: 0, count: self.chunk)
            let read = pread(descriptor, &buffer, buffer.count, off_t(at))
            if read < 0, errno == EINTR { continue }
            guard read > 0 else { break }
            at += read
            rest += buffer[..<read]
            guard let end = rest.lastIndex(of: 0x0A) else { continue }
            // A line that the machine's end has cut in two was never acknowledged to anybody.
            let entries = rest[..<end].split(separator: 0x0A).compactMap { line in
                (try? JSONValue(parsing: Array(line))).flatMap(SpendEntry.init(json:))
            }
            rest = Array(rest[(end + 1)...])
            for first in stride(from: 0, to: entries.count, by: 500) {
                try await book(Array(entries[first..<min(entries.count, first + 500)]))
            }
            count += entries.count
        }
        // A line that is being written at this moment is read from its beginning the next time.
        return (count, at - rest.count)
    }
}
