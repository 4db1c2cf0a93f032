// SPDX-License-Identifier: Apache-2.0

import GatewayCore
import NIOCore
import NIOPosix
import Testing

@testable import GatewayRelay

@Suite("Resolving upstreams")
struct GuardedResolverTests {
    private func resolve(_ host: String, allowsLoopback: Bool) async -> Result<Int, any Error> {
        let resolver = GuardedResolver(
            rule: AddressGuard(allowsLoopback: allowsLoopback), loop: MultiThreadedEventLoopGroup.singleton.any())
        let v6 = resolver.initiateAAAAQuery(host: host, port: 80)
        let v4 = resolver.initiateAQuery(host: host, port: 80)
        do {
            return .success(try await v4.get().count + v6.get().count)
        } catch {
            return .failure(error)
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
