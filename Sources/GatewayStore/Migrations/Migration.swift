// SPDX-License-Identifier: Apache-2.0

/// One step of the schema. Released steps stay as they are; a change is a new step at the end of `Migration.all`.
struct Migration: Sendable {
    let version: Int
    let name: String
    let postgres: [String]
    let sqlite: [String]

    static let all: [Migration] = [.keyValue, .sessions, .spend, .revocations]
}
