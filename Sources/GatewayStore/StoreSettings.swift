// SPDX-License-Identifier: Apache-2.0

package import GatewayConfig
package import GatewayCore

/// The `store` section.
package struct StoreSettings: Sendable {
    package enum Backend: Sendable {
        case postgres(url: Secret)
        /// A file, or `nil` for a store in memory that ends with the process.
        case sqlite(path: String?)
    }

    package var backend: Backend
    package var username: String?
    package var password: Secret?
    package var maximumConnections = 5
    package var connectTimeout = Duration.seconds(5)
    package var readinessGrace = Duration.zero

    package init(backend: Backend) {
        self.backend = backend
    }

    package init(_ node: ConfigNode) {
        if let path = node["sqlite_path"]?.string {
            // SQLite's own name for a database in memory.
            self.backend = .sqlite(path: path == ":memory:" ? nil : path)
        } else {
            self.backend = .postgres(url: node["postgres_url"]?.secret ?? Secret(""))
        }
        self.username = node["username"]?.string.flatMap { $0.isEmpty ? nil : $0 }
        self.password = node["password"]?.string.flatMap { $0.isEmpty ? nil : Secret($0) }
        self.maximumConnections = node["max_connections"]?.integer ?? 5
        self.connectTimeout = .seconds(node["connect_timeout_seconds"]?.integer ?? 5)
        self.readinessGrace = .seconds(node["readiness_grace_seconds"]?.integer ?? 0)
    }

    package static let section = ConfigSection(
        [
            ConfigKey(
                "postgres_url", .string(minimum: 1),
                "PostgreSQL 14 or later, as postgres://host:port/database; ?sslmode= takes every mode of libpq. Replicas share it.",
                example: "${GATEWAY_POSTGRES_URL}",
                check: { node in
                    let text = node.string ?? ""
                    return text.hasPrefix("postgres://") || text.hasPrefix("postgresql://")
                        ? nil : "must begin with postgres:// or postgresql://."
                }),
            ConfigKey(
                "sqlite_path", .string(minimum: 1),
                "A file for the embedded store, for a gateway of one process on one machine. Instead of postgres_url."),
            ConfigKey("username", .string(), "Overrides the user name in postgres_url."),
            ConfigKey("password", .string(), "Overrides the password in postgres_url."),
            ConfigKey(
                "max_connections", .integer(above: 0), default: "5",
                "How many connections this process opens to PostgreSQL."),
            ConfigKey(
                "connect_timeout_seconds", .integer(minimum: 1, maximum: 60), default: "5",
                "How long one attempt to connect may take at boot."),
            ConfigKey(
                "readiness_grace_seconds", .integer(minimum: 0, maximum: 3600), default: "0",
                "How long /readyz keeps answering 200 after the store stops answering.",
                check: { node in
                    if case .number = node.value { return nil }
                    guard let text = node.string, Int(text) != nil else { return "must be a whole number of seconds." }
                    return nil
                }),
        ],
        rules: [
            { node, report in
                switch (node["postgres_url"], node["sqlite_path"]) {
                case (nil, nil):
                    report.error(node, "needs postgres_url, or sqlite_path for a gateway on one machine.")
                case (_?, let path?):
                    report.error(path, "cannot stand beside postgres_url; keep one of them.")
                default: break
                }
            }
        ])
}
