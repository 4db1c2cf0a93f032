// SPDX-License-Identifier: Apache-2.0

internal import CommandLineSyntax
internal import Foundation
internal import GatewayClient
internal import GatewayCore
internal import GatewayHTTPClient

/// `claude login`.
enum LoginCommand: Command {
    static let spec = CommandSpec(
        "login", "Sign this machine in to a gateway.",
        discussion: [
            "Shows a code, opens the gateway's page in a browser, and waits until you have signed in there. The code can also be entered on another device.",
            "The gateway must be at a private address. Over https its certificate's fingerprint is shown and kept: a later connection to another certificate is refused.",
            "Where the machine's managed settings name a gateway (forceLoginGatewayUrl), only that one is taken.",
        ],
        options: [
            OptionSpec("no-browser", help: "Do not open a browser."),
            OptionSpec("no-qr", help: "Do not show a QR code."),
            OptionSpec(
                "fingerprint", value: "SHA256", help: "Insist on this SHA-256 fingerprint of the gateway's certificate."
            ),
            json,
        ],
        arguments: [
            ArgumentSpec(
                "URL", help: "The gateway. Default: the managed settings' one, CLAUDE_GATEWAY_URL, or the last one.")
        ],
        examples: ["claude login https://claude.internal.example.com", "claude login --no-browser"])

    static func run(_ invocation: Invocation, in terminal: Terminal) async throws -> ExitCode {
        let file = CredentialFile(environment: terminal.environment)
        let known = try? file.read()
        let url = try GatewayAddress.resolve(
            given: invocation.arguments.first, environment: terminal.environment, known: known?.url)
        try GatewayAddress.check(url, environment: terminal.environment)
        let expected = try invocation.value("fingerprint").map(Self.fingerprint)
        let connection = GatewayConnection(url: url, fingerprint: expected, environment: terminal.environment)
        let signIn = DeviceSignIn(connection: connection)

        let gateway = try await signIn.discover()
        if expected != nil, gateway.fingerprint == nil {
            throw ClientFailure.badRequest("--fingerprint needs an https URL; \(url) has no certificate.")
        }
        terminal.say("Gateway: \(url)")
        if let fingerprint = gateway.fingerprint {
            terminal.say("Certificate fingerprint (SHA-256): \(fingerprint)")
            if let before = known?.fingerprint, known?.url == url, before != fingerprint {
                terminal.say("This is not the certificate of your last sign-in (\(before)).")
            }
        }
        // From here on the connection insists on the certificate that was shown.
        let pinned = DeviceSignIn(
            connection: GatewayConnection(
                url: url, fingerprint: gateway.fingerprint, environment: terminal.environment))
        let prompt = try await pinned.begin(gateway)
        self.show(prompt, invocation, terminal)
        let credential = try await pinned.wait(prompt, at: gateway) { left in
            let seconds = Int(left.components.seconds)
            let rest = "\(seconds / 60):\(seconds % 60 < 10 ? "0" : "")\(seconds % 60)"
            terminal.progress("Waiting for you to sign in in the browser… \(rest) left")
        }
        terminal.endProgress()
        try await file.withLock { try file.write(credential) }
        if invocation.has("json") {
            terminal.print(
                JSONValue.object([
                    "url": .string(url), "account": .string(credential.displayName),
                    "expires_at": .string(credential.expiresAt.description),
                ]).text())
        } else {
            terminal.print("Signed in to \(url) as \(credential.displayName.singleLine)")
        }
        return .success
    }

    private static func show(_ prompt: DeviceSignIn.Prompt, _ invocation: Invocation, _ terminal: Terminal) {
        if let notice = prompt.notice { terminal.say("\nNotice from the gateway: \(notice.singleLine)") }
        terminal.say("\nOpen this page:  \(prompt.completePage)")
        terminal.say("and check that it shows this code:  \(terminal.bold(prompt.userCode))\n")
        let speaksUnicode =
            ["LC_ALL", "LC_CTYPE", "LANG"].lazy.compactMap { terminal.environment[$0] }
            .first { !$0.isEmpty }?.lowercased().contains("utf") ?? false
        if terminal.isInteractive, speaksUnicode, !invocation.has("no-qr"), let code = QRCode(prompt.completePage) {
            terminal.say(code.text(usesColor: terminal.usesColor))
        }
        if !invocation.has("no-browser"), terminal.isInteractive { Browser.open(prompt.completePage) }
    }

    /// 64 hexadecimal digits, colons allowed between them.
    private static func fingerprint(_ text: String) throws -> String {
        let digits = text.lowercased().filter { $0 != ":" }
        guard digits.count == 64, digits.allSatisfy(\.isHexDigit) else {
            throw ClientFailure.badRequest("--fingerprint takes a SHA-256 in hexadecimal: 64 digits.")
        }
        return digits
    }
}

/// Opens a page in the person's browser, where there is one.
enum Browser {
    static func open(_ url: String) {
        #if os(macOS)
            let program = "/usr/bin/open"
        #else
            let program = "/usr/bin/xdg-open"
            guard
                ProcessInfo.processInfo.environment["DISPLAY"] != nil
                    || ProcessInfo.processInfo.environment["WAYLAND_DISPLAY"] != nil
            else { return }
        #endif
        guard FileManager.default.isExecutableFile(atPath: program) else { return }
        let process = Process()
        process.executableURL = URL(fileURLWithPath: program)
        process.arguments = [url]
        process.standardOutput = FileHandle.nullDevice
        process.standardError = FileHandle.nullDevice
        try? process.run()
    }
}
