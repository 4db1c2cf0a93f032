// SPDX-License-Identifier: Apache-2.0

internal import Foundation

/// What a server asks of the operating system before it serves.
enum ProcessLimits {
    /// Raises the soft limit of open files to the hard one, since each stream takes two, and keeps a reader that goes
    /// away from ending the process.
    static func prepare() {
        var limit = rlimit()
        if getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0, limit.rlim_cur < limit.rlim_max {
            limit.rlim_cur = limit.rlim_max
            setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
        }
        signal(SIGPIPE, SIG_IGN)
    }
}
