// SPDX-License-Identifier: Apache-2.0

import ClaudeCommands
import Foundation

exit(await CommandTable.main(Array(CommandLine.arguments.dropFirst())).rawValue)
