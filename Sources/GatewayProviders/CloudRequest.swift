// SPDX-License-Identifier: Apache-2.0

internal import GatewayCore

/// What requests to all cloud providers have in common.
enum CloudRequest {
    private static let version = "2023-06-01"

    /// The version of the API that the client speaks, where it is a later one than the first: it says how answers look.
    static func version(_ call: InboundCall) -> String {
        guard let asked = call.headerValues("anthropic-version").first, asked.utf8.count == self.version.utf8.count,
            asked.utf8.allSatisfy({ (0x30...0x39).contains($0) || $0 == 0x2D }), asked > self.version
        else { return self.version }
        return asked
    }

    /// The version in the body, for providers that read it there.
    ///
    /// - Parameter original: The provider's own name of the API's first version.
    static func appendVersion(to editor: inout BodyEditor, _ call: InboundCall, original: String) {
        guard editor.member(.anthropicVersion) == nil else { return }
        let asked = self.version(call)
        let version = JSONValue.string(asked == self.version ? original : asked)
        editor.append("\"anthropic_version\":" + version.text())
    }

    private static let tagsBeta = "request-tags-2026-08-21"

    /// Headers of a request in the Messages format.
    ///
    /// - Parameters:
    ///   - agent: The provider's word in the user agent.
    ///   - passesBetas: Whether `anthropic-beta` goes as a header.
    ///   - passesTags: Whether the provider knows request tags.
    static func headers(
        for call: InboundCall, _ upstream: UpstreamSettings, agent: String, passesBetas: Bool, passesTags: Bool,
    ) -> [(name: String, value: String)] {
        var out: [(name: String, value: String)] = [
            ("host", upstream.authority), ("accept", "application/json"), ("content-type", "application/json"),
            ("accept-encoding", "gzip, deflate"), ("anthropic-version", self.version(call)),
            ("user-agent", "claude-gateway/\(GatewayVersion.current) (\(agent))"),
        ]
        call.visitHeaders { _, name, value in
            guard name.begins(with: "x-stainless-") else { return }
            out.append((String(decoding: name, as: UTF8.self), String(decoding: value, as: UTF8.self)))
        }
        if passesBetas {
            let betas = self.betas(call, passesTags: passesTags)
            if !betas.isEmpty { out.append(("anthropic-beta", betas.joined(separator: ","))) }
        }
        if let profile = call.value(.userProfileID)?.string, HeaderText.isPlain(profile) {
            out.append(("anthropic-user-profile-id", profile))
        }
        for header in upstream.headers {
            out.removeAll { $0.name.lowercased() == header.name.lowercased() }
            out.append(header)
        }
        return out
    }

    /// The client's betas in order, each once.
    static func betas(_ call: InboundCall, passesTags: Bool) -> [String] {
        let values = call.headerValues("anthropic-beta").flatMap { $0.split(separator: ",") }.map {
            String($0).trimmingSpaces
        }
        return self.unique(values.filter { passesTags || $0 != self.tagsBeta })
    }

    static func unique(_ values: [String]) -> [String] {
        var seen: Set<String> = []
        return values.filter { !$0.isEmpty && seen.insert($0).inserted }
    }

    static func withoutTags(_ values: [String]) -> [String] {
        values.filter { $0 != self.tagsBeta }
    }

    /// The edits that every cloud provider needs: the profile travels as a header, and the model's string is the
    /// provider's.
    static func editor(for call: InboundCall, model: String?, passesTags: Bool) -> BodyEditor {
        var editor = call.editor
        if call.value(.userProfileID)?.string.map(HeaderText.isPlain) == true { editor.remove(.userProfileID) }
        if !passesTags { editor.remove(.tags) }
        if let model {
            if model != call.model { editor.replace(.model, with: JSONValue.string(model).bytes()) }
        } else {
            editor.remove(.model)
        }
        return editor
    }
}

enum HeaderText {
    static func isPlain(_ text: String) -> Bool {
        !text.isEmpty && text.utf8.allSatisfy { (0x21...0x7E).contains($0) }
    }
}

/// Percent-encoding of one path segment: everything but unreserved characters (RFC 3986 §2.3), except those in `also`.
enum PathSegment {
    static func encode(_ text: String, also: String = "") -> String {
        var out = ""
        for byte in text.utf8 {
            switch byte {
            case 0x30...0x39, 0x41...0x5A, 0x61...0x7A, 0x2D, 0x2E, 0x5F, 0x7E: out.unicodeScalars.append(.init(byte))
            default:
                if also.utf8.contains(byte) {
                    out.unicodeScalars.append(.init(byte))
                } else {
                    out += "%" + (byte < 16 ? "0" : "") + String(byte, radix: 16, uppercase: true)
                }
            }
        }
        return out
    }
}
