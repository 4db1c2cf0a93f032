// SPDX-License-Identifier: Apache-2.0

package import GatewayConfig
internal import GatewayCore
internal import GatewayCredentials
internal import GatewayHTTPClient
internal import GatewayIdentity
internal import GatewayProviders
internal import GatewayStore

/// Tries what a configuration refers to: the identity provider, the store, and each upstream's credential. Nothing is
/// written and nothing is spent.
package enum OnlineCheck {
    private static let timeout = Duration.seconds(10)

    /// What was found.
    package struct Findings: Sendable {
        package var faults: [ConfigFault] = []
        /// What went well and is worth knowing, a sentence each.
        package var remarks: [String] = []
    }

    package static func run(_ file: ConfigurationFile, allowsLoopback: Bool, variables: [String: String]) async
        -> Findings
    {
        guard let settings = file.settings, let root = file.root else { return Findings() }
        let rule = AddressGuard(allowsLoopback: allowsLoopback)
        let client = OutboundClient(rule: .guarded(rule))
        var findings = Findings()
        func fault(_ node: ConfigNode?, _ message: String) {
            let node = node ?? root
            findings.faults.append(ConfigFault(.error, at: node.position, node.path, message))
        }
        do {
            _ = try await OIDCProvider.discover(settings.oidc, client: client, rule: rule)
        } catch {
            fault(root["oidc"]?["issuer"], "online: \("\(error)".singleLine)")
        }
        if case .postgres(let url) = settings.store.backend {
            let store = PostgresStore(settings: settings.store, url: url) { _ in }
            do {
                try await store.ping()
            } catch {
                fault(root["store"]?["postgres_url"], "online: \("\(error)".singleLine)")
            }
            await store.close()
        }
        let environment = CredentialEnvironment(variables: variables, client: client)
        for (index, upstream) in settings.upstreams.enumerated() {
            let node = root["upstreams"]?.list[index]
            do {
                if let source = try await UpstreamCredentials.examine(
                    upstream, environment.behind(upstream.transport))
                {
                    findings.remarks.append("\(upstream.name.singleLine): the credential comes from \(source)")
                }
            } catch {
                fault(node?["auth"] ?? node, "online: no credential: \("\(error)".singleLine).")
            }
            guard let probe = upstream.provider.probe(upstream) else { continue }
            var request = OutboundRequest("GET", probe.url, headers: probe.headers, timeout: timeout)
            request.headers.append(("accept", "application/json"))
            request.prepare(upstream.transport, variables)
            do {
                let response = try await client.send(request)
                if response.status == 401 || response.status == 403 {
                    fault(
                        node?["auth"] ?? node,
                        "online: \(upstream.name) refuses the credential (HTTP \(response.status)).")
                } else if response.status >= 500 {
                    fault(node, "online: \(upstream.name) answered with HTTP \(response.status).")
                }
            } catch {
                fault(node?["base_url"] ?? node, "online: \("\(error)".singleLine)")
            }
        }
        return findings
    }
}
