// SPDX-License-Identifier: Apache-2.0

import ClaudeCommands
import Foundation

// The first thread waits and does nothing else: an `await` here would end it, and tools that look at processes from
// outside, such as Valgrind, take such a process for a broken one.
let arguments = Array(CommandLine.arguments.dropFirst())
Task.detached { exit(await CommandTable.main(arguments).rawValue) }
while true { sleep(.max) }
