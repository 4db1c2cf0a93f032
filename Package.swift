// swift-tools-version: 6.2
// SPDX-License-Identifier: Apache-2.0

import PackageDescription

/// Compiler settings of every target. Warnings are errors where GATEWAY_STRICT is set, as scripts/test sets it: a newer
/// compiler's new warning must not break somebody's build.
let strict: [SwiftSetting] =
    [
        .enableUpcomingFeature("ExistentialAny"),
        .enableUpcomingFeature("MemberImportVisibility"),
        .enableUpcomingFeature("InternalImportsByDefault"),
        // What the compiler cannot prove is checked in debug builds, which run the tests (docs/decisions/0012).
        .unsafeFlags(["-enforce-exclusivity=unchecked"], .when(configuration: .release)),
        // The linker places what a request runs through together (docs/decisions/0018).
        .unsafeFlags(["-Xfrontend", "-function-sections"], .when(platforms: [.linux], configuration: .release)),
    ] + (Context.environment["GATEWAY_STRICT"] == nil ? [] : [.treatAllWarnings(as: .error)])

let log: Target.Dependency = .product(name: "Logging", package: "swift-log")
let crypto: Target.Dependency = .product(name: "Crypto", package: "swift-crypto")
let nio: [Target.Dependency] = [
    .product(name: "NIOCore", package: "swift-nio"),
    .product(name: "NIOPosix", package: "swift-nio"),
    .product(name: "NIOHTTP1", package: "swift-nio"),
    .product(name: "NIOSSL", package: "swift-nio-ssl"),
]

/// The fuzzing driver brings a main function of its own; only scripts/fuzz builds it.
let fuzzing: [Target] =
    Context.environment["GATEWAY_FUZZ"] == nil
    ? []
    : [
        .executableTarget(
            name: "fuzz", dependencies: ["FuzzTargets"], path: "Tests/Fuzz/Driver", swiftSettings: strict,
            linkerSettings: [.unsafeFlags(["-sanitize=fuzzer"])])
    ]

