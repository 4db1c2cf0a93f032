// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import GatewayServer

@Suite("The start's memory")
struct StartupMemoryTests {
    @Test("is given back where the program's own code is, and nowhere else")
    func ranges() {
        let program = "/usr/bin/claude"
        func range(_ line: String) -> Range<UInt>? { StartupMemory.codeRange(line, of: program) }
        #expect(range("55d0f000-55d12000 r-xp 0000f000 fe:01 42   /usr/bin/claude\n") == 0x55d0_f000..<0x55d1_2000)
        #expect(range("55d00000-55d0f000 r--p 00000000 fe:01 42   /usr/bin/claude\n") == 0x55d0_0000..<0x55d0_f000)
        // Data would be lost, and other programs' code is not its own.
        for line in [
            "55d0f000-55d12000 rw-p 0000f000 fe:01 42   /usr/bin/claude\n",
            "55d0f000-55d12000 r--p 0000f000 fe:01 42   /usr/bin/claude\n",
            "55d00000-55d0f000 rw-p 00000000 fe:01 42   /usr/bin/claude\n",
            "55d00000-55d0f000 r--p 00000000 fe:01 42   /usr/lib/libc.so.6\n",
            "55d0f000-55d12000 r-xp 0000f000 fe:01 42   /usr/lib/libc.so.6\n",
            "55d0f000-55d12000 r-xp 0000f000 fe:01 42   /usr/bin/claude (deleted)\n",
            "55d0f000-55d12000 r-xp 00000000 00:00 0\n", "-55d12000 r-xp 0 0 0 /usr/bin/claude\n", "",
        ] {
            #expect(range(line) == nil, "\(line)")
        }
    }
}
