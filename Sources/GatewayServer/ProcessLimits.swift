// SPDX-License-Identifier: Apache-2.0

internal import CLinuxIO
internal import Foundation

/// What a server asks of the operating system before it serves.
enum ProcessLimits {
    /// Larger pieces of memory are the system's again as soon as they are free.
    private static let largestKept: Int32 = 512 << 10
    /// So much free memory at a heap's end is kept.
    private static let keptAtEnd: Int32 = 4 << 20
    /// One for each event loop, and some for all other threads. Those come and go with the load: with a heap for each, as
    /// glibc would have it, memory grows with the most that ever ran at once.
    private static let heaps = Int32(clamping: ProcessInfo.processInfo.activeProcessorCount + 2)

    /// Raises the soft limit of open files to the hard one, since each stream takes two, and keeps a reader that goes
    /// away from ending the process.
    ///
    /// glibc keeps more free memory the larger the pieces are that it has seen, so that a few long bodies would make
    /// every heap larger for good; a limit that is set stays (mallopt(3)).
    static func prepare() {
        linux_keep_memory(Self.largestKept, Self.keptAtEnd, Self.heaps)
        var limit = rlimit()
        if getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0, limit.rlim_cur < limit.rlim_max {
            limit.rlim_cur = limit.rlim_max
            setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
        }
        signal(SIGPIPE, SIG_IGN)
    }
}
