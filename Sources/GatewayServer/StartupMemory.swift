// SPDX-License-Identifier: Apache-2.0

#if os(Linux)
    internal import CLinuxIO
#endif

/// What only the start needs, given back: pages of code and constants, of which the kernel has mapped many around each
/// that was touched. Those that serving needs come back from the page cache as they are used.
enum StartupMemory {
    static func release() {
        #if os(Linux)
            linux_release_code()
        #endif
    }
}
