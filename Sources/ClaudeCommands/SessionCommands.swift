// SPDX-License-Identifier: Apache-2.0

internal import CommandLineSyntax
internal import GatewayClient
internal import GatewayCore

/// `claude logout`.
enum LogoutCommand: Command {
    static let spec = CommandSpec(
        "logout", "Sign this machine out.",
        discussion: ["Removes the stored credential, and tells the gateway where it can be told."])

    static func run(_ invocation: Invocation, in terminal: Terminal) async throws -> ExitCode {
        let file = CredentialFile(environment: terminal.environment)
        let credential = try? file.read()
        let wasSignedIn = try await file.withLock { try file.remove() }
        if let credential {
            await SignedInGateway(file: file, environment: terminal.environment).revoke(credential)
        }
        terminal.print(wasSignedIn ? "Signed out" : "Nobody was signed in")
        return .success
    }
}

/// `claude whoami`.
enum WhoamiCommand: Command {
    static let spec = CommandSpec("whoami", "Show who is signed in, and where.", options: [json])

    static func run(_ invocation: Invocation, in terminal: Terminal) async throws -> ExitCode {
        let file = CredentialFile(environment: terminal.environment)
        let credential = try await SignedInGateway(file: file, environment: terminal.environment).credential()
        let claims = credential.claims
        if invocation.has("json") {
            var object: JSONObject = ["url": .string(credential.url)]
            for name in ["sub", "email", "name", "groups"] { object[name] = claims[name] }
            object["expires_at"] = .string(credential.expiresAt.description)
            terminal.print(JSONValue.object(object).text())
            return .success
        }
        let groups = (claims["groups"]?.array ?? []).compactMap(\.string).joined(separator: ", ")
        let rows = [
            ("Gateway", credential.url), ("Account", claims["email"]?.string ?? ""),
            ("Name", claims["name"]?.string ?? ""), ("Subject", claims["sub"]?.string ?? ""), ("Groups", groups),
            ("Bearer until", credential.expiresAt.description),
        ]
        for (label, value) in rows where !value.isEmpty {
            terminal.print(label + String(repeating: " ", count: 14 - label.count) + value.singleLine)
        }
        return .success
    }
}

/// `claude token`.
enum TokenCommand: Command {
    static let spec = CommandSpec(
        "token", "Print a valid bearer.",
        discussion: [
            "Refreshes the session first when less than five minutes are left. Made for scripts and for Claude Code's apiKeyHelper. The bearer is a secret: do not put it into a command line."
        ],
        options: [json],
        examples: ["{ \"apiKeyHelper\": \"claude token\" }"])

    static func run(_ invocation: Invocation, in terminal: Terminal) async throws -> ExitCode {
        let file = CredentialFile(environment: terminal.environment)
        let credential = try await SignedInGateway(file: file, environment: terminal.environment).credential()
        if invocation.has("json") {
            terminal.print(
                JSONValue.object([
                    "access_token": .string(credential.accessToken.reveal()),
                    "expires_at": .string(credential.expiresAt.description),
                ]).text())
        } else {
            terminal.print(credential.accessToken.reveal())
        }
        return .success
    }
}

/// `claude models`.
enum ModelsCommand: Command {
    static let spec = CommandSpec("models", "List the models that you may use.", options: [json])

    static func run(_ invocation: Invocation, in terminal: Terminal) async throws -> ExitCode {
        let models = try await self.list(terminal)
        if invocation.has("json") {
            terminal.print(JSONValue.array(models).text())
            return .success
        }
        let width = models.map { ($0["id"]?.string ?? "").count }.max() ?? 0
        for model in models {
            let id = (model["id"]?.string ?? "").singleLine
            let label = model["display_name"]?.string.flatMap { $0 == id ? nil : $0 }
            let note = [label, model["description"]?.string].compactMap { $0?.singleLine }.joined(separator: ": ")
            terminal.print(note.isEmpty ? id : id + String(repeating: " ", count: width - id.count + 2) + note)
        }
        if models.isEmpty { terminal.say("The gateway lists no model for you. Ask your administrator.") }
        return .success
    }

    static func list(_ terminal: Terminal) async throws -> [JSONValue] {
        let file = CredentialFile(environment: terminal.environment)
        let answer = try await SignedInGateway(file: file, environment: terminal.environment).get(
            "/v1/models?limit=1000")
        guard answer.status == 200, let models = (try? JSONValue(parsing: answer.body))?["data"]?.array else {
            throw ClientFailure.refused("the gateway answered HTTP \(answer.status) to the list of models.")
        }
        return models
    }
}

/// `claude settings`.
enum SettingsCommand: Command {
    static let spec = CommandSpec(
        "settings", "Show the managed settings that apply to you.",
        discussion: ["Prints the settings document as JSON."],
        options: [OptionSpec("json", help: "Print the gateway's whole answer, checksum included, on one line.")])

    static func run(_ invocation: Invocation, in terminal: Terminal) async throws -> ExitCode {
        guard let answer = try await self.fetch(terminal) else {
            if invocation.has("json") { terminal.print("null") }
            terminal.say("No managed settings apply to you.")
            return .success
        }
        terminal.print(invocation.has("json") ? answer.text() : (answer["settings"] ?? .null).prettyText())
        return .success
    }

    /// `nil` when no policy applies.
    static func fetch(_ terminal: Terminal) async throws -> JSONValue? {
        let file = CredentialFile(environment: terminal.environment)
        let answer = try await SignedInGateway(file: file, environment: terminal.environment).get("/managed/settings")
        if answer.status == 404 { return nil }
        guard answer.status == 200, let json = try? JSONValue(parsing: answer.body) else {
            throw ClientFailure.refused("the gateway answered HTTP \(answer.status) to the managed settings.")
        }
        return json
    }
}
