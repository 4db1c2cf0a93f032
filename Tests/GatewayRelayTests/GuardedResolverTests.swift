// SPDX-License-Identifier: Apache-2.0

import GatewayCore
import Testing

@testable import GatewayRelay

@Suite("Resolving upstreams")
struct GuardedResolverTests {
    private func resolve(_ host: String, allowsLoopback: Bool) async -> Result<Int, any Error> {
        await withCheckedContinuation { continuation in
            let loop = PollLoops.shared.all[0]
            loop.execute {
                GuardedResolver.resolve(
                    host: host, port: 80, rule: AddressGuard(allowsLoopback: allowsLoopback), on: loop
                ) { continuation.resume(returning: $0.map(\.count).mapError { $0 }) }
            }
        }
    }

    @Test(
        "drops addresses that may not be connected to, names and numbers alike",
        arguments: ["localhost", "127.0.0.1", "169.254.169.254", "0x7f.1", "::1"])
    func blocks(_ host: String) async {
        guard case .failure(let error) = await self.resolve(host, allowsLoopback: false) else {
            Issue.record("\(host) was let through")
            return
        }
        #expect("\(error)".contains("blocked"))
    }

    @Test("lets the others through")
    func passes() async throws {
        #expect(try await self.resolve("10.1.2.3", allowsLoopback: false).get() == 1)
        #expect(try await self.resolve("127.0.0.1", allowsLoopback: true).get() == 1)
    }
}
