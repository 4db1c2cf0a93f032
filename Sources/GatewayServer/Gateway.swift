// SPDX-License-Identifier: Apache-2.0

internal import Foundation
package import GatewayCore
internal import GatewayCredentials
internal import GatewayHTTPClient
internal import GatewayIdentity
internal import GatewayMetering
internal import GatewayPolicy
internal import GatewayProviders
internal import GatewayRelay
internal import GatewayStore
internal import GatewayTelemetry
package import Logging
internal import NIOCore
internal import NIOPosix
internal import NIOSSL
internal import Synchronization

/// A running gateway: everything put together from one configuration.
package final class Gateway: Sendable {
    /// What a gateway is given from outside.
    package struct Environment: Sendable {
        package let audit: any AuditSink
        package let log: Logger
        package let allowsLoopback: Bool
        /// Where upstreams' credentials may be looked up.
        package let variables: [String: String]
        /// Called when everything else is ready.
        package let willListen: @Sendable () -> Void

        package init(
            audit: any AuditSink, log: Logger, allowsLoopback: Bool, variables: [String: String] = [:],
            willListen: @escaping @Sendable () -> Void = {},
        ) {
            self.variables = variables
            self.willListen = willListen
            self.audit = audit
            self.log = log
            self.allowsLoopback = allowsLoopback
        }

        /// The same, with audit events going elsewhere.
        func recording(_ audit: any AuditSink) -> Environment {
            Environment(
                audit: audit, log: self.log, allowsLoopback: self.allowsLoopback, variables: self.variables,
                willListen: self.willListen)
        }
    }

    /// Where audit events go.
    package var audit: any AuditSink { self.observability.audit }

    /// Gives an event that was recorded on the console before the start to the other outputs.
    func repeatForOutputs(_ event: AuditEvent) { self.observability.repeatForOutputs(event) }

    /// The port on which metrics are served; `nil` where they are not.
    package var metricsPort: Int? { self.observability.metricsPort.withLock { $0 } }
    /// The port that is listened on.
    package let port: Int
    private let server: RelayServer
    private let store: any GatewayStore
    private let environment: Environment
    private let tls: TLSContexts
    private let observability: Observability
    private let revocations: Revocations
    private let limiter: InferenceLimiter
    /// What follows the other replicas.
    private let followers: [Task<Void, Never>]
    /// What is being served now.
    private let current: Current

    private final class Current: Sendable {
        let value: Mutex<(settings: GatewaySettings, provider: OIDCProvider)>

        init(_ settings: GatewaySettings, _ provider: OIDCProvider) {
            self.value = Mutex((settings, provider))
        }
    }
    private let sweeper: Task<Void, Never>
    private let alerts = Mutex<Task<Void, Never>?>(nil)
    private let spend: SpendControl.Services

    private init(
        port: Int, server: RelayServer, store: any GatewayStore, environment: Environment, tls: TLSContexts,
        observability: Observability, settings: GatewaySettings, provider: OIDCProvider, spend: SpendControl.Services,
        revocations: Revocations, limiter: InferenceLimiter,
    ) {
        self.revocations = revocations
        self.limiter = limiter
        self.followers = [
            Task { await revocations.follow() }, Task { await limiter.follow() },
        ]
        self.observability = observability
        self.spend = spend
        self.port = port
        self.server = server
        self.store = store
        self.environment = environment
        self.tls = tls
        self.current = Current(settings, provider)
        let current = self.current
        let log = environment.log
        defer { self.startAlerts(settings) }
        self.sweeper = Task {
            var round = 0
            while !Task.isCancelled {
                do {
                    let admin = current.value.withLock { $0.settings.admin }
                    // Retention is counted in days: once an hour is often enough.
                    if let admin, round % 60 == 0 {
                        try await store.sweepSpend(admin.retention, now: .now)
                        let oldest = Timestamp.now.milliseconds - 62 * 86_400_000
                        try await store.sweepAlerts(before: Timestamp(milliseconds: oldest))
                    }
                    if round > 0 { try await store.sweep(now: .now) }
                    if round > 0 { try await store.sweepRates(now: .now) }
                    if round % 60 == 1 { try await store.sweepRevocations(now: .now) }
                    if admin != nil { try await Self.sweepHolds(store, environment) }
                } catch {
                    log.warning("the store could not be swept", metadata: ["reason": "\(error)"])
                }
                round += 1
                try? await Task.sleep(for: .seconds(60))
            }
        }
    }

    private func startAlerts(_ settings: GatewaySettings) {
        var task: Task<Void, Never>?
        if let admin = settings.admin, !admin.alerts.webhooks.isEmpty {
            let rule = AddressGuard(allowsLoopback: self.environment.allowsLoopback)
            let alerts = SpendAlerts(
                settings: admin.alerts, mode: admin.groupLimitMode, store: self.store, watch: self.spend.watch,
                sender: AlertSender(client: OutboundClient(rule: .guarded(rule))), log: self.environment.log)
            task = Task { await alerts.run() }
        }
        self.spend.watch.setWatched(task != nil)
        self.alerts.withLock { running in
            running?.cancel()
            running = task
        }
    }

    /// Reservations whose replica is gone end; what their requests did cost nobody knows, and so each is named.
    private static func sweepHolds(_ store: any GatewayStore, _ environment: Environment) async throws {
        for hold in try await store.sweepHolds(now: .now) {
            environment.audit.record(
                AuditEvent(
                    "spend.hold_expired",
                    [
                        "request_id": .string(hold.requestID), "sub": .string(hold.principal),
                        "reserved_cents": .string(hold.amount.cents()), "pool": hold.pool.map(JSONValue.string),
                    ]))
        }
    }

    /// Starts a gateway, or says why it cannot: cheap checks first, so that a wrong file touches no database.
    package static func start(_ settings: GatewaySettings, _ environment: Environment) async throws -> Gateway {
        let log = environment.log
        if let name = ProxyEnvironment(environment.variables).faults.first {
            throw BootFailure(
                "\(name) is not the URL of an HTTP proxy. Write it like http://proxy.example.com:3128, or unset it")
        }
        Self.noteProxy(settings.oidc, environment)
        let tls = TLSContexts(try self.serverTLS(settings.listen))
        try self.checkPort(settings.listen)

        let rule = AddressGuard(allowsLoopback: environment.allowsLoopback)
        let observability = try Observability(
            settings.observability, audit: environment.audit, log: log, allowsLoopback: environment.allowsLoopback)
        let environment = environment.recording(observability.audit)
        let store = try self.makeStore(settings.store, log)
        async let provider = self.discover(settings.oidc, rule, log)
        do {
            try await self.bringUp(store, settings.store, log)
        } catch {
            _ = try? await provider
            await store.close()
            throw error
        }
        do {
            let provider = try await provider
            let spend = try await self.makeSpend(settings, environment, store)
            let revocations = Revocations(store: store, log: log)
            try await revocations.load()
            let limiter = InferenceLimiter(store: store, log: log)
            let serving = try self.assemble(
                settings, environment, observability, store: store, provider: provider, spend: spend,
                revocations: revocations, limiter: limiter)
            let server = try await RelayServer(services: observability.services, serving: serving)
            let address = RelayServer.Address(host: settings.listen.host.unbracketed, port: settings.listen.port)
            environment.willListen()
            let port = try await self.listen(server, address, tls)
            try await observability.begin(settings.observability, log: log)
            observability.watch(store)
            return Gateway(
                port: port, server: server, store: store, environment: environment, tls: tls,
                observability: observability, settings: settings,
                provider: provider, spend: spend, revocations: revocations,
                limiter: limiter)
        } catch {
            await store.close()
            throw error
        }
    }

    /// The books, which live as long as the process. What a killed process has left on the disk is booked at once.
    private static func makeSpend(
        _ settings: GatewaySettings, _ environment: Environment, _ store: any GatewayStore,
    ) async throws -> SpendControl.Services {
        var journal: SpendJournal?
        if let folder = StateFolder.path(settings.journalFolder, environment.variables) {
            journal = SpendJournal(folder: folder, ledger: try await store.ledgerName())
        }
        let exposure = SpendExposure()
        let guardian = SpendGuard(store: store, exposure: exposure, log: environment.log)
        let watch = SpendWatch()
        let holds = SpendHolds(store: store, log: environment.log)
        let ledger = SpendLedger(
            store: store, journal: journal, exposure: exposure, guardian: guardian, holds: holds, watch: watch,
            log: environment.log)
        do {
            let count = try await ledger.replay()
            if count > 0 {
                environment.log.info(
                    "spend that an earlier process has left is booked", metadata: ["answers": "\(count)"])
            }
        } catch {
            environment.log.warning(
                "the journal of an earlier process could not be booked; the next start tries again",
                metadata: ["reason": "\(error)"])
        }
        return SpendControl.Services(ledger: ledger, guardian: guardian, exposure: exposure, holds: holds, watch: watch)
    }

    /// Serves other settings from the next request on; open requests end under those they began with.
    ///
    /// - Returns: The keys that have changed and need a restart, because they are bound to the listener or the store.
    /// - Throws: `BootFailure` when the settings cannot be used; everything then stays as it was.
    package func reload(_ settings: GatewaySettings) async throws -> [String] {
        let old = self.current.value.withLock { $0 }
        let fixed = Self.fixedKeys(old.settings, settings)
        var settings = settings
        settings.listen.host = old.settings.listen.host
        settings.listen.port = old.settings.listen.port
        if settings.listen.isPublicURLDerived, old.settings.listen.isPublicURLDerived {
            settings.listen.publicURL = old.settings.listen.publicURL
        }
        settings.store = old.settings.store
        if settings.listen.terminatesTLS != old.settings.listen.terminatesTLS { settings.listen = old.settings.listen }

        let tls = try Self.serverTLS(settings.listen)
        var provider = old.provider
        if settings.digest(of: "oidc") != old.settings.digest(of: "oidc") || settings.digest(of: "oidc") == nil {
            let rule = AddressGuard(allowsLoopback: self.environment.allowsLoopback)
            provider = try await Self.discover(settings.oidc, rule, self.environment.log)
        }
        let serving = try Self.assemble(
            settings, self.environment, self.observability, store: self.store, provider: provider, spend: self.spend,
            revocations: self.revocations, limiter: self.limiter)
        try await self.server.replace(serving)
        self.tls.replace(tls)
        let served = (settings, provider)
        self.current.value.withLock { $0 = served }
        self.startAlerts(settings)
        return fixed
    }

    /// Keys of `new` that differ and cannot change while running.
    private static func fixedKeys(_ old: GatewaySettings, _ new: GatewaySettings) -> [String] {
        var keys: [String] = []
        if old.listen.host != new.listen.host { keys.append("listen.host") }
        if old.listen.port != new.listen.port { keys.append("listen.port") }
        if old.listen.terminatesTLS != new.listen.terminatesTLS { keys.append("listen.tls") }
        if old.digest(of: "observability") != new.digest(of: "observability") { keys.append("observability") }
        if old.digest(of: "store") != new.digest(of: "store") { keys.append("store") }
        return keys
    }

    /// Stops taking requests, lets open ones finish, and closes the store.
    ///
    /// - Parameter isHurried: Asked while waiting; true ends the wait at once.
    /// - Returns: How many requests were cut at the deadline.
    package func stop(within limit: Duration, isHurried: @escaping @Sendable () -> Bool = { false }) async -> Int {
        self.sweeper.cancel()
        for follower in self.followers { follower.cancel() }
        self.alerts.withLock { $0?.cancel() }
        let cut = await self.server.drain(within: limit, isHurried: isHurried)
        await self.spend.ledger.close(within: .seconds(5))
        await self.store.close()
        await self.observability.stop()
        return cut
    }

    // MARK: Steps of the start

    /// Says how requests to the identity provider go where a proxy is set.
    private static func noteProxy(_ oidc: OIDCSettings, _ environment: Environment) {
        let proxy = WebURL(oidc.issuer).flatMap(ProxyEnvironment(environment.variables).proxy)
        switch (proxy, oidc.usesProxy) {
        case (let proxy?, true):
            environment.log.info(
                "oidc: requests to the identity provider go through the proxy \(proxy.host):\(proxy.port); hosts in NO_PROXY go direct"
            )
        case (nil, true):
            environment.log.warning(
                "oidc.use_proxy is set, but no HTTPS_PROXY or HTTP_PROXY that applies; requests to the identity provider go direct"
            )
        case (_?, false) where !oidc.saysWhetherProxied:
            environment.log.warning(
                "oidc: a proxy is set (HTTPS_PROXY or HTTP_PROXY), but requests to the identity provider go direct; set oidc.use_proxy: true to use it, or false to keep this and silence the warning"
            )
        default: break
        }
    }

    private static func serverTLS(_ listen: ListenSettings) throws -> NIOSSLContext? {
        guard let certificate = listen.certificateFile, let key = listen.keyFile else { return nil }
        let chain: [NIOSSLCertificate]
        do {
            chain = try NIOSSLCertificate.fromPEMFile(certificate)
        } catch {
            throw BootFailure(
                "listen.tls.cert: \(certificate) cannot be read as PEM certificates (\(error)). Check the path and its permissions."
            )
        }
        guard !chain.isEmpty else { throw BootFailure("listen.tls.cert: \(certificate) holds no PEM certificate.") }
        let privateKey: NIOSSLPrivateKey
        do {
            privateKey = try NIOSSLPrivateKey(file: key, format: .pem)
        } catch {
            throw BootFailure(
                "listen.tls.key: \(key) cannot be read as an unencrypted PEM key (\(error)). Check the path and its permissions."
            )
        }
        var configuration = TLSConfiguration.makeServerConfiguration(
            certificateChain: chain.map { .certificate($0) }, privateKey: .privateKey(privateKey))
        configuration.minimumTLSVersion = .tlsv12
        // Of TLS 1.2 only suites with forward secrecy and authenticated encryption (RFC 9325 §4.2).
        configuration.cipherSuites = "ECDH+AESGCM:ECDH+CHACHA20"
        configuration.applicationProtocols = ["h2", "http/1.1"]
        do {
            return try NIOSSLContext(configuration: configuration)
        } catch {
            throw BootFailure(
                "listen.tls: the certificate and the key do not fit together (\(error)). Check that key belongs to cert."
            )
        }
    }

    private static func checkPort(_ listen: ListenSettings) throws {
        do {
            try PortCheck.check(host: listen.host.unbracketed, port: listen.port)
        } catch {
            throw self.listenFailure(error, listen.host, listen.port)
        }
    }

    private static func listen(_ server: RelayServer, _ address: RelayServer.Address, _ tls: TLSContexts)
        async throws -> Int
    {
        do {
            guard let first = tls.current else { return try await server.listen(address, tls: nil) }
            return try await server.listen(address, tls: { @Sendable () -> NIOSSLContext in tls.current ?? first })
        } catch {
            throw self.listenFailure(error, address.host, address.port)
        }
    }

    private static func listenFailure(_ error: any Error, _ host: String, _ port: Int) -> BootFailure {
        let reason = (error as? POSIXError).map { String(cString: strerror($0.code.rawValue)) } ?? "\(error)".singleLine
        return BootFailure(
            "listen: cannot listen on \(host), port \(port) (\(reason)). Is it in use, or is the address not this machine's?"
        )
    }

    private static func makeStore(_ settings: StoreSettings, _ log: Logger) throws -> any GatewayStore {
        switch settings.backend {
        case .postgres(let url):
            return PostgresStore(settings: settings, url: url) { reason in
                if let reason {
                    log.warning(
                        "PostgreSQL is not answering; new sign-ins fail until it does",
                        metadata: ["reason": "\(reason)"])
                } else {
                    log.info("PostgreSQL is answering")
                }
            }
        case .sqlite(let path):
            do {
                return try SQLiteStore(path: path)
            } catch {
                throw BootFailure(
                    "store.sqlite_path: the file cannot be used (\(error)). Check that its folder exists and can be written."
                )
            }
        }
    }

    private static let storeAttempts = 3

    private static func bringUp(_ store: any GatewayStore, _ settings: StoreSettings, _ log: Logger) async throws {
        var attempt = 1
        while true {
            do {
                try await store.migrate(log: { (line: String) in log.info("\(line)") })
                return
            } catch let error as StoreError {
                let isTransient = if case .unavailable(let reason) = error { !Self.isFinal(reason) } else { false }
                // A refusal (no such database, wrong password, missing rights) does not get better by waiting.
                guard isTransient, attempt < Self.storeAttempts else { throw Self.storeFailure(error, settings) }
                log.warning(
                    "could not connect to the store at boot, trying again in 2s",
                    metadata: ["attempt": "\(attempt)", "reason": "\(error)"])
                attempt += 1
                try await Task.sleep(for: .seconds(2))
            }
        }
    }

    private static func storeFailure(_ error: StoreError, _ settings: StoreSettings) -> BootFailure {
        var key = "store.sqlite_path"
        if case .postgres = settings.backend { key = "store.postgres_url" }
        return BootFailure(
            "\(key): \(error). Check that the database is reachable and that the user may create tables in it.")
    }

    private static func isFinal(_ reason: String) -> Bool {
        ["does not exist", "authentication failed", "no pg_hba.conf entry", "SSL", "invalid"].contains {
            reason.contains($0)
        }
    }

    private static func discover(_ settings: OIDCSettings, _ rule: AddressGuard, _ log: Logger) async throws
        -> OIDCProvider
    {
        let client = OutboundClient(rule: .guarded(rule))
        for attempt in 1... {
            do {
                return try await OIDCProvider.discover(settings, client: client, rule: rule)
            } catch let failure as SignInFailure {
                guard attempt < 3, failure.description.contains("cannot connect") else {
                    throw BootFailure("oidc: \(failure)")
                }
                log.warning(
                    "could not reach the identity provider at boot, trying again in 1s",
                    metadata: ["reason": "\(failure)"])
                try await Task.sleep(for: .seconds(1))
            }
        }
        preconditionFailure("the loop ends by returning or throwing")
    }

    private static func assemble(
        _ settings: GatewaySettings, _ environment: Environment, _ observability: Observability,
        store: any GatewayStore, provider: OIDCProvider, spend services: SpendControl.Services,
        revocations: Revocations, limiter: InferenceLimiter,
    ) throws -> RelayServing {
        let (audit, log) = (environment.audit, environment.log)
        let rule = AddressGuard(allowsLoopback: environment.allowsLoopback)
        let edge = EdgeSettings(
            access: settings.access, maximumBodyBytes: settings.maximumBodyBytes,
            maximumHeaderBytes: settings.maximumHeaderBytes, maximumURLLength: settings.maximumURLLength,
            terminatesTLS: settings.listen.terminatesTLS, timeouts: settings.connectionTimeouts)
        let credentialEnvironment = CredentialEnvironment(
            variables: environment.variables, client: OutboundClient(rule: .guarded(rule)))
        let upstreamRoutes = try UpstreamRoutes(variables: environment.variables, log: log)
        let spend = settings.admin.map { admin in
            SpendControl(
                settings: admin, failsClosed: settings.failsClosed, isExact: settings.reservesSpend,
                pricer: settings.pricer, services: services, audit: audit, log: log,
                onRecord: observability.spendObserver)
        }
        let relay = RelayConfiguration(
            edge: edge, upstreams: settings.upstreams,
            catalog: ModelCatalog(
                custom: settings.models, includesBuiltIns: settings.includesBuiltInModels, upstreams: settings.upstreams
            ),
            policies: settings.managed, firstByteTimeout: settings.firstByteTimeout, addressGuard: rule,
            routes: try settings.upstreams.map(upstreamRoutes.route),
            credentials: settings.upstreams.map { upstream in
                UpstreamCredentials.make(for: upstream, credentialEnvironment.behind(upstream.transport))
            },
            routing: settings.routing, spend: spend,
            rates: settings.inferenceLimits.map { (limiter, $0) })

        observability.use(relay)
        let publicURL = settings.listen.publicURL
        let tokens = SessionTokens(
            settings: settings.session, issuer: publicURL, billingGroupTag: settings.admin?.billingGroupTag)
        let sealer = Sealer(settings: settings.session)
        let grants = DeviceGrants(store: store)
        let signIn = SignIn(
            provider: provider, settings: settings.oidc, grants: grants, sessions: store, sealer: sealer,
            publicURL: publicURL)
        let sessions = Sessions(
            tokens: tokens, sealer: sealer, store: store, provider: provider, revocations: revocations, log: log)
        let formOrigins =
            ([WebURL(provider.document.authorizationEndpoint)?.origin].compactMap { $0 })
            + settings.oidc.formActionOrigins
        let pages = Pages(publicURL: publicURL, formOrigins: formOrigins, notice: settings.loginNotice)

        let routes = RouteTable()
        routes.reserve(post: "/v1/messages", .bearer)
        routes.reserve(post: "/v1/messages/count_tokens", .bearer)
        HealthRoutes(store: store, readiness: Readiness(grace: settings.store.readinessGrace)).mount(on: routes)
        DiscoveryRoutes(
            publicURL: publicURL, issuerHost: WebURL(settings.oidc.issuer)?.host ?? settings.oidc.issuer, pages: pages
        ).mount(on: routes)
        DeviceRoutes(
            settings: settings, grants: grants, counters: store, signIn: signIn, pages: pages, audit: audit, log: log
        ).mount(on: routes)
        CallbackRoutes(settings: settings, signIn: signIn, pages: pages, audit: audit, log: log).mount(on: routes)
        TokenRoutes(settings: settings, grants: grants, sessions: sessions, sealer: sealer, audit: audit, log: log)
            .mount(on: routes)
        ModelRoutes(configuration: relay).mount(on: routes)
        ManagedRoutes(audit: audit, log: log).mount(on: routes)
        BootstrapRoutes(
            configuration: relay, publicURL: publicURL, relaysTelemetry: !settings.telemetry.destinations.isEmpty,
            adminGroups: settings.admin?.adminGroups ?? [], audit: audit, log: log
        ).mount(on: routes)
        UsageRoutes(spend: spend).mount(on: routes)
        if let admin = settings.admin, let spend {
            let families = AdminRoutes.all(
                settings: admin, store: store, revocations: revocations, guardian: spend.services.guardian,
                sender: AlertSender(client: OutboundClient(rule: .guarded(rule))), audit: audit, log: log)
            for family in families { routes.add(family) }
        }
        RevocationRoutes(tokens: tokens, sessions: sessions, revocations: revocations, audit: audit).mount(on: routes)
        let telemetry = TelemetryRelay(
            settings: settings.telemetry, client: OutboundClient(rule: .guarded(rule)),
            credentials: credentialEnvironment, metrics: observability.telemetryMetrics, audit: audit, log: log)
        observability.use(telemetry)
        TelemetryRoutes(relay: telemetry).mount(on: routes)

        let verifier = BearerVerifier(tokens: tokens, revocations: revocations)
        let responder = GatewayResponder(
            routes: routes, verifier: verifier, configuration: relay, audit: audit, log: log)
        return RelayServing(configuration: relay, verifier: verifier, responder: responder)
    }
}

/// The certificate that new connections get; replaced when a reload brings a renewed one.
private final class TLSContexts: Sendable {
    private let context: Mutex<NIOSSLContext?>

    init(_ context: NIOSSLContext?) {
        self.context = Mutex(context)
    }

    var current: NIOSSLContext? { self.context.withLock { $0 } }

    func replace(_ context: NIOSSLContext?) {
        self.context.withLock { $0 = context }
    }
}

extension String {
    /// `::1` for `[::1]`.
    fileprivate var unbracketed: String {
        self.hasPrefix("[") && self.hasSuffix("]") ? String(self.dropFirst().dropLast()) : self
    }
}