let package = Package(
    name: "claude-gateway",
    platforms: [.macOS(.v15)],
    products: [.executable(name: "claude", targets: ["claude"])],
    dependencies: [
        .package(url: "https://github.com/apple/swift-nio", from: "2.101.2"),
        .package(url: "https://github.com/apple/swift-nio-ssl", from: "2.37.6"),
        .package(url: "https://github.com/apple/swift-nio-extras", from: "1.35.2"),
        .package(url: "https://github.com/apple/swift-nio-http2", from: "1.46.0"),
        .package(url: "https://github.com/apple/swift-collections", from: "1.6.0"),
        .package(url: "https://github.com/apple/swift-crypto", from: "4.5.2"),
        .package(url: "https://github.com/apple/swift-certificates", from: "1.18.0"),
        .package(url: "https://github.com/apple/swift-asn1", from: "1.7.0"),
        .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
        .package(url: "https://github.com/apple/swift-http-types", from: "1.8.0"),
        .package(url: "https://github.com/hummingbird-project/hummingbird", from: "2.28.1"),
        .package(url: "https://github.com/hummingbird-project/swift-mustache", from: "2.1.1"),
        .package(url: "https://github.com/jpsim/Yams", from: "6.2.2"),
        .package(url: "https://github.com/vapor/jwt-kit", from: "5.7.1"),
        .package(url: "https://github.com/groue/GRDB.swift", from: "7.10.0"),
        .package(url: "https://github.com/swift-server/swift-service-lifecycle", from: "2.13.0"),
    ],
    targets: [
        .systemLibrary(name: "CLibPQ", pkgConfig: "libpq", providers: [.apt(["libpq-dev"])]),
        .systemLibrary(name: "CLibCurl", pkgConfig: "libcurl", providers: [.apt(["libcurl4-openssl-dev"])]),

        .systemLibrary(name: "CLibSSL", pkgConfig: "libssl", providers: [.apt(["libssl-dev"])]),
        .systemLibrary(name: "CZlib", pkgConfig: "zlib", providers: [.apt(["zlib1g-dev"])]),

        // Headers of our own: in C for the processor's vector instructions, and for what Swift does not show of Linux.
        .systemLibrary(name: "CByteScan"),
        .systemLibrary(name: "CLinuxIO"),

        // Leaves: values, no sockets.
        .target(name: "GatewayCore", dependencies: ["CByteScan", crypto], swiftSettings: strict),
        .target(
            name: "GatewayConfig",
            dependencies: ["GatewayCore", .product(name: "Yams", package: "Yams")],
            swiftSettings: strict,
        ),
        .target(name: "CommandLineSyntax", dependencies: ["GatewayCore"], swiftSettings: strict),

        // I/O behind protocols.
        .target(
            name: "GatewayStore",
            dependencies: [
                "GatewayCore", "GatewayConfig", "CLibPQ", log, .product(name: "GRDB", package: "GRDB.swift"),
            ],
            swiftSettings: strict,
        ),
        .target(
            name: "GatewayHTTPClient",
            dependencies: ["GatewayCore", "CLibCurl", "CLibSSL"],
            swiftSettings: strict,
        ),

        // Domain: siblings stay strangers.
        .target(
            name: "GatewayIdentity",
            dependencies: [
                "GatewayCore", "GatewayConfig", "GatewayStore", "GatewayHTTPClient", crypto, log,
                .product(name: "CryptoExtras", package: "swift-crypto"),
                .product(name: "JWTKit", package: "jwt-kit"),
                .product(name: "X509", package: "swift-certificates"),
                .product(name: "SwiftASN1", package: "swift-asn1"),
            ],
            swiftSettings: strict,
        ),
        .target(
            name: "GatewayPolicy",
            dependencies: ["GatewayCore", "GatewayConfig", crypto],
            swiftSettings: strict,
        ),
        .target(
            name: "GatewayProviders",
            dependencies: ["CByteScan", "CZlib", "GatewayCore", "GatewayConfig", crypto],
            swiftSettings: strict),

        .target(
            name: "GatewayCredentials",
            dependencies: [
                "GatewayCore", "GatewayHTTPClient", "GatewayProviders", crypto,
                .product(name: "CryptoExtras", package: "swift-crypto"),
            ],
            swiftSettings: strict,
        ),
        .target(
            name: "GatewayMetering",
            dependencies: ["CByteScan", "GatewayCore", "GatewayConfig", "GatewayStore", log], swiftSettings: strict),

        .target(
            name: "GatewayTelemetry",
            dependencies: [
                "GatewayCore", "GatewayConfig", "GatewayCredentials", "GatewayHTTPClient", "GatewayProviders", log,
                .product(name: "NIOEmbedded", package: "swift-nio"),
                .product(name: "NIOHTTPCompression", package: "swift-nio-extras"),
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOHTTP1", package: "swift-nio"),
            ],
            swiftSettings: strict,
        ),

        // The data plane and the server around it.
        .target(
            name: "GatewayRelay",
            dependencies: [
                "CByteScan", "CLinuxIO", "CZlib", "GatewayCore", "GatewayMetering", "GatewayPolicy", "GatewayProviders",
                log,
                crypto,
                .product(name: "HeapModule", package: "swift-collections"),
                .product(name: "NIOExtras", package: "swift-nio-extras"),
                .product(name: "NIOHTTP2", package: "swift-nio-http2"),
                .product(name: "NIOTLS", package: "swift-nio"),
            ] + nio,
            swiftSettings: strict,
        ),
        .target(
            name: "GatewayServer",
            dependencies: [
                "CLinuxIO", "GatewayCore", "GatewayConfig", "GatewayStore", "GatewayHTTPClient", "GatewayIdentity",
                "GatewayPolicy", "GatewayProviders", "GatewayCredentials", "GatewayMetering", "GatewayRelay",
                "GatewayTelemetry", log, crypto,
                .product(name: "Hummingbird", package: "hummingbird"),
                .product(name: "HTTPTypes", package: "swift-http-types"),
                .product(name: "Mustache", package: "swift-mustache"),
                .product(name: "UnixSignals", package: "swift-service-lifecycle"),
            ] + nio,
            swiftSettings: strict,
        ),

        // The command line.
        .target(
            name: "GatewayClient",
            dependencies: ["GatewayCore", "GatewayHTTPClient", crypto],
            swiftSettings: strict,
        ),
        .target(
            name: "ClaudeCommands",
            dependencies: [
                "CommandLineSyntax", "GatewayClient", "GatewayConfig", "GatewayCore", "GatewayHTTPClient",
                "GatewayServer",
            ],
            swiftSettings: strict,
        ),
        .executableTarget(
            name: "claude", dependencies: ["ClaudeCommands"], exclude: ["functions.order"], swiftSettings: strict,
            linkerSettings: [
                .unsafeFlags(
                    [
                        "-static-stdlib", "-lCoreFoundation", "-l_FoundationICU", "-l_FoundationCShims",
                        "-l_FoundationCollections", "-use-ld=lld", "-Xlinker", "--no-warn-symbol-ordering", "-Xlinker",
                        "--symbol-ordering-file=\(Context.packageDirectory)/Sources/claude/functions.order",
                    ], .when(platforms: [.linux], configuration: .release))
            ]),

        // Tests.
        .target(
            name: "TestSupport",
            dependencies: [
                "GatewayCore", "GatewayHTTPClient", "GatewayIdentity", "GatewayProviders", "GatewayServer",
                "GatewayStore",
                crypto, log,
            ] + nio,
            path: "Tests/TestSupport",
            swiftSettings: strict,
        ),
        .target(
            name: "FuzzTargets",
            dependencies: [
                "GatewayConfig", "GatewayCore", "GatewayIdentity", "GatewayMetering", "GatewayPolicy",
                "GatewayProviders",
                "GatewayRelay", "GatewayServer", "GatewayTelemetry", log,
                .product(name: "NIOEmbedded", package: "swift-nio"),
            ] + nio,
            path: "Tests/Fuzz/Targets"),
        .testTarget(
            name: "FuzzTests", dependencies: ["FuzzTargets", "TestSupport"], path: "Tests/Fuzz/Replay",
            swiftSettings: strict),
        .testTarget(name: "GatewayCoreTests", dependencies: ["GatewayCore", "TestSupport"], swiftSettings: strict),
        .testTarget(name: "GatewayConfigTests", dependencies: ["GatewayConfig", "GatewayCore"], swiftSettings: strict),
        .testTarget(name: "CommandLineSyntaxTests", dependencies: ["CommandLineSyntax"], swiftSettings: strict),
        .testTarget(
            name: "GatewayPolicyTests", dependencies: ["GatewayPolicy", "GatewayCore", "GatewayConfig"],
            swiftSettings: strict),
        .testTarget(
            name: "GatewayProvidersTests",
            dependencies: ["GatewayProviders", "GatewayCore", "GatewayConfig", "TestSupport"],
            swiftSettings: strict),
        .testTarget(
            name: "GatewayCredentialsTests",
            dependencies: [
                "GatewayCredentials", "GatewayConfig", "GatewayCore", "GatewayHTTPClient", "GatewayProviders",
                "TestSupport",
            ],
            exclude: ["test-key.pem"], swiftSettings: strict),
        .testTarget(
            name: "GatewayTelemetryTests",
            dependencies: ["GatewayTelemetry", "GatewayCore", "GatewayHTTPClient", "TestSupport", log],
            swiftSettings: strict),
        .testTarget(
            name: "GatewayRelayTests",
            dependencies: [
                "CByteScan", "GatewayRelay", "GatewayCore", "GatewayPolicy", "GatewayProviders", "TestSupport",
            ] + nio,
            swiftSettings: strict),
        .testTarget(
            name: "GatewayStoreTests", dependencies: ["GatewayStore", "GatewayCore", "TestSupport"],
            swiftSettings: strict),
        .testTarget(
            name: "GatewayMeteringTests",
            dependencies: ["GatewayMetering", "GatewayCore", "GatewayConfig", "GatewayStore", "TestSupport", log],
            swiftSettings: strict),
        .testTarget(
            name: "GatewayIdentityTests", dependencies: ["GatewayIdentity", "GatewayConfig", "GatewayCore", crypto],
            swiftSettings: strict),
        .testTarget(
            name: "GatewayHTTPClientTests", dependencies: ["GatewayHTTPClient", "GatewayCore", "TestSupport"],
            swiftSettings: strict),
        .testTarget(
            name: "GatewayClientTests", dependencies: ["GatewayClient", "GatewayCore", "TestSupport"],
            swiftSettings: strict),
        .testTarget(
            name: "ClaudeCommandsTests", dependencies: ["ClaudeCommands", "CommandLineSyntax", "GatewayCore"],
            swiftSettings: strict),
        .testTarget(
            name: "GatewayServerTests",
            dependencies: [
                "GatewayServer", "GatewayConfig", "GatewayCore", "GatewayIdentity", "GatewayProviders",
                "GatewayTelemetry", "TestSupport",
                log,
                .product(name: "UnixSignals", package: "swift-service-lifecycle"),
            ],
            swiftSettings: strict),
        .testTarget(
            name: "GatewayIntegrationTests",
            dependencies: [
                "ClaudeCommands", "GatewayClient", "GatewayConfig", "GatewayCore", "GatewayHTTPClient",
                "GatewayIdentity",
                "GatewayMetering", "GatewayPolicy", "GatewayProviders", "GatewayRelay", "GatewayServer",
                "GatewayStore", "GatewayTelemetry", "TestSupport", crypto, log,
            ],
            swiftSettings: strict,
        ),
    ] + fuzzing,
    swiftLanguageModes: [.v6],
)
