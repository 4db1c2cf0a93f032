// SPDX-License-Identifier: Apache-2.0

import Foundation

/// Memory behind which there is none, so that a read behind the end of what ends with it ends the tests.
package final class BoundedMemory {
    private let bytes: UnsafeMutableBufferPointer<UInt8>
    private let page = sysconf(Int32(_SC_PAGESIZE))

    package init() {
        let memory = mmap(nil, 2 * self.page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)!
        precondition(memory != MAP_FAILED && mprotect(memory + self.page, self.page, PROT_NONE) == 0)
        self.bytes = UnsafeMutableBufferPointer(
            start: memory.bindMemory(to: UInt8.self, capacity: self.page), count: self.page)
    }

    deinit { munmap(self.bytes.baseAddress, 2 * self.page) }

    /// A copy of at most a page of bytes at the memory's end, until the next.
    package func end(_ bytes: [UInt8]) -> UnsafeMutableBufferPointer<UInt8> {
        let copy = UnsafeMutableBufferPointer(rebasing: self.bytes.suffix(bytes.count))
        _ = copy.update(from: bytes)
        return copy
    }
}
